package dispatcher

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A batch says nothing that can be read: all that is known of it is its place.
func TestDesk_UndecodableBatchBecomesADeadLetter(t *testing.T) {
	d := Desk{Topics: topics()}
	for topic, lane := range map[string]notify.Lane{
		"acme.email_topic": notify.LaneNormal, "acme.email_topic.bulk": notify.LaneBulk, "acme.email_topic.urgent": notify.LaneUrgent,
		"acme.email_topic.delay.30s": notify.LaneNormal, "acme.email_topic.urgent.delay.5s": notify.LaneUrgent,
	} {
		raw := []byte("\x00\x01{\"id\":\"0190163d-8694-739b-aea5-966c26f8ad91\",\"recipient\":\"ada@example.com\"}")
		at := &kafka.Record{Cluster: "c", Topic: topic, Partition: 5, Offset: 42, Value: raw}
		m := d.Undecodable(&kafka.UndecodableBatch{Record: at, LastOffset: 46, Count: 3})
		require.Equal(t, "acme.email_topic.dlq", m.Topic)
		require.Equal(t, int32(5), m.Partition)
		require.Equal(t, raw, m.Value, "its bytes untouched")
		require.Nil(t, m.Key)
		hs := headers(t, m.Headers)
		require.NotEmpty(t, hs["ls-dead-at"])
		delete(hs, "ls-dead-at")
		require.Equal(t, map[string]string{
			"ls-id": d.Identify(at), "ls-lane": string(lane), "ls-run": "0", "ls-step": "0", "ls-attempt": "0", "ls-home": "5",
			"ls-dead-reason": "undecodable_batch", "ls-dead-code": "", "ls-dead-gateway": "", "ls-origin-topic": topic, "ls-origin-partition": "5",
			"ls-origin-offset": "42", "ls-origin-last-offset": "46", "ls-origin-count": "3",
		}, hs)
		again := d.Undecodable(&kafka.UndecodableBatch{Record: at, LastOffset: 46, Count: 3})
		require.Equal(t, hs["ls-id"], headers(t, again.Headers)["ls-id"])
		l, err := d.Letter(&kafka.Record{Topic: m.Topic, Value: m.Value, Headers: m.Headers})
		require.NoError(t, err)
		require.Nil(t, l.Notification)
		require.Equal(t, notify.StateRejected, l.State())
	}
}

// What a mover cannot handle without a panic ends: the dead letter has the job's bytes, and the status topic an event.
func TestDesk_PanickedJobOfAMoverBecomesADeadLetter(t *testing.T) {
	d := Desk{Topics: topics()}
	job := record(header("ls-id", id), header("ls-lane", "bulk"), header("ls-run", "1"), header("ls-step", "4"), header("ls-attempt", "2"),
		header("ls-home", "7"), header("ls-accepted-at", "2030-01-01T00:00:00Z"), header("traceparent", "00-1"))
	job.Topic = "acme.email_topic.delay.30s"
	job.Value = []byte(`{"tenant":"shop","reference":"order 7","recipient":"ada@example.com"}`)
	res := d.Panicked(&kafka.Attempt{Record: job})
	require.Nil(t, res.Outcome, "a mover has no ledger")
	require.Len(t, res.Follow, 2)
	letter, told := res.Follow[0], res.Follow[1]
	require.Equal(t, []any{"acme.email_topic.dlq", int32(7)}, []any{letter.Topic, letter.Partition})
	require.Equal(t, job.Value, letter.Value)
	hs := headers(t, letter.Headers)
	for name, want := range map[string]string{
		"ls-id": id, "ls-lane": "bulk", "ls-run": "1", "ls-step": "4", "ls-attempt": "2", "ls-dead-reason": "panicked",
		"ls-origin-topic": job.Topic, "ls-origin-offset": "42", "ls-accepted-at": "2030-01-01T00:00:00Z", "traceparent": "00-1",
	} {
		require.Equal(t, want, hs[name], name)
	}
	var e notify.Event
	require.NoError(t, json.Unmarshal(told.Value, &e))
	require.Equal(t, "acme.status_topic", told.Topic)
	require.Equal(t, []any{notify.StateDead, true, "panicked", id, 1, 4, "shop", "order 7"},
		[]any{e.State, e.Final, e.Reason, e.NotificationID, e.Run, e.Step, e.Tenant, e.Reference})

	read := &kafka.Record{Topic: letter.Topic, Partition: letter.Partition, Key: letter.Key, Value: letter.Value, Headers: letter.Headers}
	l, err := d.Letter(read)
	require.NoError(t, err)
	require.Equal(t, notify.StateDead, l.State())
	again, _, err := d.Redrive(read, redrivenAt, time.Time{})
	require.NoError(t, err)
	require.Equal(t, []any{"acme.email_topic.bulk", int32(7), "2"}, []any{again.Topic, again.Partition, headers(t, again.Headers)["ls-run"]})
}
