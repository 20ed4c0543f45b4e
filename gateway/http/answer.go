package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/gateway"
)

const (
	maxID    = 255      // length of a provider's id in events
	maxText  = 64 << 10 // length of a body that regular expressions are matched against
	maxParts = 1000     // parts of one response
)

// answer is the body of one response.
type answer struct {
	value  any
	isJSON bool

	text   string // the body without a byte order mark and without white space and NUL around it; its lines end in \n
	noText bool   // text is left out: the body is longer than maxText, or half of it was lost
}

// part is one place to which a JSON Pointer leads. Found is false if an element has no such place.
type part struct {
	value any
	found bool
}

// read parses a body. A JSON body is one value with nothing behind it: half a response proves nothing. Numbers keep their
// spelling.
func read(body []byte) answer {
	body = bytes.TrimSpace(bytes.TrimRight(bytes.TrimPrefix(body, []byte("\ufeff")), "\x00 \t\r\n"))
	a := answer{noText: len(body) > maxText}
	if !a.noText {
		a.text = lines.Replace(string(body))
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return a
	}
	if _, err := d.Token(); errors.Is(err, io.EOF) {
		a.value, a.isJSON = value, true
	}
	return a
}

// lines unifies the line endings: $ matches only before \n, so in a text with other endings only the last line would match.
var lines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// readExchange parses the body of a response. It has no text if the body was cut: half a text could match where the whole one
// does not.
func readExchange(x gateway.Exchange) answer {
	a := read(x.Body)
	if x.Cut {
		a.text, a.noText = "", true
	}
	return a
}

// find follows a JSON Pointer (RFC 6901), in which * stands for every element of an array or object. It returns one part per
// place. It returns none if the body is not JSON, or if an array or object at a * is empty.
func (a answer) find(pointer string) []part {
	if !a.isJSON || pointer == "" {
		return nil
	}
	parts := []part{{a.value, true}}
	for _, name := range strings.Split(pointer, "/")[1:] {
		name = unescaped.Replace(name)
		var next []part
		for _, p := range parts {
			next = append(next, p.step(name)...)
			if len(next) > maxParts {
				return []part{{}} // no provider answers with that many
			}
		}
		parts = next
	}
	return parts
}

// unescaped undoes the escapes of JSON Pointers.
var unescaped = strings.NewReplacer("~1", "/", "~0", "~")

// step returns the parts below p that one name of a pointer selects.
func (p part) step(name string) []part {
	switch at := p.value.(type) {
	case map[string]any:
		v, found := at[name]
		if !found && name == "*" {
			var all []part
			for _, key := range slices.Sorted(maps.Keys(at)) {
				all = append(all, part{at[key], true})
			}
			return all
		}
		return []part{{v, found}}
	case []any:
		if name == "*" {
			all := make([]part, len(at))
			for i, v := range at {
				all[i] = part{v, true}
			}
			return all
		}
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(at) {
			return []part{{at[i], true}}
		}
	}
	return []part{{}}
}

// String returns a text, number, true or false as text, and "" for everything else.
func (p part) String() string {
	switch v := p.value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// texts returns the texts at a pointer, or those of the group of a pattern; "" stands for a part that has none.
func (a answer) texts(pointer string, pattern *regexp.Regexp) []string {
	var texts []string
	for _, p := range a.find(pointer) {
		texts = append(texts, p.String())
	}
	for _, groups := range a.matches(pattern) {
		texts = append(texts, strings.ToValidUTF8(groups[len(groups)-1], "\ufffd"))
	}
	return texts
}

// matches returns the matches of a pattern, each with the text of its group; nil for a nil pattern.
func (a answer) matches(pattern *regexp.Regexp) [][]string {
	if pattern == nil || a.noText {
		return nil
	}
	return pattern.FindAllStringSubmatch(a.text, maxParts)
}

// hasMatch reports whether a pattern matches the text.
func (a answer) hasMatch(pattern *regexp.Regexp) bool {
	return !a.noText && pattern.MatchString(a.text)
}
