package worker

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// always lists the fields of every event; the events here also have a reference.
const always = "event_id notification_id run step attempt state final at tenant channel lane reference"

// encoded returns the fields of the event's JSON, which must match the published schema.
func encoded(t *testing.T, s *jsonschema.Schema, e notify.Event) map[string]any {
	t.Helper()
	raw, err := e.Encode()
	require.NoError(t, err)
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	require.NoError(t, s.Validate(tree), "%s", raw)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	return fields
}

// TestEvents_HaveAllFields: the event of each outcome has exactly the expected fields.
func TestEvents_HaveAllFields(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("../docs/schemas/event.json")
	require.NoError(t, err)
	byID, byAddress := map[string]bool{someID: true}, map[string]bool{recipient: true}
	for name, c := range map[string]struct {
		answers []error
		members string // more of the value
		control fakeControl
		retries int
		fields  []string // of the events, one after the other, besides those of all
	}{
		"sent":           {[]error{nil}, "", fakeControl{}, 2, []string{"gateway tries provider_id warnings"}},
		"rejected":       {[]error{permanent}, "", fakeControl{}, 2, []string{"gateway code reason tries origin warnings"}},
		"recipient gone": {[]error{gone}, "", fakeControl{}, 2, []string{"gateway code reason tries warnings"}},
		"tried again": {[]error{transient, throttled, nil}, "", fakeControl{}, 3, []string{
			"gateway code reason tries next_at warnings", "gateway code tries next_at", "gateway tries provider_id",
		}},
		"dead":        {[]error{transient}, "", fakeControl{}, 2, []string{"gateway code reason tries next_at warnings", "gateway code reason tries origin"}},
		"held":        {[]error{ambiguous}, `"on_ambiguous":"hold"`, fakeControl{}, 2, []string{"gateway reason tries origin warnings"}},
		"scheduled":   {[]error{nil}, `"send_at":"2000-01-01T01:00:00Z"`, fakeControl{}, 2, []string{"next_at warnings", "gateway tries provider_id"}},
		"expired":     {[]error{nil}, `"expires_at":"1999-01-01T00:00:00Z"`, fakeControl{}, 2, []string{"reason warnings"}},
		"cancelled":   {[]error{nil}, "", fakeControl{cancelled: byID}, 2, []string{"reason warnings"}},
		"suppressed":  {[]error{nil}, "", fakeControl{suppressed: byAddress}, 2, []string{"reason warnings"}},
		"invalid":     {[]error{nil}, `"on_ambiguous":"shrug"`, fakeControl{}, 2, []string{"code reason origin warnings"}},
		"unsupported": {[]error{nil}, `"template":{"id":"x"}`, fakeControl{}, 2, []string{"code reason origin warnings"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorker(scripted(c.answers...), func(cfg *Config) {
					cfg.Control = &c.control
					cfg.Retries = RetryPolicy{MaxAttempts: c.retries, InitialBackoff: time.Second, MaxBackoff: time.Second}
				})
				members := `"reference":"order 7","tenant":"shop","colour":"red"`
				if c.members != "" {
					members += "," + c.members
				}
				r := record(mailWith(members), "ls-run", "2")
				all, last := runToEnd(t, w, r)
				require.Len(t, all, len(c.fields))
				used := 0
				for step, e := range all {
					fields := encoded(t, schema, e)
					require.ElementsMatch(t, strings.Fields(always+" "+c.fields[step]), slices.Collect(maps.Keys(fields)), "%v", fields)
					require.Equal(t, []any{someID, 2, step, "order 7", "shop"}, []any{e.NotificationID, e.Run, e.Step, e.Reference, e.Tenant})
					require.GreaterOrEqual(t, e.Attempt, used)
					used = e.Attempt
					require.Equal(t, step == 0, slices.Contains(e.Warnings, "unknown field colour was ignored"), "in the first event, by its name")
					if e.Origin != nil {
						require.Equal(t, notify.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset + int64(min(step, 1))}, *e.Origin)
						require.NotEmpty(t, deadReason(last))
					}
				}
				end := all[len(all)-1]
				require.Equal(t, end.State != notify.StateHeld, end.Final, "every run ends in a final state, or held")
				require.Equal(t, end.Origin != nil, deadReason(last) != "", "the event of a dead letter says where the job was")
			})
		})
	}
}

// The event about an unreadable record matches the schema, whatever the record holds.
func TestEvents_OfUnreadableRecordHaveAllFields(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../docs/schemas/event.json")
	require.NoError(t, err)
	for _, value := range []string{"", "{", "[]", `{"tenant":7}`, `{"reference":"` + strings.Repeat("x", 9000) + `"}`, `{"tenant":"a b\u0007","recipient":{}}`} {
		res := newWorker(scripted(nil), nil).Handle(t.Context(), &kafka.Attempt{Record: record(value, "ls-run", "x", "ls-step", "-1")})
		fields := encoded(t, schema, eventOf(t, res))
		require.Subset(t, slices.Collect(maps.Keys(fields)), []string{"code", "reason", "origin"})
		require.NotContains(t, fields, "gateway")
	}
}
