package worker

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

func shareKey(key byte) func(c *Config) {
	return func(c *Config) {
		c.FingerprintKey = func() ([16]byte, bool) { return [16]byte{key}, true }
	}
}

// moved returns r with another offset.
func moved(r *kafka.Record, offset int64) *kafka.Record {
	r.Offset = offset
	return r
}

// dropped returns the event that w publishes when it drops r, or nil.
func dropped(t *testing.T, w *Worker, r *kafka.Record) *notify.Event {
	t.Helper()
	res := w.Handle(context.Background(), newAttempt(r))
	require.True(t, res.Again.IsZero())
	require.Empty(t, res.Follow)
	if res.Outcome == nil {
		return nil
	}
	var e notify.Event
	require.NoError(t, json.Unmarshal(res.Outcome.Value, &e))
	require.Equal(t, someID, res.Outcome.ID)
	for _, h := range res.Outcome.Headers {
		require.NotEqual(t, notify.HeaderFingerprint, h.Key, "the content is not that of the id")
	}
	return &e
}

func expiring(at string) string { return mailWith(`"expires_at":"` + at + `"`) }

// submitted returns the headers of a job that the API has accepted with an ID chosen by the caller.
func submitted(t *testing.T, value string, more ...string) []string {
	var n notify.Notification
	require.NoError(t, json.Unmarshal([]byte(value), &n))
	c, err := notify.ContentOf(&n)
	require.NoError(t, err)
	return append([]string{"ls-id", someID, "ls-accepted-at", time.Now().Format(time.RFC3339Nano), "ls-fingerprint", c.Exact.String()}, more...)
}

func minted(value string) *kafka.Record {
	return record(value, "ls-id", someID, "ls-accepted-at", time.Now().Format(time.RFC3339Nano))
}

const (
	day1 = "2000-01-02T00:00:00Z"
	day2 = "2000-01-02T00:00:01Z"
)

var otherMail = strings.Replace(mail, "secret words", "other words", 1)

func TestWorker_ConflictingIDPublishesEvent(t *testing.T) {
	for name, c := range map[string]struct{ first, second *kafka.Record }{
		"of direct producers":           {record(mail), record(otherMail)},
		"without a value's id":          {record(strings.Replace(mail, `"id":"`+someID+`",`, "", 1), "ls-id", someID), record(strings.Replace(otherMail, `"id":"`+someID+`",`, "", 1), "ls-id", someID)},
		"through the API":               {record(expiring(day1), submitted(t, mail)...), record(strings.Replace(expiring(day1), "secret", "other", 1), submitted(t, otherMail)...)},
		"under an id of the API's":      {minted(expiring(day1)), record(otherMail)},
		"through the API, its own id":   {minted(expiring(day1)), record(strings.Replace(expiring(day2), "secret", "other", 1), submitted(t, otherMail)...)},
		"that cannot be read":           {record(mail), record(`{"id":"`+someID+`"`, "ls-id", someID)},
		"after one that cannot be sent": {record(`{"id":"` + someID + `","recipient":7}`), record(mail)},
		"another tenant's":              {record(mail), record(mailWith(`"tenant":"shop"`))},
		"another lane asked for":        {record(mail), record(mailWith(`"metadata":{"a":"b"}`))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gateway := scripted(nil)
				w := newWorker(gateway, shareKey(1))
				handleToEnd(t, w, newAttempt(c.first))
				sent := len(gateway.received)
				second := moved(c.second, 43)
				e := dropped(t, w, second)
				require.NotNil(t, e)
				require.Equal(t, notify.NoteDuplicate, e.Note)
				require.Equal(t, someID, e.NotificationID)
				require.False(t, e.Final)
				require.Equal(t, &notify.Origin{Topic: "email_topic", Partition: 3, Offset: 43}, e.Origin)
				require.Len(t, gateway.received, sent, "it is not sent")
				for _, value := range []string{"words", "bob", "Hi"} {
					require.NotContains(t, string(must(e.Encode())), value)
				}
				again := dropped(t, w, second)
				require.Equal(t, e.EventID, again.EventID, "one event for each copy")
				third := dropped(t, w, moved(second, 44))
				require.NotEqual(t, e.EventID, third.EventID)
				require.Nil(t, dropped(t, w, moved(c.first, 45)), "the first stays what the id stands for")
			})
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestWorker_CopyPublishesNoEvent(t *testing.T) {
	respelt := `{"payload":{"text":"\u0073ecret words", "subject":"Hi"}, "tenant":"default","recipient":"` + recipient + `","id":"` + someID + `"}`
	for name, c := range map[string]struct{ first, second *kafka.Record }{
		"to the byte":                 {record(mail), record(mail)},
		"spelt anew":                  {record(mail), record(respelt)},
		"that nobody can read":        {record(`{"id":`, "ls-id", someID), record(`{"id":`, "ls-id", someID)},
		"repeated through the API":    {record(expiring(day1), submitted(t, mail)...), record(expiring(day2), submitted(t, mail)...)},
		"direct, then through it":     {record(mail), record(expiring(day2), submitted(t, mail)...)},
		"through it, then direct":     {record(expiring(day1), submitted(t, mail)...), record(mail)},
		"moved":                       {minted(expiring(day1)), minted(expiring(day1))},
		"of another id of the ladder": {record(mail), record(respelt, "ls-accepted-at", day1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorker(scripted(nil), shareKey(1))
				handleToEnd(t, w, newAttempt(c.first))
				require.Nil(t, dropped(t, w, moved(c.second, 43)))
			})
		})
	}
}

// All steps and runs of a notification have the same content.
func TestWorker_LaterStepsAndRunsAreNoConflict(t *testing.T) {
	for name, first := range map[string]func(t *testing.T) *kafka.Record{
		"direct": func(*testing.T) *kafka.Record { return record(mail) },
		"API":    func(t *testing.T) *kafka.Record { return record(expiring(day1), submitted(t, mail)...) },
		"minted": func(*testing.T) *kafka.Record { return minted(expiring(day1)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorker(scripted(transient, transient, permanent), shareKey(1))
				r := first(t)
				var steps []*kafka.Record
				for range 2 {
					steps = append(steps, r)
					e, res := handleToEnd(t, w, newAttempt(r))
					require.Equal(t, notify.StateRetrying, e.State)
					r = nextRecord(t, r, res)
					time.Sleep(time.Minute)
				}
				e, res := handleToEnd(t, w, newAttempt(r))
				require.Equal(t, notify.StateRejected, e.State)
				letter := &kafka.Record{Topic: "email_topic.dlq", Key: res.Follow[0].Key, Value: res.Follow[0].Value, Headers: res.Follow[0].Headers}
				job, _, err := desk().Redrive(letter, time.Now(), time.Time{})
				require.NoError(t, err)
				redriven := &kafka.Record{Topic: "email_topic", Partition: 3, Offset: 50, Timestamp: time.Now(), Key: job.Key, Value: job.Value, Headers: job.Headers}
				steps = append(steps, r, redriven)
				handleToEnd(t, w, newAttempt(redriven))
				for i, r := range steps {
					require.Nil(t, dropped(t, w, moved(r, int64(60+i))))
				}
				require.NotNil(t, dropped(t, w, moved(record(otherMail), 70)))
			})
		})
	}
}

// A new owner of a partition compares with the tag on the ledger, made with the key that all workers share.
func TestWorker_ContentIsKnownAfterTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcome := func(change func(*Config), r *kafka.Record) *kafka.Record {
			_, res := handleToEnd(t, newWorker(scripted(nil), change), newAttempt(r))
			headers := append([]kafka.Header{{Key: kafka.HeaderKind, Value: []byte(kafka.KindOutcome)}, {Key: kafka.HeaderJobID, Value: []byte(someID)}}, res.Outcome.Headers...)
			return &kafka.Record{Topic: "status_topic", Value: res.Outcome.Value, Headers: headers}
		}
		taken := func(key byte, ledger *kafka.Record) *Worker {
			w := newWorker(scripted(nil), shareKey(key))
			w.OnLedger("email_topic", 3, ledger)
			return w
		}
		ledger := outcome(shareKey(1), record(mail))
		require.NotNil(t, dropped(t, taken(1, ledger), record(otherMail)))
		require.Nil(t, dropped(t, taken(1, ledger), record(mail)))
		require.Nil(t, dropped(t, taken(2, ledger), record(otherMail)), "under another key nothing can be said")
		require.Nil(t, dropped(t, taken(1, outcome(nil, record(mail))), record(otherMail)), "nor of an outcome of an earlier version")
		for _, bad := range []string{"", "0000000000000000", "x", strings.Repeat("f", 1000), "zzzzzzzzzzzzzzzz"} {
			ledger.Headers[len(ledger.Headers)-1].Value = []byte(bad)
			require.Nil(t, dropped(t, taken(1, ledger), record(otherMail)), bad)
		}
	})
}

// Without the key a tag on the ledger reveals nothing about the notification.
func TestWorker_LedgerTagsAreKeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := func(change func(*Config), r *kafka.Record) string {
			_, res := handleToEnd(t, newWorker(scripted(nil), change), newAttempt(r))
			return headerOf(kafka.Message{Headers: res.Outcome.Headers}, notify.HeaderFingerprint)
		}
		print := of(shareKey(1), record(mail))
		require.Len(t, print, 16)
		require.Equal(t, print, of(shareKey(1), record(mail)))
		require.NotEqual(t, print, of(shareKey(1), record(otherMail)))
		require.NotEqual(t, print[4:], of(shareKey(2), record(mail))[4:])
		require.NotContains(t, strings.Join(submitted(t, mail), " "), print)
		require.Empty(t, of(nil, record(mail)), "without a shared key there is none")
		require.Empty(t, of(shareKey(1), minted(mail)), "an id of the API's costs no header")
	})
}

// After a change of the key, earlier tags cannot be compared.
func TestWorker_TagsOfAnotherKeyAreNotCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var key byte
		w := newWorker(scripted(nil), func(c *Config) {
			c.FingerprintKey = func() ([16]byte, bool) { return [16]byte{key}, key > 0 }
		})
		handleToEnd(t, w, newAttempt(record(mail)))
		require.NotNil(t, dropped(t, w, moved(record(otherMail), 43)), "this process knows")
		key = 1
		require.Nil(t, dropped(t, w, moved(record(otherMail), 44)))
	})
}

// BenchmarkContentTag measures the cost of the tag per job: a checksum, as for nearly all jobs, or a normalized fingerprint.
func BenchmarkContentTag(b *testing.B) {
	w := newWorker(nil, shareKey(1))
	for name, r := range map[string]*kafka.Record{
		"of the API": minted(mail), "with its own id": record(mail, "ls-id", someID, "ls-fingerprint", "0123456789abcdef"), "direct": record(mail),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n, _, faults := validate.Decode(r.Value, false)
			for b.Loop() {
				if h, ok := w.contentHashOf(r, n, faults); ok {
					w.tagger().tag(h)
				}
			}
		})
	}
}
