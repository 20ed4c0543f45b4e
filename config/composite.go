package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Statuses are HTTP statuses: 404, or a whole class as 4xx.
type Statuses []string

var statusShape = regexp.MustCompile(`^[1-5]([0-9][0-9]|xx)$`)

// Has reports whether s names the status.
func (s Statuses) Has(code int) bool {
	text := strconv.Itoa(code)
	return slices.Contains(s, text) || slices.Contains(s, text[:1]+"xx")
}

func (s Statuses) valid() bool {
	return !slices.ContainsFunc(s, func(text string) bool { return !statusShape.MatchString(text) })
}

// asIs is a value that goes past viper, which makes the names in maps lower case: those of headers are not ours.
type asIs struct{ value any }

// composite is true for a key whose value has names or entries of its own.
func (l leaf) composite() bool {
	t := l.field.Type()
	return t.Kind() == reflect.Map || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// parsed gives a value of several parts: as the file has it, or read from the YAML that one text can hold.
func parsed(raw any) any {
	switch value := raw.(type) {
	case asIs:
		return parsed(value.value)
	case string:
		var out any
		if yaml.Unmarshal([]byte(value), &out) != nil {
			return nil
		}
		return prune(out)
	}
	return raw
}

// assignTexts takes a map of texts, or YAML that holds one.
func assignTexts(v reflect.Value, raw any) string {
	m, ok := parsed(raw).(map[string]any)
	if !ok {
		return "must be names with texts, such as {name: text}"
	}
	texts := make(map[string]string, len(m))
	for _, name := range sortedKeys(m) {
		if texts[name], ok = m[name].(string); !ok {
			return fmt.Sprintf("must have a text for each name: put the value of %s in quotes", name)
		}
	}
	v.Set(reflect.ValueOf(texts))
	return ""
}

// assignStatuses takes statuses as numbers or texts, one or a list.
func assignStatuses(v reflect.Value, raw any) string {
	items, isList := raw.([]any)
	if text, isText := raw.(string); isText {
		for _, s := range strings.Split(text, ",") {
			items = append(items, s)
		}
	} else if !isList {
		items = []any{raw}
	}
	list := Statuses{}
	for _, item := range items {
		switch item.(type) {
		case string, int:
			list = append(list, strings.ToLower(strings.TrimSpace(fmt.Sprint(item))))
		default:
			return "must be statuses, such as 400, [400, 404] or 4xx"
		}
	}
	v.Set(reflect.ValueOf(list))
	return ""
}

// assignEntries takes a list of structs, or YAML that holds it; form says how one looks.
func assignEntries(v reflect.Value, raw any, form string) (problem string) {
	items, ok := parsed(raw).([]any)
	if !ok {
		return form
	}
	entries := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			return form
		}
		if problem := assignEntry(entries.Index(i), m, i+1, form); problem != "" {
			return problem
		}
	}
	v.Set(entries)
	return ""
}

func assignEntry(entry reflect.Value, m map[string]any, number int, form string) string {
	known := leaves("", entry.Addr().Interface())
	var names []string
	for _, l := range known {
		names = append(names, l.key)
	}
	for _, name := range sortedKeys(m) {
		at := indexLeaf(known, name)
		if at < 0 {
			if near := nearest(name, names); near != "" {
				return fmt.Sprintf("has a field that is not known, in entry %d: did you mean %s? It %s", number, near, form)
			}
			return fmt.Sprintf("has a field that is not known, in entry %d: it %s", number, form)
		}
		if problem := assign(known[at].field, m[name]); problem != "" {
			return fmt.Sprintf("has a wrong %s in entry %d: it %s", known[at].key, number, problem)
		}
	}
	return ""
}

func indexLeaf(list []leaf, key string) int {
	return slices.IndexFunc(list, func(l leaf) bool { return l.key == key })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
