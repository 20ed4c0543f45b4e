package dispatcher

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// endOf reads an event, and what has to hold of one that a job ends in because its record was too large.
func endOf(t *testing.T, value []byte) (e notify.Event) {
	t.Helper()
	require.NoError(t, json.Unmarshal(value, &e))
	require.Equal(t, []any{notify.StateDead, true}, []any{e.State, e.Final})
	require.Nil(t, e.NextAt, "it waits for nothing")
	sealed := e
	sealed.Seal()
	require.Equal(t, sealed.EventID, e.EventID)
	return e
}

// A job that the ladder does not take leaves a dead letter and an event that ends it, and none that says it is to be tried
// again; the tries and what else its worker knew stay.
func TestAStepThatTheLadderRefusesIsTheLast(t *testing.T) {
	d, r, e := Desk{Topics: topics()}, record(), calledTwice(event())
	e.State, e.Reason, e.Warnings = notify.StateRetrying, "try again", []string{"unknown field x was ignored"}
	res := later(d, r, e, time.Now().Add(time.Minute))
	more := kafka.Message{Topic: "acme.control_topic"}
	res.Follow = append(res.Follow, more)
	got := d.Shrink(r, res)

	require.Equal(t, []string{"acme.email_topic.dlq", "acme.control_topic"}, topicsOf(got.Follow))
	letter := got.Follow[0]
	require.Equal(t, []any{r.Key, r.Value, int32(5)}, []any{letter.Key, letter.Value, letter.Partition}, "whole, as far as its topic takes it")
	all := headers(t, letter.Headers)
	require.Equal(t, []string{"too_large", "2", "acme.email_topic", "5", "42"},
		[]string{all["ls-dead-reason"], all["ls-step"], all["ls-origin-topic"], all["ls-origin-partition"], all["ls-origin-offset"]})
	end := endOf(t, got.Outcome.Value)
	require.Equal(t, []any{id, 1, 2, 3, "too_large: try again"}, []any{end.NotificationID, end.Run, end.Step, end.Attempt, end.Reason})
	require.Equal(t, []any{e.Tries, e.Warnings, "mail", e.At}, []any{end.Tries, end.Warnings, end.Gateway, end.At})
	require.Equal(t, &notify.Origin{Topic: r.Topic, Partition: 5, Offset: 42}, end.Origin)
}

// A mover's job that is refused on its way ends, too: with an event that goes where its id says, and is no record of the ledger.
func TestAJobThatIsTooLargeOnItsWayEnds(t *testing.T) {
	d := Desk{Topics: topics()}
	first := record()
	first.Value = []byte(`{"tenant":"shop","reference":"order 7","recipient":"ada@example.com"}`)
	e := event()
	e.State, e.Lane = notify.StateRetrying, notify.LaneBulk
	step := later(d, first, e, time.Now()).Follow[0]
	waits := &kafka.Record{Topic: step.Topic, Partition: 2, Offset: 9, Key: step.Key, Value: step.Value, Headers: step.Headers}
	for name, topic := range map[string]string{"a tier up": "acme.email_topic.delay.30s", "back to its lane": "acme.email_topic.bulk", "to lane normal": "acme.email_topic"} {
		t.Run(name, func(t *testing.T) {
			m := step
			m.Topic = topic
			got := d.Shrink(waits, kafka.Result{Follow: []kafka.Message{m}})
			require.Nil(t, got.Outcome)
			require.Equal(t, []string{"acme.email_topic.dlq", "acme.status_topic"}, topicsOf(got.Follow))
			letter, said := got.Follow[0], got.Follow[1]
			require.Equal(t, step.Value, letter.Value)
			all := headers(t, letter.Headers)
			require.Equal(t, []string{"too_large", "3", "acme.email_topic.delay.5s", "2", "9"},
				[]string{all["ls-dead-reason"], all["ls-step"], all["ls-origin-topic"], all["ls-origin-partition"], all["ls-origin-offset"]})
			require.Equal(t, []any{kafka.Hashed, id, 0}, []any{said.Partition, string(said.Key), len(said.Headers)})
			end := endOf(t, said.Value)
			require.WithinDuration(t, time.Now(), end.At, time.Minute)
			require.Equal(t, []any{id, 1, 3, 3, "too_large", "shop", "order 7", notify.ChannelEmail, notify.LaneBulk},
				[]any{end.NotificationID, end.Run, end.Step, end.Attempt, end.Reason, end.Tenant, end.Reference, end.Channel, end.Lane})
			require.Equal(t, &notify.Origin{Topic: waits.Topic, Partition: 2, Offset: 9}, end.Origin)
		})
	}
}

// A dead letter that is refused goes without its value, and then always fits; what is said of the job stays as it was.
func TestADeadLetterThatIsTooLargeGoesWithoutItsValue(t *testing.T) {
	e := event()
	e.State = notify.StateDead
	r := record()
	r.Value = bytes.Repeat([]byte("x"), 5<<20)
	d := Desk{Topics: topics()}
	res := d.Bury(r, e, notify.ReasonAttemptsUsedUp)
	before := headers(t, res.Follow[0].Headers)
	got := d.Shrink(r, res)
	require.Equal(t, res.Outcome, got.Outcome)
	require.Len(t, got.Follow, 1)
	m := got.Follow[0]
	require.Nil(t, m.Value)
	require.Equal(t, []any{r.Key, "acme.email_topic.dlq", int32(5)}, []any{m.Key, m.Topic, m.Partition})
	require.Equal(t, before, headers(t, res.Follow[0].Headers), "the refused record is left as it is")
	before["ls-dead-reason"] = "too_large"
	require.Equal(t, before, headers(t, m.Headers))

	res.Follow[0].Key = r.Value
	require.Less(t, size(d.Shrink(r, res).Follow[0]), 8<<10)

	// and so does the letter of a job that the ladder refused
	e.State = notify.StateRetrying
	whole := d.Shrink(r, later(d, r, e, time.Now()))
	require.Equal(t, r.Value, whole.Follow[0].Value)
	bare := d.Shrink(r, whole)
	require.Nil(t, bare.Follow[0].Value)
	require.Equal(t, whole.Outcome, bare.Outcome)
}
