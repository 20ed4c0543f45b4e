package dispatcher

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const id = "018f4e9a-0000-7000-8000-00000000abcd"

func record(hs ...kafka.Header) *kafka.Record {
	return &kafka.Record{
		Topic: "acme.email_topic", Partition: 5, Offset: 42, Key: []byte("ada@example.com"), Value: []byte(`{"broken`), Headers: hs,
	}
}

func event() notify.Event {
	return notify.Event{
		NotificationID: id, Run: 1, Step: 2, Attempt: 3, At: time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC),
		Tenant: "default", Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Reference: "order 7",
	}
}

func calledTwice(e notify.Event) notify.Event {
	e.Gateway = "mail"
	e.Tries = []notify.Try{
		{Gateway: "mail", Verdict: notify.Transient, Code: "451 4.3.0", Reason: "try again", Millis: 12},
		{Gateway: "mail", Verdict: notify.Accepted, Millis: 34},
	}
	return e
}

func TestEventsOfEveryEnd(t *testing.T) {
	d := Desk{Topics: topics()}
	sent := calledTwice(event())
	sent.ProviderID, sent.Simulated, sent.Warnings = "<a@b>", true, []string{"unknown field x was ignored"}
	gone := calledTwice(event())
	gone.State, gone.Code, gone.Reason = notify.StateRejected, "550 5.1.1", notify.ReasonRecipientGone
	expired := event()
	expired.State, expired.Reason = notify.StateExpired, notify.ReasonExpired
	held := calledTwice(event())
	held.State, held.Reason = notify.StateHeld, "no answer"
	retrying := calledTwice(event())
	retrying.State, retrying.Code, retrying.Reason = notify.StateRetrying, "451 4.3.0", "try again"
	dead := calledTwice(event())
	dead.State, dead.Code, dead.Reason = notify.StateDead, "451 4.3.0", "try again"
	invalid := event()
	invalid.State, invalid.Code, invalid.Reason = notify.StateRejected, "required", "#/payload: give the payload of the channel"

	letters := []string{"acme.email_topic.dlq"}
	follow := map[string][]string{
		"dead.json": letters, "invalid.json": letters, "held.json": letters, "retrying.json": {"acme.email_topic.delay.30s"},
	}
	for name, end := range map[string]func() kafka.Result{
		"sent.json":     func() kafka.Result { return d.Sent(record(), sent) },
		"expired.json":  func() kafka.Result { return d.End(record(), expired) },
		"rejected.json": func() kafka.Result { return d.End(record(), gone) },
		"dead.json":     func() kafka.Result { return d.Bury(record(), dead, notify.ReasonAttemptsUsedUp) },
		"held.json":     func() kafka.Result { return d.Bury(record(), held, notify.ReasonAmbiguous) },
		"invalid.json":  func() kafka.Result { return d.Bury(record(), invalid, notify.ReasonInvalid) },
		"retrying.json": func() kafka.Result { return later(d, record(), retrying, time.Now().Add(time.Minute)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := end()
				require.True(t, r.Again.IsZero())
				require.Equal(t, id, r.Outcome.ID)
				require.Equal(t, id, string(r.Outcome.Key))
				require.Equal(t, map[string]string{"ls-run": "1", "ls-step": "2"}, headers(t, r.Outcome.Headers))
				var pretty bytes.Buffer
				require.NoError(t, json.Indent(&pretty, r.Outcome.Value, "", "  "))
				golden(t, name, append(pretty.Bytes(), '\n'))
				require.Equal(t, follow[name], topicsOf(r.Follow))
			})
		})
	}
}

func topicsOf(all []kafka.Message) (names []string) {
	for _, m := range all {
		names = append(names, m.Topic)
	}
	return names
}

func TestEventsAreBoundedWhateverAProducerWrote(t *testing.T) {
	long := strings.Repeat("🙂\x00", 1<<20)
	e := event()
	e.State, e.Tenant, e.Reference, e.Code, e.Reason, e.ProviderID = notify.StateRejected, long, long, long, long, long
	for range 1000 {
		e.Warnings = append(e.Warnings, long)
	}
	e.Tries = []notify.Try{{Reason: long}}
	r := Desk{Topics: topics()}.Bury(record(), e, long)
	require.Less(t, len(r.Outcome.Value), 16<<10)
	require.True(t, json.Valid(r.Outcome.Value))
	require.LessOrEqual(t, headerBytes(r.Follow[0].Headers), maxHeaders)
	require.Equal(t, []string{long, long}, []string{e.Warnings[0], e.Tries[0].Reason}, "the caller's event is left as it is")
}

func TestDeadLetterSaysWhatBecameOfTheJob(t *testing.T) {
	e := event()
	e.State, e.Code, e.Gateway, e.Reason = notify.StateDead, "451 4.3.0", "mail", "try again"
	m := Desk{Topics: topics()}.Bury(record(
		header("traceparent", "00-first"), header("traceparent", "00-last"), header("ls-schema", "1"),
		header("ls-idempotency", "k"), header("ls-id", "somebody else's"), header("ls-lane", "urgent"),
		header("ls-run", "x"), header("ls-dead-reason", "old"), header("ls-future", "?"), header("b3", "foreign"),
	), e, notify.ReasonAttemptsUsedUp).Follow[0]

	require.Equal(t, "acme.email_topic.dlq", m.Topic)
	require.Equal(t, int32(5), m.Partition)
	require.Equal(t, `{"broken`, string(m.Value))
	require.Equal(t, "ada@example.com", string(m.Key))
	require.Equal(t, map[string]string{
		"ls-id": id, "ls-lane": "normal", "ls-run": "1", "ls-step": "2", "ls-attempt": "3", "ls-home": "5",
		"ls-dead-reason": "attempts_used_up", "ls-dead-code": "451 4.3.0", "ls-dead-gateway": "mail", "ls-dead-at": "2030-01-02T03:04:05.006Z",
		"ls-origin-topic": "acme.email_topic", "ls-origin-partition": "5", "ls-origin-offset": "42",
		"traceparent": "00-last", "ls-schema": "1", "ls-idempotency": "k", "b3": "foreign",
	}, headers(t, m.Headers))
}

func TestHomePartition(t *testing.T) {
	for given, want := range map[string]int32{"7": 7, "-1": 5, "x": 5, "": 5, "2147483648": 5, "2147483647": 2147483647} {
		m := Desk{Topics: topics()}.Bury(record(header("ls-home", given)), event(), "invalid").Follow[0]
		require.Equal(t, want, m.Partition, given)
	}
	require.Equal(t, int32(5), home(record()))
}

func TestHeadersOfADeadLetterAreBounded(t *testing.T) {
	names := rapid.SampledFrom([]string{"traceparent", "ls-schema", "ls-idempotency", "ls-accepted-at", "ls-id", "ls-x", "b3", "", "\xff"})
	rapid.Check(t, func(t *rapid.T) {
		r := record()
		for range rapid.IntRange(0, 12).Draw(t, "headers") {
			value := bytes.Repeat([]byte("x"), rapid.IntRange(0, 3000).Draw(t, "bytes"))
			r.Headers = append(r.Headers, kafka.Header{Key: names.Draw(t, "name"), Value: value})
		}
		m := Desk{Topics: topics()}.Bury(r, event(), "invalid").Follow[0]
		require.LessOrEqual(t, headerBytes(m.Headers), maxHeaders)
		all := headers(t, m.Headers)
		require.Equal(t, id, all["ls-id"])
		require.NotContains(t, all, "ls-x")
		for key, value := range all {
			if producers(key) {
				last, _ := r.Header(key)
				require.Equal(t, last, value, "an earlier header of the name was never in force")
			}
		}
		require.LessOrEqual(t, size(m)-size(kafka.Message{Key: m.Key, Value: m.Value}), Headroom)
	})
}
