package dispatcher

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var redrivenAt = time.Date(2030, 1, 3, 0, 0, 0, 0, time.UTC)

// buried is the dead letter that a worker leaves of a job, as it is read.
func buried(reason string, job *kafka.Record) *kafka.Record {
	e := event()
	e.State, e.Code, e.Gateway, e.Lane = notify.StateDead, "451 4.3.0", "mail", notify.LaneBulk
	m := Desk{Topics: topics()}.Bury(job, e, reason).Follow[0]
	return &kafka.Record{Topic: m.Topic, Partition: 2, Offset: 17, Timestamp: e.At, Key: m.Key, Value: m.Value, Headers: m.Headers}
}

func TestRedrive(t *testing.T) {
	job := record(
		header("traceparent", "00-1"), header("ls-schema", "1"), header("ls-accepted-at", "2030-01-01T00:00:00Z"), header("b3", "foreign"),
		header("ls-home", "7"), header("ls-attempt", "2"),
	)
	job.Value = []byte(`{"tenant":"shop","reference":"order 7","recipient":"ada@example.com","expires_at":"2030-01-01T00:00:00Z","odd":1}`)
	letter := buried(notify.ReasonAttemptsUsedUp, job)
	d := Desk{Topics: topics()}
	again, event, err := d.Redrive(letter, redrivenAt, time.Time{})
	require.NoError(t, err)

	require.Equal(t, "acme.email_topic.bulk", again.Topic, "its lane's")
	require.Equal(t, int32(7), again.Partition, "its home")
	require.Equal(t, job.Key, again.Key)
	require.Equal(t, job.Value, again.Value, "bytes untouched")
	want := map[string]string{
		"ls-id": id, "ls-lane": "bulk", "ls-run": "2", "ls-step": "0", "ls-attempt": "0", "ls-home": "7",
		"ls-accepted-at": "2030-01-01T00:00:00Z", "traceparent": "00-1", "ls-schema": "1", "b3": "foreign",
	}
	require.Equal(t, want, headers(t, again.Headers))

	require.Equal(t, []any{"acme.status_topic", kafka.Hashed, id}, []any{event.Topic, event.Partition, string(event.Key)})
	require.Empty(t, event.Headers, "no record of the ledger")
	var pretty bytes.Buffer
	require.NoError(t, json.Indent(&pretty, event.Value, "", "  "))
	golden(t, "redriven.json", append(pretty.Bytes(), '\n'))

	later, laterEvent, err := d.Redrive(letter, redrivenAt.Add(time.Hour), time.Time{})
	require.NoError(t, err)
	require.Equal(t, again, later, "the same run, however often")
	require.Equal(t, eventID(t, event), eventID(t, laterEvent))

	again, _, err = d.Redrive(letter, redrivenAt, redrivenAt.Add(24*time.Hour))
	require.NoError(t, err)
	want["ls-expires-at"] = "2030-01-04T00:00:00Z"
	require.Equal(t, want, headers(t, again.Headers))

	// It dies again: what gave it more time is carried on, to the next run and through it.
	second := &kafka.Record{Topic: again.Topic, Partition: again.Partition, Offset: 1, Key: again.Key, Value: again.Value, Headers: again.Headers}
	again, _, err = d.Redrive(buried(notify.ReasonAttemptsUsedUp, second), redrivenAt, time.Time{})
	require.NoError(t, err)
	require.Equal(t, "2030-01-04T00:00:00Z", headers(t, again.Headers)["ls-expires-at"])
}

func eventID(t *testing.T, m kafka.Message) string {
	var e notify.Event
	require.NoError(t, json.Unmarshal(m.Value, &e))
	return e.EventID
}

// Somebody else may have written a letter, or it has moved here: what it lacks follows from what it is.
func TestRedriveOfABareLetter(t *testing.T) {
	d := Desk{Topics: topics()}
	bare := &kafka.Record{Cluster: "c", Topic: "acme.push_topic.dlq", Partition: 1, Offset: 4, Value: []byte("{"), Headers: []kafka.Header{
		header("ls-lane", "express"), header("ls-run", "many"), header("ls-dead-at", "never"),
	}}
	job, event, err := d.Redrive(bare, redrivenAt, time.Time{})
	require.NoError(t, err)
	got := headers(t, job.Headers)
	require.Equal(t, "acme.push_topic", job.Topic)
	require.Equal(t, d.Identify(bare), got["ls-id"])
	require.Equal(t, got["ls-id"], string(event.Key))
	require.Equal(t, "1", got["ls-run"])
	require.NotContains(t, got, "ls-home", "where it lies among the dead letters is no home")
	require.GreaterOrEqual(t, job.Partition, int32(0), "without a key the id chooses, so that a repetition meets it")
	again, _, _ := d.Redrive(bare, redrivenAt, time.Time{})
	require.Equal(t, job.Partition, again.Partition)
	bare.Key = []byte("k")
	job, _, err = d.Redrive(bare, redrivenAt, time.Time{})
	require.NoError(t, err)
	require.Equal(t, kafka.Hashed, job.Partition)

	bare.Topic = "acme.push_topic"
	_, _, err = d.Redrive(bare, redrivenAt, time.Time{})
	require.ErrorContains(t, err, "acme.push_topic")
}

func TestALetterWithoutItsValueTakesThatOfItsOrigin(t *testing.T) {
	d := Desk{Topics: topics()}
	job := record(header("ls-id", id))
	job.Value = []byte(`{"recipient":"ada@example.com","expires_at":"2030-01-01T00:00:00Z"}`)
	letter := buried(notify.ReasonInvalid, job)
	small := withoutValue(kafka.Message{Key: letter.Key, Value: letter.Value, Headers: letter.Headers})
	letter.Key, letter.Value, letter.Headers = nil, nil, small.Headers
	_, _, err := d.Redrive(letter, redrivenAt, time.Time{})
	require.ErrorIs(t, err, ErrValueMissing)

	l, err := d.Letter(letter)
	require.NoError(t, err)
	require.True(t, l.ValueMissing())
	require.Equal(t, &notify.Origin{Topic: "acme.email_topic", Partition: 5, Offset: 42}, l.Origin)
	whole, ok := l.WithValue(job)
	require.True(t, ok)
	again, _, err := d.Redrive(whole, redrivenAt, time.Time{})
	require.NoError(t, err)
	require.Equal(t, []string{string(job.Key), string(job.Value)}, []string{string(again.Key), string(again.Value)})
	require.Nil(t, letter.Value, "the letter is left as it is")

	_, ok = l.WithValue(&kafka.Record{Topic: job.Topic, Partition: 5, Offset: 42, Value: job.Value})
	require.False(t, ok, "another job has that place by now")
}

func TestLetter(t *testing.T) {
	d := Desk{Topics: topics()}
	read := func(reason, value string) *Letter {
		r := record()
		r.Value = []byte(value)
		l, err := d.Letter(buried(reason, r))
		require.NoError(t, err)
		return l
	}
	l := read(notify.ReasonAttemptsUsedUp, `{"recipient":"ada@example.com"}`)
	require.Equal(t, []any{id, notify.ChannelEmail, notify.LaneBulk, 1, 2, 3, "451 4.3.0", "mail", notify.StateDead, true},
		[]any{l.ID, l.Channel, l.Lane, l.Run, l.Step, l.Attempt, l.Code, l.Gateway, l.State(), l.Legible})
	require.Equal(t, event().At, l.Died)
	day := map[notify.Lane]time.Duration{notify.LaneBulk: 24 * time.Hour}
	_, ok := l.Expires(day)
	require.False(t, ok, "it lives anew")
	for value, want := range map[string]string{
		`{}`: "2030-01-03T00:00:00Z", `{"send_at":"2030-01-05T00:00:00Z"}`: "2030-01-06T00:00:00Z", `{"send_at":"2020-01-05T00:00:00Z"}`: "2030-01-03T00:00:00Z",
		`{"expires_at":"2030-01-01T00:00:00Z","send_at":"2030-01-05T00:00:00Z"}`: "2030-01-01T00:00:00Z",
	} {
		r := record(header("ls-accepted-at", "2030-01-02T00:00:00Z"))
		r.Value = []byte(value)
		l, err := d.Letter(buried("x", r))
		require.NoError(t, err)
		at, ok := l.Expires(day)
		require.True(t, ok, value)
		require.Equal(t, want, stamp(at), value)
		l.Headers = append(l.Headers, header("ls-expires-at", "2040-01-01T00:00:00Z"))
		at, _ = l.Expires(day)
		require.Equal(t, "2040-01-01T00:00:00Z", stamp(at), "a redrive's is stronger")
	}
	require.Equal(t, notify.StateHeld, read("ambiguous", "{}").State())
	require.Equal(t, notify.StateDead, read("order", "{}").State())
	require.Equal(t, notify.StateRejected, read("550 go away", "{}").State())
	require.False(t, read("x", `{"sensitive":"yes"}`).Legible)
	l = read(notify.ReasonUndecodable, `{`)
	require.Nil(t, l.Notification)
	require.False(t, l.Legible)
	require.Equal(t, id, l.ID)
}

// Its home is where its key leads in the other Kafka, whatever the partitions there: the ladder has few of them, a lane many.
func TestMove(t *testing.T) {
	d := Desk{Topics: topics()}
	r := record(header("traceparent", "00-1"), header("ls-home", "7"), header("ls-run", "1"), header("ls-not-before", "2030-01-01T00:00:00Z"), header("x", "1"), header("x", "2"))
	r.Cluster, r.Timestamp = "old", time.UnixMilli(1_700_000_000_123)
	m := d.Move(r, "acme.email_topic")
	home := kafka.Home(r.Key)
	require.Equal(t, kafka.Message{
		Topic: "acme.email_topic", Partition: home, Key: r.Key, Value: r.Value, Headers: []kafka.Header{
			header("traceparent", "00-1"), header("ls-run", "1"), header("ls-not-before", "2030-01-01T00:00:00Z"), header("x", "1"), header("x", "2"),
			header("ls-id", d.Identify(r)), header("ls-accepted-at", "2023-11-14T22:13:20.123Z"), header("ls-home", strconv.Itoa(int(home))),
		},
	}, m)
	require.Len(t, r.Headers, 6, "the record is left as it is")

	r.Headers = []kafka.Header{header("ls-id", id), header("ls-accepted-at", "2023-01-01T00:00:00Z")}
	require.Equal(t, append(slices.Clone(r.Headers), header("ls-home", strconv.Itoa(int(home)))), d.Move(r, "t").Headers, "as they are")
	r.Headers = []kafka.Header{header("ls-id", "nobody")}
	moved := &kafka.Record{Cluster: "new", Headers: d.Move(r, "t").Headers, Value: r.Value}
	require.Equal(t, d.Identify(r), d.Identify(moved), "the same id for whoever reads it there")

	r.Key = nil
	m = d.Move(r, "t")
	require.GreaterOrEqual(t, m.Partition, int32(0), "where its repetition meets it")
	require.Equal(t, m.Partition, d.Move(r, "t").Partition)
	require.Equal(t, header("ls-home", strconv.Itoa(int(m.Partition))), m.Headers[len(m.Headers)-1])
}

// What waits and has moved comes back to where the key's other jobs are.
func TestWhatHasMovedComesBackToItsHome(t *testing.T) {
	r := waiting("20m", time.Minute)
	m := Desk{Topics: topics()}.Move(r, r.Topic)
	there := &kafka.Record{Topic: m.Topic, Partition: m.Partition % 3, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	synctest.Test(t, func(t *testing.T) {
		_, home := ride(t, mover(), there)
		require.Equal(t, kafka.Home(r.Key)%12, home.Partition%12)
	})
}

func TestMoveHeld(t *testing.T) {
	d := Desk{Topics: topics()}
	r := record(header("ls-run", "1"), header("ls-step", "2"), header("ls-attempt", "3"), header("traceparent", "00-1"))
	r.Value = []byte(`{"id":"` + id + `","tenant":"shop","reference":"order 7","on_ambiguous":"hold"}`)
	letter, event := d.MoveHeld(r, notify.ChannelEmail, notify.LaneBulk, redrivenAt)
	l, err := d.Letter(&kafka.Record{Topic: letter.Topic, Value: letter.Value, Headers: letter.Headers})
	require.NoError(t, err)
	require.Equal(t, []any{id, notify.LaneBulk, 1, 2, 4, notify.ReasonAmbiguous, notify.StateHeld}, []any{l.ID, l.Lane, l.Run, l.Step, l.Attempt, l.Reason, l.State()})
	require.Equal(t, []string{string(r.Key), string(r.Value)}, []string{string(letter.Key), string(letter.Value)})
	require.Equal(t, kafka.Home(r.Key), letter.Partition)
	require.Equal(t, strconv.Itoa(int(letter.Partition)), headers(t, letter.Headers)["ls-home"])
	require.Equal(t, "00-1", headers(t, letter.Headers)["traceparent"])

	var e notify.Event
	require.NoError(t, json.Unmarshal(event.Value, &e))
	require.Equal(t, []any{"acme.status_topic", kafka.Hashed, id}, []any{event.Topic, event.Partition, string(event.Key)})
	require.Empty(t, event.Headers, "no record of the ledger: its offsets are the other Kafka's")
	require.Equal(t, []any{notify.StateHeld, false, "shop", "order 7", 1, 2, 4}, []any{e.State, e.Final, e.Tenant, e.Reference, e.Run, e.Step, e.Attempt})
	_, again := d.MoveHeld(r, notify.ChannelEmail, notify.LaneBulk, redrivenAt.Add(time.Hour))
	require.Equal(t, e.EventID, eventID(t, again), "moved twice, one event")
}
