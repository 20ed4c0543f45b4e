package validate

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds nesting: far more than any payload needs, far less than a stack holds.
const maxDepth = 32

// reader walks one JSON text (RFC 8259) once, from front to back, and builds no tree: encoding/json would match names
// whatever their case, let the last of two equal names win, and name the submitted value in its errors.
//
// At the first byte that is not JSON it stops for good: bad says why and where, every method returns at once with a zero
// value, and i stays. The caller has made sure that b is UTF-8.
type reader struct {
	b     []byte
	i     int
	depth int
	bad   string
	lone  bool // the last text had half a surrogate pair, which stands for no character
}

func (r *reader) stop(why string) {
	if r.bad == "" {
		r.bad = why + " at byte " + strconv.Itoa(r.i)
	}
}

// peek gives the first byte of the next token, 0 at the end and once r has stopped.
func (r *reader) peek() byte {
	if r.bad != "" {
		return 0
	}
	for r.i < len(r.b) {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return c
		}
	}
	return 0
}

func (r *reader) take(c byte) bool {
	if r.peek() != c || r.i >= len(r.b) {
		r.stop(string(c) + " is missing")
		return false
	}
	r.i++
	return true
}

// end makes sure that nothing but white space follows.
func (r *reader) end() {
	if r.peek(); r.i < len(r.b) {
		r.stop("there is more after the end of the JSON")
	}
}

// object calls member for each member; member consumes the value.
func (r *reader) object(member func(key string)) {
	r.enter('{')
	for first := true; r.more('}', first); first = false {
		key := r.text()
		if r.take(':') {
			member(key)
		}
	}
}

// array calls element for each element; element consumes it.
func (r *reader) array(element func(i int)) {
	r.enter('[')
	for i := 0; r.more(']', i == 0); i++ {
		element(i)
	}
}

func (r *reader) enter(open byte) {
	if r.take(open) {
		if r.depth++; r.depth > maxDepth {
			r.stop("the JSON is nested deeper than " + strconv.Itoa(maxDepth) + " levels")
		}
	}
}

func (r *reader) more(end byte, first bool) bool {
	if r.peek() == end {
		r.i++
		r.depth--
		return false
	}
	if !first {
		r.take(',')
	}
	return r.bad == ""
}

// skip consumes one value of any kind and gives its bytes.
func (r *reader) skip() []byte {
	c := r.peek()
	start := r.i
	switch c {
	case '{':
		r.object(func(string) { r.skip() })
	case '[':
		r.array(func(int) { r.skip() })
	case '"':
		r.quoted()
	case 't':
		r.literal("true")
	case 'f':
		r.literal("false")
	case 'n':
		r.literal("null")
	default:
		r.number()
	}
	if r.bad != "" {
		return nil
	}
	return r.b[start:r.i:r.i]
}

func (r *reader) literal(word string) bool {
	r.peek()
	if r.bad != "" || len(r.b)-r.i < len(word) || string(r.b[r.i:r.i+len(word)]) != word {
		r.stop("a value is missing or misspelt")
		return false
	}
	r.i += len(word)
	return true
}

// number consumes a number and gives its bytes.
func (r *reader) number() []byte {
	r.peek()
	start := r.i
	if r.at('-') {
		r.i++
	}
	if r.at('0') {
		r.i++
	} else {
		r.digits()
	}
	if r.at('.') {
		r.i++
		r.digits()
	}
	if r.at('e') || r.at('E') {
		r.i++
		if r.at('+') || r.at('-') {
			r.i++
		}
		r.digits()
	}
	return r.b[start:r.i]
}

func (r *reader) at(c byte) bool { return r.bad == "" && r.i < len(r.b) && r.b[r.i] == c }

func (r *reader) digits() {
	start := r.i
	for r.bad == "" && r.i < len(r.b) && '0' <= r.b[r.i] && r.b[r.i] <= '9' {
		r.i++
	}
	if r.i == start {
		r.stop("a value is missing or misspelt")
	}
}

// text consumes a string and gives what it stands for.
func (r *reader) text() string {
	raw, plain := r.quoted()
	r.lone = false
	if plain {
		return string(raw)
	}
	return r.unescape(raw)
}

// quoted consumes a string and gives what stands between the quotes; plain if nothing in it is escaped.
func (r *reader) quoted() (raw []byte, plain bool) {
	if !r.take('"') {
		return nil, true
	}
	start := r.i
	plain = true
	for {
		r.i += plainLen(r.b[r.i:])
		if r.i == len(r.b) {
			break
		}
		switch r.b[r.i] {
		case '"':
			r.i++
			return r.b[start : r.i-1], plain
		case '\\':
			plain = false
			if !r.escape() {
				return nil, true
			}
		default:
			r.stop("a string holds an unescaped control character")
			return nil, true
		}
	}
	r.stop("a string does not end")
	return nil, true
}

// plainLen returns how many bytes of a string stand for themselves, up to a quote, an escape or a control character.
func plainLen(b []byte) int {
	for i, c := range b {
		if c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return len(b)
}

// escape consumes one escape sequence.
func (r *reader) escape() bool {
	if r.i+1 < len(r.b) {
		switch r.b[r.i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			r.i += 2
			return true
		case 'u':
			if hex4(r.b[r.i+2:]) >= 0 {
				r.i += 6
				return true
			}
		}
	}
	r.stop("a string holds an unknown escape")
	return false
}

// unescape resolves the escapes of raw, which [reader.quoted] has checked.
func (r *reader) unescape(raw []byte) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		n := bytes.IndexByte(raw[i:], '\\')
		if n < 0 {
			out = append(out, raw[i:]...)
			break
		}
		out = append(out, raw[i:i+n]...)
		i += n
		if raw[i+1] != 'u' {
			out = append(out, unescaped(raw[i+1]))
			i += 2
			continue
		}
		c := hex4(raw[i+2:])
		i += 6
		if utf16.IsSurrogate(c) {
			low := rune(-1)
			if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
				low = hex4(raw[i+2:])
			}
			if c = utf16.DecodeRune(c, low); c == utf8.RuneError {
				r.lone = true
			} else {
				i += 6
			}
		}
		out = utf8.AppendRune(out, c)
	}
	return string(out)
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}

// hex4 gives the number that four hexadecimal digits at the front of b make, or -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil { // also for signs and underscores, which ParseUint refuses at a base that is not 0
		return -1
	}
	return rune(n)
}
