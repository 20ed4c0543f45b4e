package cmd

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	yml "gopkg.in/yaml.v3"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// asyncAPI is docs/asyncapi.yaml.
type asyncAPI struct {
	t        testing.TB
	tree     map[string]any
	at       string // URL
	compiler *jsonschema.Compiler
}

func newAsyncAPI(t testing.TB) *asyncAPI {
	t.Helper()
	file, err := filepath.Abs("../docs/asyncapi.yaml")
	require.NoError(t, err)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	d := &asyncAPI{t: t, at: "file://" + filepath.ToSlash(file), compiler: jsonschema.NewCompiler()}
	require.NoError(t, yml.Unmarshal(raw, &d.tree))
	d.compiler.AssertFormat()
	require.NoError(t, d.compiler.AddResource(d.at, d.tree))
	return d
}

// find follows a path, references included; nil when there is nothing.
func (d *asyncAPI) find(path ...string) (found any) {
	found = d.tree
	for _, name := range path {
		if o, ok := found.(map[string]any); ok && o["$ref"] != nil {
			found = d.find(strings.Split(strings.TrimPrefix(o["$ref"].(string), "#/"), "/")...)
		}
		o, _ := found.(map[string]any)
		found = o[name]
	}
	return found
}

func (d *asyncAPI) object(path ...string) map[string]any {
	o, _ := d.find(path...).(map[string]any)
	return o
}

// requireValid checks a part of a message of that kind: payload, headers or key.
func (d *asyncAPI) requireValid(kind, part string, v any, of *kafka.Record) {
	d.t.Helper()
	at := "#/components/messages/" + kind + "/" + part
	switch {
	case part == "key":
		at = "#/components/messages/" + kind + "/bindings/kafka/key"
	case part == "payload" && d.find("components", "messages", kind, "payload", "schema") != nil:
		at += "/schema"
	}
	s, err := d.compiler.Compile(d.at + at)
	require.NoError(d.t, err)
	require.NoError(d.t, s.Validate(v), "%s of %s: %s %v", part, of.Topic, of.Value, headersOf(of))
}

// channelOf names the channel of a topic, its name without the prefix.
func (d *asyncAPI) channelOf(topic string) string {
	for name := range d.object("channels") {
		form := "^"
		for i, piece := range regexp.MustCompile(`[{}]`).Split(d.find("channels", name, "address").(string), -1) {
			if i%2 == 0 {
				form += regexp.QuoteMeta(piece)
			} else {
				form += `[^.]+`
			}
		}
		lane := d.find("channels", name, "parameters", "lane", "enum")
		if regexp.MustCompile(form+"$").MatchString(topic) && (name != "jobs" || !slices.Contains([]string{"status_topic", "control_topic"}, topic)) &&
			(lane == nil || slices.Contains(lane.([]any), any(topic[strings.LastIndexByte(topic, '.')+1:]))) {
			return name
		}
	}
	d.t.Errorf("%s is not described", topic)
	return ""
}

// addresses are the topics that a channel stands for.
func (d *asyncAPI) addresses(channel string) []string {
	all := []string{d.find("channels", channel, "address").(string)}
	for name := range d.object("channels", channel, "parameters") {
		var more []string
		for _, word := range d.find("channels", channel, "parameters", name, "enum").([]any) {
			for _, address := range all {
				more = append(more, strings.ReplaceAll(address, "{"+name+"}", word.(string)))
			}
		}
		all = more
	}
	return all
}

func TestAsyncAPIIsWhole(t *testing.T) {
	d := newAsyncAPI(t)
	require.Equal(t, "3.0.0", d.tree["asyncapi"])
	refs := 0
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				visit(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				if local, is := strings.CutPrefix(ref, "#/"); is {
					require.NotNil(t, d.find(strings.Split(local, "/")...), ref)
				} else {
					require.FileExists(t, filepath.Join("..", "docs", ref))
				}
			}
			for _, e := range v {
				visit(e)
			}
		}
	}
	visit(d.tree)
	require.Greater(t, refs, 30)
	described := map[string]bool{}
	for name := range d.object("channels") {
		require.NotEmpty(t, d.object("channels", name, "messages"), name)
		for message := range d.object("channels", name, "messages") {
			described[message] = true
		}
	}
	for message := range d.object("components", "messages") {
		require.True(t, described[message], "%s is on no channel", message)
		for i, example := range anysOf(d.find("components", "messages", message, "examples")) {
			payload := example.(map[string]any)["payload"]
			d.requireValid(message, "payload", payload, &kafka.Record{Topic: "example " + strconv.Itoa(i)})
		}
	}
	for name := range d.object("operations") {
		require.Contains(t, []any{"send", "receive"}, d.find("operations", name, "action"))
		channel := d.find("operations", name, "channel", "address")
		require.NotNil(t, channel, name)
	}
}

func anysOf(v any) []any {
	all, _ := v.([]any)
	return all
}

// Every topic that is made is described, with its partitions and how long it keeps what; and none that is not made.
func TestAsyncAPIDescribesEveryTopic(t *testing.T) {
	d := newAsyncAPI(t)
	cfg, err := config.Load(config.Source{})
	require.NoError(t, err)
	p, err := newProcess(cfg, &bytes.Buffer{}, "all", true)
	require.NoError(t, err)
	made := map[string]dispatcher.TopicSpec{}
	for _, s := range p.topics.Specs(int32(cfg.Kafka.Partitions), recordBytes(cfg)) {
		made[s.Name] = s
	}
	for name := range d.object("channels") {
		for _, topic := range d.addresses(name) {
			s, ok := made[topic]
			require.True(t, ok, "%s: no such topic is made", topic)
			delete(made, topic)
			require.Equal(t, name, d.channelOf(topic))
			binding := d.object("channels", name, "bindings", "kafka")
			settings := binding["topicConfiguration"].(map[string]any)
			require.Equal(t, []any{int(s.Partitions), s.MaxMessageBytes}, []any{binding["partitions"], settings["max.message.bytes"]}, topic)
			policy := map[bool]string{true: "compact", false: "delete"}[s.Retention == 0]
			require.Equal(t, []any{policy}, settings["cleanup.policy"], topic)
			if retention := settings["retention.ms"]; retention != nil {
				require.Equal(t, s.Retention, time.Duration(retention.(int))*time.Millisecond, topic)
			} else {
				require.True(t, s.Retention == 0 || s.AppendTime, topic)
			}
		}
	}
	require.Empty(t, made, "topics that are not described")
}

// Every header that the code has a name for is described.
func TestAsyncAPIDescribesEveryHeader(t *testing.T) {
	d := newAsyncAPI(t)
	described := map[string]bool{}
	for name := range d.object("components", "schemas") {
		for header := range d.object("components", "schemas", name, "properties") {
			described[header] = true
		}
	}
	known := map[string]bool{}
	for _, file := range []string{"../internal/notify/header.go", "../internal/kafka/ledger.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Header") || len(spec.Values) != 1 {
				return true
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			known[value] = true
			return true
		})
	}
	require.Contains(t, known, notify.HeaderID)
	require.Contains(t, known, kafka.HeaderKind)
	require.Equal(t, known, described)
}
