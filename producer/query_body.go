package producer

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// queryOf reads a body that says what a query could: one JSON object of texts, numbers, true and false, and lists of these.
func queryOf(raw []byte) (*query, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil || fields == nil {
		return nil, refuse(codeMalformed, "send one JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, refuse(codeMalformed, "send one JSON object, and nothing behind it")
	}
	q := &query{values: url.Values{}}
	for name, value := range fields {
		texts, ok := textsOf(value)
		if !ok {
			return nil, refuse(codeInvalidParameter, "give texts, numbers, true and false, and lists of these: there is something else in the body")
		}
		q.values[name] = texts
	}
	return q, nil
}

// textsOf spells a value as a query would; null says nothing.
func textsOf(value any) (texts []string, ok bool) {
	switch v := value.(type) {
	case nil:
		return nil, true
	case string:
		return []string{v}, true
	case json.Number:
		return []string{v.String()}, true
	case bool:
		return []string{strconv.FormatBool(v)}, true
	case []any:
		for _, e := range v {
			one, ok := textsOf(e)
			if !ok || len(one) != 1 {
				return nil, false
			}
			texts = append(texts, one[0])
		}
		return texts, true
	default:
		return nil, false
	}
}

// ids reads the ids of notifications; the parameter may be repeated.
func (q *query) ids(name string) (ids []string) {
	q.known = append(q.known, name)
	if len(q.values[name]) > mostIDs {
		q.fault(name, "give at most "+strconv.Itoa(mostIDs))
		return nil
	}
	for _, text := range q.values[name] {
		id, ok := notify.ParseID(text)
		if !ok {
			q.fault(name, "give the UUIDs of notifications (it may be repeated)")
			return nil
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// flag reads true or false; false when it is not given.
func (q *query) flag(name string) bool {
	const remedy = "give true or false"
	text, ok := q.one(name, remedy)
	if ok && text != "true" && text != "false" {
		q.fault(name, remedy)
	}
	return text == "true"
}

// duration reads a time that is longer than nothing; 0 when it is not given.
func (q *query) duration(name string) time.Duration {
	const remedy = "give a time such as 24h or 90m"
	text, ok := q.one(name, remedy)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > notify.MaxDelay {
		q.fault(name, remedy+", at most 720h")
		return 0
	}
	return d
}
