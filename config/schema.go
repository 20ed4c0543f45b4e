package config

import (
	"fmt"
	"reflect"
	"strings"
)

// leaf is one key that takes a value: the field behind it and what its tags say.
type leaf struct {
	key   string // "kafka.tls.ca_file"
	field reflect.Value
	tag   reflect.StructTag
}

func (l leaf) secret() bool { return l.field.Type() == reflect.TypeFor[Secret]() }

func (l leaf) name() string { return l.key[strings.LastIndexByte(l.key, '.')+1:] }

// leaves lists the keys below prefix of the struct that ptr points to, in their order. Gateways are left out: which
// keys one has depends on its type.
func leaves(prefix string, ptr any) []leaf {
	var list []leaf
	eachField(reflect.ValueOf(ptr).Elem(), func(name string, v reflect.Value, tag reflect.StructTag) {
		switch key := join(prefix, name); v.Kind() {
		case reflect.Struct:
			list = append(list, leaves(key, v.Addr().Interface())...)
		default:
			if _, gateways := v.Interface().(map[string]Gateway); !gateways {
				list = append(list, leaf{key, v, tag})
			}
		}
	})
	return list
}

func eachField(v reflect.Value, f func(name string, v reflect.Value, tag reflect.StructTag)) {
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Tag.Get("yaml"); name {
		case "":
		case ",inline": // a part that several sections share
			eachField(v.Field(i), f)
		default:
			f(name, v.Field(i), v.Type().Field(i).Tag)
		}
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// setDefaults fills the struct that ptr points to from its tags. A section's own tag "defaults" overrides those of its
// fields, where sections of one type differ.
func setDefaults(ptr any) {
	eachField(reflect.ValueOf(ptr).Elem(), func(_ string, v reflect.Value, tag reflect.StructTag) {
		if v.Kind() == reflect.Struct {
			setDefaults(v.Addr().Interface())
			eachField(v, func(name string, f reflect.Value, _ reflect.StructTag) {
				for _, pair := range strings.Fields(tag.Get("defaults")) {
					if text, ok := strings.CutPrefix(pair, name+"="); ok {
						setText(f, text)
					}
				}
			})
			return
		}
		if text, ok := tag.Lookup("default"); ok {
			setText(v, text)
		}
	})
}

func setText(v reflect.Value, text string) {
	if problem := assign(v, text); problem != "" {
		panic(fmt.Sprintf("the default %q in a struct tag of config %s", text, problem)) // a mistake in this package, found by every test
	}
}

// Default gives the settings of somebody who set nothing.
func Default() *Config {
	c := &Config{Gateways: map[string]Gateway{}, explicit: map[string]bool{}}
	setDefaults(c)
	return c
}

// gatewayType is what the struct Gateway says of one type.
type gatewayType struct {
	name     string
	doc      string
	channels []string
	index    int
}

func gatewayTypes() []gatewayType {
	var list []gatewayType
	t := reflect.TypeFor[Gateway]()
	for i := range t.NumField() {
		if tag := t.Field(i).Tag; tag.Get("type") != "" {
			list = append(list, gatewayType{tag.Get("type"), tag.Get("doc"), strings.Split(tag.Get("channels"), ","), i})
		}
	}
	return list
}

func gatewayTypeNames() []string {
	var names []string
	for _, t := range gatewayTypes() {
		names = append(names, t.name)
	}
	return names
}

// newGateway gives a gateway of the type with its defaults, and its section.
func newGateway(name string) (g Gateway, section any, ok bool) {
	for _, t := range gatewayTypes() {
		if t.name == name {
			g.Type = name
			field := reflect.ValueOf(&g).Elem().Field(t.index)
			field.Set(reflect.New(field.Type().Elem()))
			setDefaults(field.Interface())
			return g, field.Interface(), true
		}
	}
	return g, nil, false
}

// section gives g's section, a pointer; nil for a type that does not exist.
func (g Gateway) section() any {
	for _, t := range gatewayTypes() {
		if t.name == g.Type {
			return reflect.ValueOf(g).Field(t.index).Interface()
		}
	}
	return nil
}

// Serves reports whether a gateway of g's type can deliver the channel.
func (g Gateway) Serves(channel string) bool {
	for _, t := range gatewayTypes() {
		for _, c := range t.channels {
			if t.name == g.Type && c == channel {
				return true
			}
		}
	}
	return false
}
