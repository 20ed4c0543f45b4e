package validate

import (
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Malformed is the code of the one fault that bytes get which are no JSON. It is the API's 400.
const Malformed = "malformed-json"

// maxFaults bounds an answer: whoever gets so many has misread more than a field.
const maxFaults = 50

// checker reads JSON and collects faults.
type checker struct {
	anyNumber bool // accepts numbers that cannot exist
	reader
	faults notify.Faults
}

// fault adds the first fault of each place: a field of the wrong kind is not missing as well.
func (c *checker) fault(at, code, detail string) {
	if !c.enough(at) {
		c.faults = append(c.faults, notify.Fault{Pointer: at, Code: code, Detail: detail})
	}
}

func (c *checker) enough(at string) bool {
	return len(c.faults) >= maxFaults || slices.ContainsFunc(c.faults, func(f notify.Fault) bool { return f.Pointer == at })
}

func (c *checker) invalid(at, detail string)  { c.fault(at, notify.FaultInvalid, detail) }
func (c *checker) required(at, detail string) { c.fault(at, notify.FaultRequired, detail) }
func (c *checker) later(at, detail string)    { c.fault(at, notify.FaultNotSupportedYet, detail) }

func (c *checker) unknown(at, key string, known []string) {
	if at = child(at, key); !c.enough(at) { // a hint is dear, and there may be a million of them
		c.fault(at, notify.FaultUnknownField, "this field is not known here"+hint(key, known))
	}
}

func (c *checker) twice(at, key string) {
	c.invalid(child(at, key), "this name is given twice: give it once")
}

func hint(key string, known []string) string {
	if k := nearest(key, known); k != "" {
		return ": did you mean " + k + "?"
	}
	return ": remove it, or use one of " + strings.Join(known, ", ")
}

// child is the pointer of member key of the object at: a JSON pointer (RFC 6901) as a URI fragment. A name that could
// be somebody's address, or that no person would type, is not repeated: the pointer then ends at the object.
func child(at, key string) string {
	if !speakable(key) {
		return at
	}
	var b strings.Builder
	b.WriteString(at)
	b.WriteByte('/')
	for i := range len(key) {
		switch ch := key[i]; ch {
		case '~':
			b.WriteString("~0")
		case '/':
			b.WriteString("~1")
		case ' ', '"', '#', '%', '<', '>', '[', '\\', ']', '^', '`', '{', '|', '}': // not allowed in a fragment (RFC 3986 §3.5)
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[ch>>4], hex[ch&15]})
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}

func speakable(key string) bool {
	if key == "" || len(key) > 64 {
		return false
	}
	for i := range len(key) {
		if ch := key[i]; ch < ' ' || ch > '~' || ch == '@' || ch == '+' {
			return false
		}
	}
	return true
}

// nearest gives the one of known that a person who wrote key most likely meant; empty when none is near.
func nearest(key string, known []string) string {
	if len(key) > 64 {
		return ""
	}
	best, least := "", 3
	for _, k := range known {
		if d := distance(plain(key), plain(k)); d < least && d*2 <= len(k) {
			best, least = k, d
		}
	}
	return best
}

// plain takes spelling out of a name: collapseKey, Collapse-Key and collapse_key are one.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// distance is the Levenshtein distance of a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
