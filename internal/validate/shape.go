package validate

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// shape says what one value of a platform block may be. A block is passed on as it was written, so that whatever the
// shape does not name would be dropped on the way without a word.
type shape struct {
	kind   kind
	fields []field             // of an object
	open   bool                // an object that may have other members, of any kind
	of     *shape              // of a list's elements
	object *shape              // textOr: the other possibility
	words  []string            // of text: the only ones
	form   func(s string) bool // of text
	remedy string              // for form
}

type field struct {
	name     string
	shape    *shape
	required bool
	with     string // another field without which this one has no meaning
}

type kind int

const (
	text kind = iota
	flag
	integer // 32 bits
	long    // 64 bits
	number
	list
	dict
	data // a dict with names that FCM leaves to the app
	object
	textOr
	anything
)

// shaped reads a value of shape s and gives it as it was written.
func (c *checker) shaped(at string, s *shape) []byte {
	c.peek()
	start := c.i
	c.shape(at, s)
	if c.bad != "" {
		return nil
	}
	return c.b[start:c.i:c.i]
}

func (c *checker) shape(at string, s *shape) {
	switch s.kind {
	case text:
		c.word(at, s)
	case flag:
		c.flag(at)
	case integer:
		c.whole(at, 32)
	case long:
		c.whole(at, 64)
	case number:
		if n := c.digit(at, "a number"); n != nil {
			c.finite(at, n)
		}
	case list:
		if c.is('[', at, "an array") {
			c.array(func(i int) { c.shape(element(at, i), s.of) })
		}
	case dict:
		c.dict(at)
	case data:
		c.data(at, c.dict(at))
	case object:
		c.shapedObject(at, s)
	case textOr:
		if c.peek() == '"' {
			c.str(at)
		} else {
			c.shape(at, s.object)
		}
	case anything:
		c.anything(at)
	}
}

func (c *checker) word(at string, s *shape) {
	before := len(c.faults)
	t := c.str(at)
	switch {
	case len(c.faults) > before:
	case len(s.words) > 0 && index(s.words, t) < 0:
		c.invalid(at, "give one of "+strings.Join(s.words, ", "))
	case s.form != nil && !s.form(t):
		c.invalid(at, s.remedy)
	}
}

func (c *checker) shapedObject(at string, s *shape) {
	names := make([]string, len(s.fields))
	for i := range s.fields {
		names[i] = s.fields[i].name
	}
	given := map[string]bool{}
	others := map[string]bool{}
	found := c.open(at, names, func(i int, at string) {
		given[names[i]] = true
		c.shape(at, s.fields[i].shape)
	}, func(key string) {
		switch {
		case !s.open || anyFold(names, key): // another spelling of a known name would be read as that one
			c.unknown(at, key, names)
			c.skip()
			return
		case others[key]:
			c.twice(at, key)
		}
		others[key] = true
		c.anything(child(at, key))
	})
	if !found || c.bad != "" {
		return
	}
	for _, f := range s.fields {
		switch {
		case f.required && !given[f.name]:
			c.required(at+"/"+f.name, "give this field too")
		case f.with != "" && given[f.name] && !given[f.with]:
			c.required(at+"/"+f.with, "give this field, without which "+f.name+" has no meaning")
		}
	}
}

func anyFold(names []string, key string) bool {
	for _, n := range names {
		if strings.EqualFold(n, key) {
			return true
		}
	}
	return false
}

// digit reads a number; nil if there is none.
func (c *checker) digit(at, want string) []byte {
	if ch := c.peek(); ch != '-' && (ch < '0' || ch > '9') {
		c.wrong(at, want)
		return nil
	}
	return c.number()
}

func (c *checker) whole(at string, bits int) {
	n := c.digit(at, "a whole number")
	if n == nil {
		return
	}
	if _, err := strconv.ParseInt(string(n), 10, bits); err != nil {
		c.invalid(at, "give a whole number of at most "+strconv.Itoa(bits)+" bits")
	}
}

func (c *checker) finite(at string, n []byte) {
	if _, err := strconv.ParseFloat(string(n), 64); err != nil {
		c.invalid(at, "give a number that fits 64 bits, or write it as a string")
	}
}

// anything reads what belongs to the app: any JSON that every decoder reads alike.
func (c *checker) anything(at string) {
	switch c.peek() {
	case '{':
		seen := map[string]bool{}
		c.object(func(key string) {
			if c.lone || strings.IndexByte(key, 0) >= 0 {
				c.sound(at, key)
			}
			if seen[key] {
				c.twice(at, key)
			}
			seen[key] = true
			c.anything(child(at, key))
		})
	case '[':
		c.array(func(i int) { c.anything(element(at, i)) })
	case '"':
		c.str(at)
	case 't', 'f', 'n':
		c.skip()
	default:
		c.finite(at, c.number())
	}
}

var durationForm = regexp.MustCompile(`^[0-9]{1,10}(\.[0-9]{1,9})?s$`)

func aColor(s string) bool {
	return len(s) == 7 && s[0] == '#' && strings.Trim(s[1:], digits+"abcdefABCDEF") == ""
}

func aTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

func aLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

func aLabel(s string) bool {
	return s != "" && len(s) <= 50 && strings.Trim(s, letters+digits+"-_.~%") == ""
}
