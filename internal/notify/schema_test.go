package notify

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// schema is as much of a JSON Schema as the structs can be compared with.
type schema struct {
	Type                 words              `json:"type"`
	Format               string             `json:"format"`
	Enum                 words              `json:"enum"`
	Ref                  string             `json:"$ref"`
	Required             []string           `json:"required"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties any                `json:"additionalProperties"`
	Defs                 map[string]*schema `json:"$defs"`
}

// words is one word or several; null and the empty one stand for what is absent, and are left out.
type words []string

func (w *words) UnmarshalJSON(raw []byte) error {
	var one any
	if err := json.Unmarshal(raw, &one); err != nil {
		return err
	}
	several, ok := one.([]any)
	if !ok {
		several = []any{one}
	}
	for _, word := range several {
		if s, _ := word.(string); s != "" && s != "null" {
			*w = append(*w, s)
		}
	}
	return nil
}

func published(t *testing.T, name string) *schema {
	raw, err := os.ReadFile("../../docs/schemas/" + name)
	require.NoError(t, err)
	s := &schema{}
	require.NoError(t, json.Unmarshal(raw, s))
	return s
}

// A field that a struct has and its published schema has not, or the other way round, is found here.
func TestThePublishedSchemasDescribeTheStructs(t *testing.T) {
	n, e := published(t, "notification.json"), published(t, "event.json")
	for _, c := range []struct {
		s *schema
		v any
	}{
		{n, Notification{}},
		{n.Defs["email"], Email{}},
		{n.Defs["attachment"], Attachment{}},
		{n.Defs["sms"], SMS{}},
		{n.Defs["push"], Push{}},
		{e, Event{}},
		{e.Defs["try"], Try{}},
		{e.Defs["recipient"], Part{}},
		{e.Defs["origin"], Origin{}},
		{e.Defs["inbound"], EventInbound{}},
	} {
		of := reflect.TypeOf(c.v)
		var names, always []string
		for i := range of.NumField() {
			f := of.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			names = append(names, name)
			if options != "omitempty" {
				always = append(always, name)
			}
			p := c.s.Properties[name]
			require.NotNil(t, p, "%s.%s is not in the schema", of, f.Name)
			if name != "payload" { // one of several
				require.Equal(t, jsonType(f.Type), p.kind(), "%s.%s", of, f.Name)
			}
		}
		require.ElementsMatch(t, names, slices.Collect(maps.Keys(c.s.Properties)), of)
		require.ElementsMatch(t, always, c.s.Required, "%s: required", of)
	}
	for name, payload := range n.Defs {
		require.Equal(t, false, payload.AdditionalProperties, "unknown fields below the top are faults: %s", name)
	}
}

func (s *schema) kind() string {
	switch {
	case s.Ref != "":
		return "object"
	case s.Items != nil:
		return strings.Join(s.Type, "|") + " of " + s.Items.kind()
	case s.Format == "date-time":
		return s.Format
	default:
		return strings.Join(s.Type, "|")
	}
}

func jsonType(of reflect.Type) string {
	switch {
	case of == reflect.TypeFor[time.Time]() || of == reflect.TypeFor[*time.Time]():
		return "date-time"
	case of == reflect.TypeFor[json.RawMessage]():
		return "object"
	case of == reflect.TypeFor[[]byte]():
		return "string"
	}
	switch of.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "integer"
	case reflect.String:
		return "string"
	case reflect.Slice:
		return "array of " + jsonType(of.Elem())
	default:
		return "object"
	}
}

func TestThePublishedSchemasKnowTheWords(t *testing.T) {
	n, e := published(t, "notification.json"), published(t, "event.json")
	var channels []string
	for _, ch := range Channels() {
		channels = append(channels, string(ch))
	}
	lanes := []string{string(LaneUrgent), string(LaneNormal), string(LaneBulk)}
	require.Equal(t, channels, []string(n.Properties["channel"].Enum))
	require.Equal(t, channels, []string(e.Properties["channel"].Enum))
	require.Equal(t, lanes, []string(n.Properties["lane"].Enum))
	require.Equal(t, lanes, []string(e.Properties["lane"].Enum))
	require.Equal(t, []string{AmbiguousResend, AmbiguousHold}, []string(n.Properties["on_ambiguous"].Enum))
	require.Equal(t, []string{RecipientFCM, RecipientAPNs, RecipientWebPush, RecipientTopic, RecipientCondition}, []string(n.Properties["recipient_type"].Enum))
	var states, verdicts []string
	for _, s := range []State{
		StateQueued, StateScheduled, StateRetrying, StateHeld, StateLost, StateSent, StateDelivered, StateBounced, StateRejected,
		StateExpired, StateSuppressed, StateCancelled, StateDead, StateReceived,
	} {
		states = append(states, string(s))
	}
	for _, v := range []Verdict{Accepted, Permanent, Transient, Throttled, Unavailable, Ambiguous} {
		verdicts = append(verdicts, string(v))
	}
	require.Equal(t, states, []string(e.Properties["state"].Enum))
	require.Equal(t, verdicts, []string(e.Defs["try"].Properties["verdict"].Enum))
}
