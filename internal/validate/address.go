package validate

import (
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
	if s = strings.TrimRight(s, " "); err != nil || strings.HasSuffix(s, ";") || strings.HasSuffix(s, ")") {
		c.invalid(at, remedy)
		return "", ""
	}
	if strings.ContainsFunc(parsed.Name, unicode.IsControl) || !utf8.ValidString(parsed.Name) { // an encoded word can hold what the line may not
		c.invalid(at, "take control characters out of the name")
		return "", ""
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

// host gives a domain name in lower-case ASCII.
func host(domain string) (string, bool) {
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" || len(ascii) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
	}
	return strings.ToLower(ascii), true
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
