package notify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Fingerprint is a hash of the content of a notification: of every field but the id. Two notifications with one id are the
// same notification if their fingerprints are equal. White space, the order and escaping of names, the spelling of numbers
// and times, and absent fields whose default the contract fixes make no difference.
//
// It has no key: whoever knows all of a notification but a short code finds the code by trial. It may stand where the
// notification itself stands, and must not be stored or published elsewhere without a key.
type Fingerprint [8]byte

// IsZero reports whether the fingerprint is unknown.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// String is the value of header ls-fingerprint: 16 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads what String writes; for all other text ok is false.
func ParseFingerprint(s string) (f Fingerprint, ok bool) {
	if len(s) != 2*len(f) {
		return f, false
	}
	if _, err := hex.Decode(f[:], []byte(s)); err != nil {
		return Fingerprint{}, false
	}
	return f, !f.IsZero()
}

// Content holds the fingerprints of one notification.
type Content struct {
	Exact    Fingerprint
	NoExpiry Fingerprint // without expires_at: the API adds one to notifications that were submitted without
}

// ContentOf gives the fingerprints of n. Its channel and lane have to be those of its topic. It fails if the payload is no
// JSON.
func ContentOf(n *Notification) (Content, error) {
	b := make([]byte, 0, 512+len(n.Payload))
	for _, s := range []string{
		cmp.Or(n.Tenant, DefaultTenant), string(n.Channel), string(cmp.Or(n.Lane, LaneNormal)), n.Recipient, n.recipientType(),
		n.OrderingKey, n.Reference, cmp.Or(n.OnAmbiguous, AmbiguousResend),
	} {
		b = appendPart(b, s)
	}
	b = appendMoment(b, n.SendAt)
	b = appendPart(b, strconv.FormatBool(n.Sensitive))
	b = binary.AppendUvarint(b, uint64(len(n.Metadata)))
	for _, name := range slices.Sorted(maps.Keys(n.Metadata)) {
		b = appendPart(appendPart(b, name), n.Metadata[name])
	}
	var err error
	if b, err = appendCanonical(b, n.Payload); err != nil {
		return Content{}, err
	}
	if b, err = appendCanonical(append(b, 0), n.Template); err != nil {
		return Content{}, err
	}
	c := Content{NoExpiry: sum8(b)}
	if c.Exact = c.NoExpiry; n.ExpiresAt != nil {
		c.Exact = sum8(appendMoment(b, n.ExpiresAt))
	}
	return c, nil
}

func (n *Notification) recipientType() string {
	if n.Channel == ChannelPush {
		return cmp.Or(n.RecipientType, RecipientFCM)
	}
	return n.RecipientType
}

func sum8(b []byte) Fingerprint {
	sum := sha256.Sum256(b)
	return Fingerprint(sum[:8])
}

// appendPart appends s such that no two lists of parts look alike.
func appendPart(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendMoment(b []byte, at *time.Time) []byte {
	if at == nil {
		return append(b, 0)
	}
	return binary.AppendVarint(binary.AppendVarint(append(b, 1), at.Unix()), int64(at.Nanosecond()))
}

// Canonical writes JSON in one spelling: names in order, and text and numbers in one form each. Nothing stays nothing.
func Canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	return appendCanonical(make([]byte, 0, len(raw)+16), raw)
}

var errNotJSON = errors.New("it is not JSON")

func appendCanonical(out, raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return out, nil
	}
	c := canonical{in: raw, out: out}
	if !c.value(0) || c.peek() != 0 {
		return out, errNotJSON
	}
	return c.out, nil
}

// canonical reads one JSON text and appends it to out in one spelling. Its methods report whether it is JSON so far.
type canonical struct {
	in  []byte
	i   int
	out []byte
}

// deepest bounds nesting: validation refuses what is nested half as deep.
const deepest = 64

// peek gives the first byte of the next token; 0 at the end.
func (c *canonical) peek() byte {
	for ; c.i < len(c.in); c.i++ {
		switch b := c.in[c.i]; b {
		case ' ', '\t', '\n', '\r':
		case 0:
			return 1 // no JSON
		default:
			return b
		}
	}
	return 0
}

func (c *canonical) value(depth int) bool {
	switch b := c.peek(); {
	case depth > deepest:
		return false
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '"':
		text, ok := c.quoted()
		if ok {
			c.out = appendEscaped(c.out, text)
		}
		return ok
	case b == 't':
		return c.literal("true")
	case b == 'f':
		return c.literal("false")
	case b == 'n':
		return c.literal("null")
	default:
		return c.number()
	}
}

// member is a name of an object and where its value is in out.
type member struct {
	name     []byte
	from, to int
}

func (c *canonical) object(depth int) bool {
	c.i++
	var on [16]member
	members, start, ordered := on[:0], len(c.out), true
	for first := true; c.peek() != '}'; first = false {
		if !first && !c.take(',') || c.peek() != '"' {
			return false
		}
		name, ok := c.quoted()
		if !ok || !c.take(':') {
			return false
		}
		ordered = ordered && (first || bytes.Compare(members[len(members)-1].name, name) < 0)
		c.out = append(appendEscaped(append(c.out, ','), name), ':')
		from := len(c.out)
		if !c.value(depth + 1) {
			return false
		}
		members = append(members, member{name, from, len(c.out)})
	}
	c.i++
	if !ordered {
		c.reorder(members, start)
	}
	if c.out = append(c.out, '}'); len(members) == 0 {
		c.out = append(c.out[:start], "{}"...)
	} else {
		c.out[start] = '{' // it was a comma
	}
	return true
}

// reorder writes the members of an object anew, by name. Of two of one name the last counts.
func (c *canonical) reorder(members []member, start int) {
	was := bytes.Clone(c.out[start:])
	slices.SortStableFunc(members, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	c.out = c.out[:start]
	for i, m := range members {
		if i+1 < len(members) && bytes.Equal(members[i+1].name, m.name) {
			continue
		}
		c.out = append(appendEscaped(append(c.out, ','), m.name), ':')
		c.out = append(c.out, was[m.from-start:m.to-start]...)
	}
}

func (c *canonical) array(depth int) bool {
	c.i++
	c.out = append(c.out, '[')
	for first := true; c.peek() != ']'; first = false {
		if !first {
			if !c.take(',') {
				return false
			}
			c.out = append(c.out, ',')
		}
		if !c.value(depth + 1) {
			return false
		}
	}
	c.i++
	c.out = append(c.out, ']')
	return true
}

func (c *canonical) take(b byte) bool {
	if c.peek() != b {
		return false
	}
	c.i++
	return true
}

func (c *canonical) literal(word string) bool {
	if !bytes.HasPrefix(c.in[c.i:], []byte(word)) {
		return false
	}
	c.i += len(word)
	c.out = append(c.out, word...)
	return true
}

func (c *canonical) number() bool {
	start := c.i
	for c.i < len(c.in) && strings.IndexByte("0123456789+-.eE", c.in[c.i]) >= 0 {
		c.i++
	}
	c.out = append(c.out, decimal(string(c.in[start:c.i]))...)
	return c.i > start
}

// quoted reads a string. Most are plain and copied as they are.
func (c *canonical) quoted() ([]byte, bool) {
	start, plain := c.i, true
	for c.i++; c.i < len(c.in); c.i++ {
		switch b := c.in[c.i]; {
		case b == '"':
			c.i++
			raw := c.in[start:c.i]
			if plain {
				return raw[1 : len(raw)-1], true
			}
			var text string
			err := json.Unmarshal(raw, &text)
			return []byte(text), err == nil
		case b == '\\':
			c.i++
			plain = false
		case b < ' ':
			return nil, false
		case b >= utf8.RuneSelf:
			plain = false
		}
	}
	return nil, false
}

// appendEscaped appends s as json.Marshal does, which also escapes what HTML would read.
func appendEscaped(b, s []byte) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\\', c == '<', c == '>', c == '&':
			quoted, err := json.Marshal(string(s))
			if err != nil { // not reached: every string has a JSON form
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// decimal gives a JSON number as its digits, without zeros at either end, and an exponent: 1.50, 15e-1 and 0.15E+1 are all
// 15e-1. It goes by the text, since a float64 would make one of several numbers.
func decimal(s string) string {
	digits, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	e := 0
	if exponent != "" {
		var err error
		if e, err = strconv.Atoi(exponent); err != nil {
			return s // no two clients write such a number in two ways
		}
	}
	significant := strings.TrimRight(digits, "0")
	e += len(digits) - len(significant) - len(fraction)
	if negative {
		significant = "-" + significant
	}
	return significant + "e" + strconv.Itoa(e)
}
