package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// readFile gives the file as a tree without empty keys. The words of the YAML parser are not repeated: they may quote a
// value.
func (l *loader) readFile(path string) map[string]any {
	if path == "" {
		return map[string]any{}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		l.faults.add("the file of --config cannot be read: %v", err)
		return map[string]any{}
	}
	var parsed any
	if err := yaml.Unmarshal(content, &parsed); err != nil {
		where := ""
		if at := yamlLine.FindStringSubmatch(err.Error()); at != nil {
			where = " (line " + at[1] + ")"
		}
		l.faults.add("%s is not YAML%s: check the indentation; a value with : # * & ! or %% needs quotes; a key stands once", path, where)
		return map[string]any{}
	}
	tree, ok := prune(parsed).(map[string]any)
	if !ok && parsed != nil {
		l.faults.add("%s holds no settings: write keys and values, as in configs/laudspeaker.yaml", path)
	}
	if tree == nil {
		tree = map[string]any{}
	}
	return tree
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// prune drops keys without value, which say nothing, so that "kafka:" alone does not hide the section's defaults.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if v[k] = prune(child); v[k] == nil {
				delete(v, k)
			}
		}
		return v
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, child := range v {
			m[fmt.Sprint(k)] = child
		}
		return prune(m)
	}
	return v
}

// put sets a value deep in a tree.
func put(tree map[string]any, key string, value any) {
	head, rest, deep := strings.Cut(key, ".")
	if !deep {
		tree[head] = value
		return
	}
	child, ok := tree[head].(map[string]any)
	if !ok {
		child = map[string]any{}
		tree[head] = child
	}
	put(child, rest, value)
}

// lookup finds a value deep in a tree.
func lookup(tree map[string]any, key string) (any, bool) {
	head, rest, deep := strings.Cut(key, ".")
	value, ok := tree[head]
	if !deep || !ok {
		return value, ok
	}
	child, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookup(child, rest)
}
