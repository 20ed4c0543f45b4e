package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// Source is where settings come from, besides the defaults. Later ones win: File, Env, Flags.
type Source struct {
	File  string            // path of the YAML file; empty: none
	Env   []string          // as os.Environ gives it
	Flags map[string]string // key to value, as text
}

// Load gives the settings, checked, or [Faults].
func Load(src Source) (*Config, error) {
	l := &loader{cfg: Default(), env: ownEnv(src.Env), flags: src.Flags, layers: viper.New()}
	l.tree = l.readFile(src.File)
	l.shortcuts()
	l.findGateways()
	l.refuseUnknown()
	l.layer()
	l.decode()
	if l.cfg.check(&l.faults); len(l.faults) > 0 {
		return nil, l.faults
	}
	l.cfg.resolve()
	return l.cfg, nil
}

// loader is one run of Load. Its methods are called in the order of Load, each on what the one before has found.
type loader struct {
	cfg      *Config
	env      map[string]string
	flags    map[string]string
	tree     map[string]any    // the file, and what the shortcuts stand for
	gateways map[string]string // name to type
	sections map[string]any    // name of a gateway to its section within cfg
	keys     []leaf            // every key that takes a value, by now with the gateways'
	faults   Faults
	layers   *viper.Viper
}

// findGateways learns the gateways' names and types: only then it is known which keys there are.
func (l *loader) findGateways() {
	l.gateways, l.sections = map[string]string{}, map[string]any{}
	inTree, _ := l.tree["gateways"].(map[string]any)
	for name := range inTree {
		if !gatewayName.MatchString(name) {
			l.faults.add("gateways: a name is made of lower-case letters, digits, - and _, begins with a letter and has at most 40 characters; rename %q", name)
			delete(inTree, name)
			continue
		}
		l.gateways[name] = ""
	}
	l.gatewaysFromEnv()
	for key := range l.flags {
		if name, ok := strings.CutSuffix(strings.TrimPrefix(key, "gateways."), ".type"); ok && gatewayName.MatchString(name) {
			l.gateways[name] = ""
		}
	}
	l.keys = leaves("", l.cfg)
	for _, name := range slices.Sorted(maps.Keys(l.gateways)) {
		l.typeOf(name, inTree)
	}
}

func (l *loader) typeOf(name string, inTree map[string]any) {
	key := "gateways." + name + ".type"
	section, _ := inTree[name].(map[string]any)
	typ, _ := section["type"].(string)
	if t := l.env[envName(key)]; t != "" {
		typ = t
	}
	if t, ok := l.flags[key]; ok {
		typ = t
	}
	g, settings, ok := newGateway(typ)
	if !ok {
		l.faults.add("%s must be one of %s", key, strings.Join(gatewayTypeNames(), ", "))
	}
	l.gateways[name], l.cfg.Gateways[name] = typ, g
	if ok {
		l.sections[name] = settings
		l.keys = append(l.keys, leaves("gateways."+name, settings)...)
	}
}

// layer puts the sources over each other. The environment is the one of Source, so viper does not read it by itself.
func (l *loader) layer() {
	for _, leaf := range l.keys {
		if value, ok := lookup(l.tree, leaf.key); ok && leaf.composite() {
			put(l.tree, leaf.key, asIs{value})
		}
	}
	if err := l.layers.MergeConfigMap(l.tree); err != nil {
		l.faults.add("the file cannot be read as settings")
	}
	for _, key := range l.known() {
		if text := l.env[envName(key)]; text != "" {
			l.layers.Set(key, text)
		}
	}
	for key, text := range l.flags {
		l.layers.Set(key, text)
	}
}

// get gives what the sources say about key.
func (l *loader) get(key string) (raw any, ok bool) {
	raw = l.layers.Get(key)
	return raw, raw != nil
}

func (l *loader) decode() {
	for _, leaf := range l.keys {
		raw, ok := l.get(leaf.key)
		if leaf.secret() {
			raw, ok = l.secret(leaf.key, raw, ok)
		}
		if !ok {
			continue
		}
		l.cfg.explicit[leaf.key] = true
		if problem := assign(leaf.field, raw); problem != "" {
			l.faults.add("%s %s", l.said(leaf.key), problem)
		}
	}
}

// secret gives the value of key, from the file that key_file names if there is one.
func (l *loader) secret(key string, raw any, ok bool) (any, bool) {
	named, fromFile := l.get(key + "_file")
	path, _ := named.(string)
	switch {
	case !fromFile || path == "":
		return raw, ok
	case ok && raw != "":
		l.faults.add("%s and %s are both set: keep one", key, key+"_file")
		return raw, ok
	}
	content, err := os.ReadFile(path)
	if err != nil {
		l.faults.add("%s cannot be read: %v", l.said(key+"_file"), err)
		return nil, false
	}
	return strings.TrimRight(string(content), "\r\n"), true
}

// said names a key by the source that set it.
func (l *loader) said(key string) string {
	if _, flag := l.flags[key]; !flag && l.env[envName(key)] != "" {
		return envName(key)
	}
	return key
}

// resolve fills in what follows from other settings.
func (c *Config) resolve() {
	for name, g := range c.Gateways {
		if g.Twilio != nil {
			g.Twilio.Callback = c.twilioURL("receipts", name, g.Twilio)
			g.Twilio.Inbound = c.twilioURL("inbound", name, g.Twilio)
		}
		if g.Capture != nil && g.Capture.Dir == "" {
			g.Capture.Dir = c.outbox()
		}
	}
}

func (c *Config) outbox() string { return filepath.Join(c.DataDir, "outbox") }
