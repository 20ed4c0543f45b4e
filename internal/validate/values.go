package validate

import (
	"strconv"
	"strings"
	"time"
)

// The methods below read one value of the kind that is wanted. Null counts as absent, as most clients write it for a
// field without value; any other kind is a fault.

// members reads an object of the known names. read gets the index of the name and the pointer of the value, which it
// consumes. It reports whether there was an object.
func (c *checker) members(at string, known []string, read func(i int, at string)) bool {
	return c.open(at, known, read, func(key string) {
		c.unknown(at, key, known)
		c.skip()
	})
}

// open is like members and leaves names that are not known to other.
func (c *checker) open(at string, known []string, read func(i int, at string), other func(key string)) bool {
	if !c.is('{', at, "an object") {
		return false
	}
	var seen uint64
	c.object(func(key string) {
		i := index(known, key)
		if i < 0 {
			other(key)
			return
		}
		if seen&(1<<i) != 0 {
			c.twice(at, key)
			c.skip()
			return
		}
		seen |= 1 << i
		if c.peek() == 'n' {
			c.literal("null")
			return
		}
		read(i, at+"/"+key)
	})
	return true
}

func index(known []string, key string) int {
	for i, k := range known {
		if k == key {
			return i
		}
	}
	return -1
}

// is reports whether the value begins with first; if it does not, it is consumed and a fault.
func (c *checker) is(first byte, at, want string) bool {
	if c.peek() == first {
		return true
	}
	c.wrong(at, want)
	return false
}

func (c *checker) wrong(at, want string) {
	got := map[byte]string{'{': "an object", '[': "an array", '"': "a string", 't': "a boolean", 'f': "a boolean", 'n': "null"}[c.peek()]
	if got == "" {
		got = "a number"
	}
	if c.skip(); c.bad == "" {
		c.invalid(at, "give "+want+", not "+got)
	}
}

func (c *checker) str(at string) string {
	if !c.is('"', at, "a string") {
		return ""
	}
	return c.sound(at, c.text())
}

// sound refuses what no receiver could show: NUL and half surrogate pairs.
func (c *checker) sound(at, s string) string {
	if c.broken(s) {
		c.invalid(at, "take NUL characters and unpaired surrogates out")
		return ""
	}
	return s
}

func (c *checker) broken(s string) bool { return c.lone || strings.IndexByte(s, 0) >= 0 }

func element(at string, i int) string { return at + "/" + strconv.Itoa(i) }

func (c *checker) strs(at string) (all []string) {
	if c.is('[', at, "an array of strings") {
		c.array(func(i int) { all = append(all, c.str(element(at, i))) })
	}
	return all
}

func (c *checker) dict(at string) map[string]string {
	if !c.is('{', at, "an object of strings") {
		return nil
	}
	all := map[string]string{}
	c.object(func(key string) {
		c.sound(at, key)
		if _, twice := all[key]; twice {
			c.twice(at, key)
		}
		if c.peek() == '"' {
			if all[key] = c.text(); c.broken(all[key]) {
				c.sound(child(at, key), all[key])
			}
			return
		}
		c.wrong(child(at, key), "a string")
	})
	return all
}

func (c *checker) flag(at string) bool {
	switch c.peek() {
	case 't':
		return c.literal("true")
	case 'f':
		c.literal("false")
	default:
		c.wrong(at, "true or false")
	}
	return false
}

func (c *checker) when(at string) *time.Time {
	if !c.is('"', at, "a time by RFC 3339 such as 2030-01-31T09:30:00Z") {
		return nil
	}
	t, err := time.Parse(time.RFC3339, c.text())
	if err != nil || t.UTC().Year() > 9999 { // JSON has no such time; a zone west of Greenwich gets there from a year that it has
		c.invalid(at, "give a time by RFC 3339 such as 2030-01-31T09:30:00Z")
		return nil
	}
	return &t
}
