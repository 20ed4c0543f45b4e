package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Markdown gives the reference: a table for each section.
func Markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	top := Default()
	table(&b, "", atTop(top))
	eachField(reflect.ValueOf(top).Elem(), func(name string, v reflect.Value, tag reflect.StructTag) {
		switch v.Kind() {
		case reflect.Struct:
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", name, tag.Get("doc"))
			table(&b, name, leaves(name, v.Addr().Interface()))
		case reflect.Map:
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", name, tag.Get("doc"))
			for _, t := range gatewayTypes() {
				_, section, _ := newGateway(t.name)
				prefix := name + "." + exampleNames[t.name]
				fmt.Fprintf(&b, "\n### type: %s\n\n%s Channels: %s.\n\n", t.name, t.doc, strings.Join(t.channels, ", "))
				table(&b, prefix, leaves(prefix, section))
			}
		}
	})
	return b.String()
}

// atTop gives the keys at the very top.
func atTop(c *Config) []leaf {
	return slices.DeleteFunc(leaves("", c), func(l leaf) bool { return strings.Contains(l.key, ".") })
}

func table(b *strings.Builder, section string, list []leaf) {
	b.WriteString("| key | default | what it is for |\n|---|---|---|\n")
	for _, l := range list {
		key, value := strings.TrimPrefix(l.key, section+"."), scalar(l.field)
		text := describe(l.tag)
		if example := l.tag.Get("example"); example != "" {
			text += " Example: `" + example + "`"
		}
		if l.secret() {
			text += fmt.Sprintf(" Secret: also `%s_file`.", key)
		}
		if value == `""` || value == "[]" || value == "{}" {
			value = ""
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, value, strings.ReplaceAll(text, "|", `\|`))
	}
}

const preface = `# Configuration

<!-- Written from the struct tags of package config by: go run ./config/gen -->

Nothing has to be set: ` + "`laudspeaker all`" + ` without settings brings its own broker and captures messages instead of sending them.

Settings come from, later ones winning: the defaults below, the YAML file of ` + "`--config`" + `, the environment, flags.

- **File.** [` + "`configs/laudspeaker.yaml`" + `](../configs/laudspeaker.yaml) has every key; ` + "`development.yaml` and `production.yaml`" + ` beside it are short ones to start from.
- **Environment.** A key's variable is ` + "`LAUDSPEAKER_`" + ` and the key in capitals, dots as underscores: ` + "`kafka.brokers`" + ` is ` + "`LAUDSPEAKER_KAFKA_BROKERS`" + `. Lists are
  separated by commas, values with names or parts of their own (` + "`headers`, `rules`, `keys`" + `) are YAML; an empty variable says nothing. A gateway needs no file: ` + "`LAUDSPEAKER_GATEWAYS_MAIL_TYPE=smtp`" + ` defines ` + "`mail`" + `, ` + "`LAUDSPEAKER_GATEWAYS_MAIL_HOST`" + ` is its host,
  ` + "`LAUDSPEAKER_CHANNELS_EMAIL_GATEWAYS=mail`" + ` uses it.
- **Flags.** ` + "`--set kafka.prefix=staging.`" + ` for any key, repeated as needed; the commonest have flags of their own, see ` + "`laudspeaker all --help`" + `.
- **Secrets.** Each secret ` + "`K`" + ` may be given as ` + "`K_file`" + ` (` + "`…_FILE`" + ` in the environment): the path of a file that holds it, as Docker and Kubernetes mount them. Not both.
- **Durations** have a unit (` + "`10s`, `5m`, `24h`" + `), **sizes** may have one (` + "`512KiB`, `5MiB`, `1GiB`" + `; ` + "`MB`" + ` is 1,000,000 bytes).

A key that is not known is refused, with the nearest known one. ` + "`laudspeaker config validate`" + ` says what is wrong, all at once; ` + "`laudspeaker config print`" + ` shows what is in force, secrets as
` + "`***`" + `.

**One gateway, no file.** These variables define a gateway and use it for its channel. What stands after ` + "`?`" + ` are keys of the gateway's section below. In the user and the password, characters such
as ` + "`@ / # ? %`" + ` are percent-encoded.

| variable | form |
|---|---|
| ` + "`LAUDSPEAKER_EMAIL`" + ` | ` + "`smtp://user:password@host:587?from=no-reply@acme.example`" + `; ` + "`smtps://`" + ` for TLS from the first byte (465); ` + "`?tls=none`" + ` for a relay on this host that has no TLS |
| ` + "`LAUDSPEAKER_SMS`" + ` | ` + "`twilio://SID:TOKEN@?from=+14155550100`" + `; an API key is ` + "`twilio://SK…:SECRET@?account_sid=AC…`" + `; ` + "`base_url`" + ` or a host for a fake |
| ` + "`LAUDSPEAKER_PUSH`" + ` | ` + "`fcm:///path/to/credentials.json`" + `; ` + "`fcm://`" + ` takes Google's application default credentials; ` + "`project_id`, `endpoint` and `token`" + ` for a fake |

` + "`LAUDSPEAKER_CONFIG`" + ` is the path of the file when there is no ` + "`--config`" + `. ` + "`LAUDSPEAKER_SERVER` and `LAUDSPEAKER_API_KEY`" + ` are read by the commands that speak to a server
(` + "`send`, `outbox`" + `).

## At the top

`
