package dispatcher

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestLaterWritesTheNextStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := event()
		e.State, e.Lane = notify.StateRetrying, notify.LaneBulk
		r := record(
			header("ls-id", "somebody else's"), header("ls-lane", "urgent"), header("ls-run", "x"), header("ls-home", "7"),
			header("ls-accepted-at", "1999-12-31T00:00:00Z"), header("ls-not-before", "1999-12-31T23:00:00Z"), header("ls-future", "?"),
			header("ls-schema", "1"), header("ls-idempotency", "k"), header("traceparent", "00-x"), header("b3", "foreign"),
			header("ls-expires-at", "2000-01-02T00:00:00Z"),
		)
		at := time.Now().Add(40 * time.Minute).In(time.FixedZone("", 3600))
		res := later(Desk{Topics: topics()}, r, e, at)
		require.Len(t, res.Follow, 1)
		m := res.Follow[0]
		require.Equal(t, "acme.email_topic.delay.20m", m.Topic)
		require.Equal(t, int32(7), m.Partition)
		require.Equal(t, r.Key, m.Key)
		require.Equal(t, r.Value, m.Value)
		require.Equal(t, map[string]string{
			"ls-id": id, "ls-lane": "bulk", "ls-run": "1", "ls-step": "3", "ls-attempt": "3", "ls-home": "7",
			"ls-accepted-at": "1999-12-31T00:00:00Z", "ls-not-before": "2000-01-01T00:40:00Z",
			"ls-schema": "1", "ls-idempotency": "k", "traceparent": "00-x", "b3": "foreign",
			"ls-expires-at": "2000-01-02T00:00:00Z",
		}, headers(t, m.Headers))
		require.True(t, NotBefore(&kafka.Record{Headers: m.Headers}).Equal(at))
	})
}

// When a job was accepted is what its first record says, in our spelling; else when that was written; else now.
func TestLaterKeepsWhenAJobWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := time.Date(1999, 12, 30, 3, 4, 5, 0, time.UTC)
		for given, want := range map[string]string{
			"1999-12-29T00:00:00.5+01:00":                             "1999-12-28T23:00:00.5Z",
			"1999-12-29T00:00:00." + strings.Repeat("0", 9000) + "5Z": "1999-12-29T00:00:00Z",
			"yesterday":               "1999-12-30T03:04:05Z",
			strings.Repeat("x", 9000): "1999-12-30T03:04:05Z",
			"":                        "1999-12-30T03:04:05Z",
		} {
			r := record(header("ls-accepted-at", given))
			r.Timestamp = written
			m := later(Desk{Topics: topics()}, r, event(), time.Now()).Follow[0]
			require.Equal(t, want, headers(t, m.Headers)["ls-accepted-at"])
			require.LessOrEqual(t, headerBytes(m.Headers), maxHeaders)
		}
		for _, none := range []time.Time{{}, time.UnixMilli(-1)} { // as a record without a time is read
			r := record()
			r.Timestamp = none
			m := later(Desk{Topics: topics()}, r, event(), time.Now()).Follow[0]
			require.Equal(t, "2000-01-01T00:00:00Z", headers(t, m.Headers)["ls-accepted-at"])
		}
	})
}

// Whatever a job brings along, its next step has ours, bounded, and of the others the last of each name.
func TestHeadersOfTheNextStepAreBounded(t *testing.T) {
	names := rapid.SampledFrom([]string{
		"traceparent", "ls-schema", "ls-idempotency", "ls-accepted-at", "ls-not-before", "ls-id", "ls-step", "ls-home", "ls-x", "b3", "", "\xff",
	})
	rapid.Check(t, func(t *rapid.T) {
		r := record()
		for range rapid.IntRange(0, 12).Draw(t, "headers") {
			value := bytes.Repeat([]byte("x"), rapid.IntRange(0, 5000).Draw(t, "bytes"))
			r.Headers = append(r.Headers, kafka.Header{Key: names.Draw(t, "name"), Value: value})
		}
		m := later(Desk{Topics: topics()}, r, event(), time.Now().Add(time.Minute)).Follow[0]
		require.LessOrEqual(t, headerBytes(m.Headers), maxHeaders)
		all := headers(t, m.Headers)
		require.Equal(t, id, all["ls-id"])
		require.Equal(t, "3", all["ls-step"])
		require.Equal(t, "5", all["ls-home"])
		require.NotContains(t, all, "ls-x")
		require.LessOrEqual(t, size(m)-size(kafka.Message{Key: m.Key, Value: m.Value}), Headroom)
	})
}

// later puts off what the ladder takes.
func later(d Desk, r *kafka.Record, e notify.Event, at time.Time) kafka.Result {
	res, fits := d.Later(r, e, at)
	if !fits {
		panic("the ladder does not take it")
	}
	return res
}

// What would not fit the ladder is not put off.
func TestLaterRefusesWhatTheLadderDoesNotTake(t *testing.T) {
	r, e := record(), event()
	r.Value = bytes.Repeat([]byte("x"), 10_000)
	e.State, e.Reason = notify.StateRetrying, "try again"
	limit := 0
	d := Desk{Topics: topics(), Limit: func() int { return limit }}
	at := time.Now() // as the record is as long as its times
	r.Timestamp = at // a time ahead would be the present's, of another length at each call
	limit = size(later(d, r, e, at).Follow[0])
	require.Equal(t, []string{"acme.email_topic.delay.5s"}, topicsOf(later(d, r, e, at).Follow))
	limit--
	res, fits := d.Later(r, e, at)
	require.False(t, fits)
	require.Empty(t, res)
}

func TestNotBeforeNeverDelaysWhatNobodyMeans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, delays := range map[string]bool{
			"2000-01-01T00:00:05Z": true, "2000-01-31T12:00:00Z": true, "2000-02-02T00:00:00Z": false, "9999-12-31T23:59:59Z": false,
			"soon": false, "": false, "946684805": false, strings.Repeat("9", 10_000): false, "\xff": false,
		} {
			require.Equal(t, delays, NotBefore(record(header("ls-not-before", value))).After(time.Now()), value)
		}
		require.True(t, NotBefore(record()).IsZero())
	})
}
