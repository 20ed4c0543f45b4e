package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Print gives the settings in force as YAML, secrets as "***".
func (c *Config) Print() string {
	p := printer{}
	p.section("", c)
	return p.String()
}

// Annotated gives a file with every key, its default and what it is for. Gateways are there as comments: with the file as
// it stands, the role all captures.
func Annotated() string {
	p := printer{docs: true}
	p.comment("", "Every setting of Laudspeaker with its default. Written by: go run ./config/gen")
	p.comment("", "Keep the lines that you change and drop the rest: what is absent has its default.")
	p.comment("", "Each key is also a variable, kafka.brokers for example LAUDSPEAKER_KAFKA_BROKERS, and each secret K may be K_file, the path of a file that holds it.")
	p.section("", Default())
	return p.String()
}

type printer struct {
	strings.Builder
	docs bool
}

func (p *printer) section(indent string, ptr any) {
	eachField(reflect.ValueOf(ptr).Elem(), func(name string, v reflect.Value, tag reflect.StructTag) {
		if p.docs {
			if indent == "" {
				p.WriteString("\n")
			}
			p.comment(indent, describe(tag))
			if example := tag.Get("example"); example != "" {
				p.line(indent, "# Example: "+example)
			}
		}
		switch v.Kind() {
		case reflect.Struct:
			p.line(indent, name+":")
			p.section(indent+"  ", v.Addr().Interface())
		default:
			if gateways, ok := v.Interface().(map[string]Gateway); ok {
				p.gateways(name, gateways)
			} else {
				p.line(indent, name+": "+scalar(v))
			}
		}
	})
}

func (p *printer) gateways(key string, gateways map[string]Gateway) {
	if len(gateways) == 0 {
		p.line("", key+": {}")
	} else {
		p.line("", key+":")
	}
	for _, name := range slices.Sorted(maps.Keys(gateways)) {
		p.line("  ", name+":")
		p.line("    ", "type: "+gateways[name].Type)
		p.section("    ", gateways[name].section())
	}
	if p.docs {
		p.examples()
	}
}

// examples shows one gateway of each type, behind "#": to use one, take the marks away from it and from "gateways:".
func (p *printer) examples() {
	for _, t := range gatewayTypes() {
		g, section, _ := newGateway(t.name)
		inner := printer{docs: true}
		inner.comment("  ", t.doc)
		inner.line("  ", exampleNames[t.name]+":")
		inner.line("    ", "type: "+g.Type)
		inner.section("    ", section)
		p.WriteString("#\n")
		for text := range strings.Lines(inner.String()) {
			p.WriteString("#" + text)
		}
	}
}

var exampleNames = map[string]string{"smtp": "mail", "twilio": "texts", "fcm": "pushes", "apns": "apples", "http": "api", "capture": "kept", "sim": "drill"}

func (p *printer) line(indent, text string) { p.WriteString(indent + text + "\n") }

// comment breaks text into lines of at most 110 columns.
func (p *printer) comment(indent, text string) {
	line := indent + "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 110 {
			p.line("", line)
			line = indent + "#"
		}
		line += " " + word
	}
	p.line("", line)
}

func describe(tag reflect.StructTag) string {
	text := tag.Get("doc")
	if allowed := strings.TrimPrefix(tag.Get("enum"), ","); allowed != "" && !strings.Contains(text, "(") && !strings.Contains(text, " or ") {
		text += " One of " + strings.ReplaceAll(allowed, ",", ", ") + "."
	}
	return text
}

// scalar writes the value of one key on one line.
func scalar(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return duration(value)
	case Size:
		return value.String()
	case Rate:
		if value == 0 {
			return `""`
		}
		return value.String()
	}
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return "[]"
	}
	var node yaml.Node
	if err := node.Encode(v.Interface()); err != nil {
		return `""`
	}
	node.Style = yaml.FlowStyle
	if v.Kind() == reflect.String && strings.ContainsAny(v.String(), "\r\n") {
		node.Style = yaml.DoubleQuotedStyle
	}
	text, err := yaml.Marshal(&node)
	if err != nil {
		return `""`
	}
	return strings.TrimSpace(string(text))
}
