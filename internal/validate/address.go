package validate

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mailbox checks that s is exactly one RFC 5322 mailbox, internationalised ones (RFC 6531, RFC 5890) included. It gives
// it in one spelling, and its bare address: the local part as it was, quoted if it must be, and the domain in
// lower-case ASCII.
func (c *checker) mailbox(at, s string) (mailbox, address string) {
	const remedy = `give one address such as ada@example.com or "Ada Lovelace <ada@example.com>"`
	if s == "" {
		c.required(at, remedy)
		return "", ""
	}
	if !c.line(at, s, 998) {
		return "", ""
	}
	// A group ("team: ada@example.com;") with one member parses like a mailbox, a comment ("(Ada)") like a name.
	parsed, err := mail.ParseAddress(s)
	if s = strings.TrimRight(s, " "); err != nil && dotted(s) {
		c.invalid(at, `put the part before the @ in double quotes when a dot is at its begin or end or beside another one, such as "a..b"@example.com`)
		return "", ""
	}
	if err != nil || strings.HasSuffix(s, ";") || strings.HasSuffix(s, ")") {
		c.invalid(at, remedy)
		return "", ""
	}
	if strings.ContainsFunc(parsed.Name, unicode.IsControl) || !utf8.ValidString(parsed.Name) { // an encoded word can hold what the line may not
		c.invalid(at, "take control characters out of the name")
		return "", ""
	}
	if name := invisibleIn(parsed.Address); name != "" {
		c.invalid(at, "take the invisible character "+name+" out of the address")
		return "", ""
	}
	for word := range strings.SplitSeq(parsed.Name, " ") {
		if len(word) > 255 {
			c.fault(at, notify.FaultTooLong, "keep each word of the name within 255 bytes")
			return "", ""
		}
	}
	split := strings.LastIndexByte(parsed.Address, '@')
	local, domain := parsed.Address[:split], parsed.Address[split+1:]
	domain, ok := host(domain)
	if !ok {
		c.invalid(at, "give an address whose part after the @ is a domain name such as example.com")
		return "", ""
	}
	if !atoms(local) {
		local = quote(local)
	}
	if address = local + "@" + domain; len(local) > 64 || len(address) > 254 {
		c.fault(at, notify.FaultTooLong, "keep the address within 254 bytes and what is before the @ within 64")
		return "", ""
	}
	return spell(parsed.Name, address), address
}

// hosts are the names that DNS knows. Two hyphens in a row are no fault, also in the third and fourth place.
var hosts = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.CheckHyphens(false)) //nolint:gochecknoglobals // never changed

// host gives a domain name in lower-case ASCII.
func host(domain string) (string, bool) {
	ascii, err := hosts.ToASCII(domain)
	if err != nil || ascii == "" || len(ascii) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if !isHostLabel(label) {
			return "", false
		}
	}
	return strings.ToLower(ascii), true
}

// isHostLabel reports whether a label of a host name has 1 to 63 bytes and no hyphen at its ends (RFC 1123 2.1). It does not look at
// the other characters.
func isHostLabel(label string) bool {
	return label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
}

// dotted reports whether s is a bare address that is wrong only for its dots. Some providers have given such addresses out.
func dotted(s string) bool {
	local, domain, found := strings.Cut(s, "@")
	if !found || strings.Trim(local, ".") == "" {
		return false
	}
	if _, ok := host(domain); !ok {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom != "" && !atoms(atom) {
			return false
		}
	}
	return true
}

// invisible reports whether r shows nothing, so that two addresses look the same. A quoted local part may hold a space.
func invisible(r rune) bool {
	return r != ' ' && unicode.In(r, unicode.Zs, unicode.Cf, unicode.Cc)
}

// invisibleIn returns the name of the first invisible character of s, or "" if there is none.
func invisibleIn(s string) string {
	i := strings.IndexFunc(s, invisible)
	if i < 0 {
		return ""
	}
	r, _ := utf8.DecodeRuneInString(s[i:])
	return runeName(r)
}

// runeName names a character that nobody can see.
func runeName(r rune) string {
	name := map[rune]string{
		0x00a0: "no-break space", 0x00ad: "soft hyphen", 0x061c: "Arabic letter mark", 0x2007: "figure space", 0x200b: "zero width space",
		0x200c: "zero width non-joiner", 0x200d: "zero width joiner", 0x200e: "left-to-right mark", 0x200f: "right-to-left mark", 0x202a: "left-to-right embedding",
		0x202b: "right-to-left embedding", 0x202c: "pop directional formatting", 0x202d: "left-to-right override", 0x202e: "right-to-left override",
		0x202f: "narrow no-break space", 0x2060: "word joiner", 0x3000: "ideographic space", 0xfeff: "byte order mark",
	}[r]
	code := fmt.Sprintf("U+%04X", r)
	if name == "" {
		return code
	}
	return code + " (" + name + ")"
}

// spell writes a mailbox without encoded words, which would hide the name from whoever shows it.
func spell(name, address string) string {
	if name == "" {
		return address
	}
	for word := range strings.SplitSeq(name, " ") {
		if !atoms(word) || strings.Contains(word, ".") || strings.Contains(word, "=?") {
			return quote(name) + " <" + address + ">"
		}
	}
	return name + " <" + address + ">"
}

// atoms reports whether s is a dot-atom (RFC 5322 §3.2.3, RFC 6532).
func atoms(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return r < 0x80 && !strings.ContainsRune(letters+digits+"!#$%&'*+-/=?^_`{|}~", r)
		}) {
			return false
		}
	}
	return true
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
