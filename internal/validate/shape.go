package validate

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// field says what one field of a platform block may hold. A block is passed on as it was written, so that whatever its
// fields do not name would be dropped on the way without a word.
type field struct {
	name     string
	kind     kind
	of       kind     // of a list's elements
	fields   []field  // of an object, or of a list's elements
	words    []string // of text: the only ones
	required bool
	with     string  // another field without which this one has no meaning
	most     float64 // of a number or a duration in seconds: the largest; the smallest is 0 then. 0: any
}

type kind int

const (
	text kind = iota
	color
	duration
	millis // a duration of whole milliseconds
	label
	link
	moment
	flag
	integer // 32 bits
	long    // 64 bits
	number
	list
	dict
	data // a dict with names that FCM leaves to the app
	object
	open // an object that may have other members, of any kind
	textOrObject
	anything
)

// shaped reads an object of fs and gives it as it was written.
func (c *checker) shaped(at string, fs []field) []byte {
	c.peek()
	start := c.i
	c.shape(at, object, &field{fields: fs})
	if c.bad != "" {
		return nil
	}
	return c.b[start:c.i:c.i]
}

func (c *checker) shape(at string, k kind, f *field) {
	switch k {
	case flag:
		c.flag(at)
	case integer:
		c.within(at, c.whole(at, 32), f.most)
	case long:
		c.whole(at, 64)
	case number:
		if n := c.digit(at, "a number"); n != nil && c.finite(at, n) {
			c.within(at, n, f.most)
		}
	case list:
		if c.is('[', at, "an array") {
			c.array(func(i int) { c.shape(element(at, i), f.of, f) })
		}
	case dict:
		c.dict(at)
	case data:
		c.data(at, c.dict(at))
	case object, open:
		c.shapedObject(at, k == open, f.fields)
	case textOrObject:
		if c.peek() == '"' {
			c.str(at)
		} else {
			c.shapedObject(at, false, f.fields)
		}
	case anything:
		c.anything(at)
	default:
		c.word(at, k, f)
	}
}

func (c *checker) shapedObject(at string, open bool, fs []field) {
	names := make([]string, len(fs))
	for i := range fs {
		names[i] = fs[i].name
	}
	given := map[string]bool{}
	found := c.open(at, names, func(i int, at string) {
		given[names[i]] = true
		c.shape(at, fs[i].kind, &fs[i])
	}, func(key string) {
		switch {
		case !open || anyFold(names, key): // another spelling of a known name would be read as that one
			c.unknown(at, key, names)
			c.skip()
			return
		case given[key]:
			c.twice(at, key)
		}
		given[key] = true
		c.anything(child(at, key))
	})
	if !found || c.bad != "" {
		return
	}
	for _, f := range fs {
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

// word reads text of one of the kinds of text.
func (c *checker) word(at string, k kind, f *field) {
	if !c.is('"', at, "a string") {
		return
	}
	s := c.sound(at, c.text())
	var good bool
	var remedy string
	switch k {
	case color:
		good, remedy = len(s) == 7 && s[0] == '#' && strings.Trim(s[1:], digits+"abcdefABCDEF") == "", "give a colour such as #336699"
	case duration:
		good, remedy = durationForm.MatchString(s), "give seconds such as 3600s or 0.5s"
		if seconds, err := strconv.ParseFloat(strings.TrimSuffix(s, "s"), 64); good && f.most > 0 && err == nil && seconds > f.most {
			good, remedy = false, "give at most "+strconv.FormatFloat(f.most, 'f', -1, 64)+"s"
		}
	case millis:
		good, remedy = millisForm.MatchString(s), "give seconds with at most three decimals, such as 3s or 0.5s"
	case label:
		good, remedy = s != "" && len(s) <= 50 && strings.Trim(s, letters+digits+"-_.~%") == "", "give at most 50 letters, digits and - _ . ~ %"
	case link:
		remedy = unfetchable(s)
		if good = remedy == "" && strings.EqualFold(s[:min(len(s), 6)], "https:"); remedy == "" {
			remedy = "begin it with https://"
		}
	case moment:
		_, err := time.Parse(time.RFC3339, s)
		good, remedy = err == nil, "give a time by RFC 3339 such as 2030-01-31T09:30:00Z"
	default:
		good, remedy = len(f.words) == 0 || index(f.words, s) >= 0, "give one of "+strings.Join(f.words, ", ")
	}
	if !good {
		c.invalid(at, remedy)
	}
}

var (
	durationForm = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?s$`)
	millisForm   = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,3}0{0,6})?s$`)
)

// digit reads a number; nil if there is none.
func (c *checker) digit(at, want string) []byte {
	if ch := c.peek(); ch != '-' && (ch < '0' || ch > '9') {
		c.wrong(at, want)
		return nil
	}
	return c.number()
}

// whole reads a whole number; nil if there is none.
func (c *checker) whole(at string, bits int) []byte {
	n := c.digit(at, "a whole number")
	if n == nil {
		return nil
	}
	if _, err := strconv.ParseInt(string(n), 10, bits); err != nil {
		c.invalid(at, "give a whole number of at most "+strconv.Itoa(bits)+" bits")
		return nil
	}
	return n
}

// finite reports whether n fits 64 bits.
func (c *checker) finite(at string, n []byte) bool {
	if _, err := strconv.ParseFloat(string(n), 64); err != nil && c.bad == "" {
		c.invalid(at, "give a number that fits 64 bits, or write it as a string")
		return false
	}
	return true
}

// within checks that n, which may be nil, is between 0 and most; a most of 0 is no bound.
func (c *checker) within(at string, n []byte, most float64) {
	if n == nil || most == 0 {
		return
	}
	if v, err := strconv.ParseFloat(string(n), 64); err == nil && (v < 0 || v > most) {
		c.invalid(at, "give a number from 0 to "+strconv.FormatFloat(most, 'f', -1, 64))
	}
}

// anything reads what belongs to the app: any JSON that every decoder reads alike.
func (c *checker) anything(at string) {
	switch c.peek() {
	case '{':
		seen := map[string]bool{}
		c.object(func(key string) {
			c.sound(at, key)
			if seen[key] {
				c.twice(at, key)
			}
			seen[key] = true
			c.anything(child(at, key))
		})
	case '[':
		c.array(func(i int) { c.anything(element(at, i)) })
	case '"':
		c.sound(at, c.text())
	case 't', 'f', 'n':
		c.skip()
	default:
		c.finite(at, c.number())
	}
}
