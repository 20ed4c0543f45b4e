package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/config"
)

// maxID is how much of a provider's id goes into events.
const maxID = 255

// answer is the body of an answer.
type answer struct {
	value  any
	isJSON bool
}

// read takes one JSON value and nothing behind it: half an answer proves nothing. Numbers stay as they were written.
func read(body []byte) (a answer) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&a.value) != nil {
		return answer{}
	}
	_, err := d.Token()
	return answer{a.value, errors.Is(err, io.EOF)}
}

// find follows a JSON Pointer (RFC 6901).
func (a answer) find(pointer string) (v any, found bool) {
	if !a.isJSON || pointer == "" {
		return nil, false
	}
	v = a.value
	for _, name := range strings.Split(pointer, "/")[1:] {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch at := v.(type) {
		case map[string]any:
			v, found = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			if found = err == nil && i >= 0 && i < len(at); found {
				v = at[i]
			}
		default:
			found = false
		}
		if !found {
			return nil, false
		}
	}
	return v, true
}

// at gives a text, number, true or false as text; "" for everything else.
func (a answer) at(pointer string) string {
	v, _ := a.find(pointer)
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// says reports whether the body, as far as it is asked, says that the message was taken.
func (a answer) says(s config.HTTPSuccess) bool {
	if s.Path == "" {
		return true
	}
	v, found := a.find(s.Path)
	if len(s.Values) == 0 {
		return found && v != nil
	}
	return found && slices.Contains(s.Values, a.at(s.Path))
}
