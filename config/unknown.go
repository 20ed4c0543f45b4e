package config

import (
	"maps"
	"slices"
	"strings"
)

// known lists the keys that may be set, with the K_file of every secret K and the types of gateways.
func (l *loader) known() []string {
	var keys []string
	for _, leaf := range l.keys {
		keys = append(keys, leaf.key)
		if leaf.secret() {
			keys = append(keys, leaf.key+"_file")
		}
	}
	for name := range l.gateways {
		keys = append(keys, "gateways."+name+".type")
	}
	slices.Sort(keys)
	return keys
}

// refuseUnknown finds what no source should say, and takes it out of the tree.
func (l *loader) refuseUnknown() {
	known := l.known()
	l.refuseInTree("", l.tree, known)
	variables := make(map[string]bool, len(known))
	for _, key := range known {
		variables[envName(key)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if !variables[name] && !notSetting(name) && !l.untyped(name) {
			l.faults.add("%s is not a setting%s", name, l.hintEnv(name, slices.Sorted(maps.Keys(variables))))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.flags)) {
		if !slices.Contains(known, key) && !l.untyped(envName(key)) {
			l.faults.add("--set %s is not a setting%s", key, hint(key, known))
			delete(l.flags, key)
		}
	}
}

func (l *loader) refuseInTree(prefix string, tree map[string]any, known []string) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		key := join(prefix, name)
		child, isMap := tree[name].(map[string]any)
		isSection := slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, key+".") }) || key == "gateways"
		switch isKey := slices.Contains(known, key); {
		case isSection && isMap && !l.untyped(envName(key)+"_"):
			l.refuseInTree(key, child, known)
			continue
		case isSection && isMap || isKey && (!isMap || l.composite(key)):
			continue
		case isSection:
			l.faults.add("%s is a section: write its keys below it", key)
		case isKey:
			l.faults.add("%s takes one value, not keys of its own", key)
		default:
			l.faults.add("%s is not a setting%s", key, hint(key, known))
		}
		delete(tree, name)
	}
}

// composite reports whether the value of key has parts, of which assign knows more.
func (l *loader) composite(key string) bool {
	at := indexLeaf(l.keys, key)
	return at >= 0 && l.keys[at].composite()
}

// untyped reports whether the variable belongs to a gateway whose type is not known: that is one fault already, and what
// keys it has cannot be said.
func (l *loader) untyped(variable string) bool {
	for name := range l.gateways {
		if l.sections[name] == nil && strings.HasPrefix(variable, envName("gateways."+name)+"_") {
			return true
		}
	}
	return false
}

func (l *loader) hintEnv(name string, known []string) string {
	const start = envPrefix + "GATEWAYS_"
	if rest, ok := strings.CutPrefix(name, start); ok {
		for gateway := range l.gateways {
			if strings.HasPrefix(name, envName("gateways."+gateway)+"_") {
				return hint(name, known)
			}
		}
		first, _, _ := strings.Cut(rest, "_")
		return ": there is no such gateway; define it by " + start + first + "_TYPE or in the file"
	}
	return hint(name, known)
}

// hint ends the sentence about an unknown key: the nearest known one, or what is known beside it.
func hint(key string, known []string) string {
	best := nearest(key, append(sections(known), known...))
	if best == "" {
		best = sameName(key, known)
	}
	if best != "" {
		return ": did you mean " + best + "?"
	}
	if beside := siblings(key, known); beside != "" {
		return ": known here are " + beside
	}
	return "; docs/configuration.md lists all"
}

// sections lists what the keys stand below.
func sections(keys []string) []string {
	var all []string
	for _, key := range keys {
		if dot := strings.LastIndexByte(key, '.'); dot >= 0 {
			all = append(all, key[:dot])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// nearest gives the known key that is spelt most like key; "": none is near.
func nearest(key string, known []string) string {
	best, distance := "", 1+max(2, len(key)/6)
	for _, k := range known {
		if d := editDistance(key, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// sameName finds a key that ends alike: "brokers" for kafka.brokers.
func sameName(key string, known []string) string {
	name := key[strings.LastIndexByte(key, '.')+1:]
	for _, k := range known {
		if strings.HasSuffix(k, "."+name) {
			return k
		}
	}
	return ""
}

func siblings(key string, known []string) string {
	if strings.HasPrefix(key, envPrefix) {
		return ""
	}
	section := key[:strings.LastIndexByte(key, '.')+1]
	var names []string
	if section == "" {
		names = []string{"gateways"} // even while there is none
	}
	for _, k := range known {
		rest, ok := strings.CutPrefix(k, section)
		if name, _, _ := strings.Cut(rest, "."); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// editDistance counts the letters to add, drop or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
