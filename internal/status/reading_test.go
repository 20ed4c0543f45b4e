package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const jobID = "0190163d-8694-739b-aea5-966c26f8ad91"

var written = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func jobRecord(value string, headers ...string) *kafka.Record {
	r := &kafka.Record{Topic: jobs, Partition: 1, Offset: 42, Timestamp: written, Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func TestAJobSaysThatItIsQueuedAndWhatItIs(t *testing.T) {
	c, k := reading.Read(jobRecord(
		`{"id":"`+strings.ToUpper(jobID)+`","recipient":"+14155550100","payload":{"body":"Hi"},"reference":"r","tenant":"acme","metadata":{"a":"b"},"lane":"urgent"}`,
		"ls-accepted-at", "2026-03-04T05:06:06.5Z"))
	require.Equal(t, kindJob, k)
	require.Equal(t, jobID, c.Event.NotificationID)
	require.Equal(t, notify.StateQueued, c.Event.State)
	require.Equal(t, notify.LaneNormal, c.Event.Lane, "the topic's")
	require.Equal(t, notify.ChannelSMS, c.Event.Channel)
	require.Equal(t, "acme", c.Event.Tenant)
	require.Equal(t, "r", c.Event.Reference)
	accepted := written.Add(-500 * time.Millisecond)
	require.Equal(t, accepted, c.Event.At)
	require.Equal(t, accepted, c.Job.AcceptedAt)
	require.Equal(t, "+14155550100", c.Job.Recipient)
	require.Equal(t, "+14155550100", c.Job.Address)
	require.Equal(t, accepted.Add(time.Hour), *c.Job.ExpiresAt)
	require.JSONEq(t, `{"body":"Hi"}`, string(c.Job.Payload))
	require.Equal(t, map[string]string{"a": "b"}, c.Job.Metadata)
}

// A later step may be all that is left of a run; it says what the first one said.
func TestEveryStepOfARunSaysTheSame(t *testing.T) {
	const value = `{"id":"` + jobID + `","recipient":"+14155550100","payload":{"body":"Hi"}}`
	first, _ := reading.Read(jobRecord(value))
	again, _ := reading.Read(jobRecord(value, "ls-step", "3", "ls-run", "0"))
	require.Equal(t, first.Event.EventID, again.Event.EventID)
	require.Zero(t, again.Event.Step)
	next, _ := reading.Read(jobRecord(value, "ls-run", "1", "ls-accepted-at", "2026-03-03T00:00:00Z"))
	require.NotEqual(t, first.Event.EventID, next.Event.EventID)
	require.Equal(t, written, next.Event.At, "when it was redriven")
	require.Equal(t, written.Add(-29*time.Hour-6*time.Minute-7*time.Second), next.Job.AcceptedAt)
	require.Greater(t, Place(&next.Event), Place(&first.Event))
}

func TestWhatIsNotToBeKeptIsNot(t *testing.T) {
	const value = `{"id":"` + jobID + `","recipient":"+14155550100","payload":{"body":"Hi"}`
	c, _ := reading.Read(jobRecord(value + `,"sensitive":true}`))
	require.Nil(t, c.Job.Payload)
	require.True(t, c.Job.Sensitive)
	none := reading
	none.StorePayload = false
	c, _ = none.Read(jobRecord(value + `}`))
	require.Nil(t, c.Job.Payload)
	require.Equal(t, "+14155550100", c.Job.Recipient)
}

// Nothing that somebody writes to a topic of jobs is left out, and nothing of it is larger or stranger than a store takes.
func TestAStrangeJobIsAJob(t *testing.T) {
	for name, value := range map[string]string{
		"nothing": "", "bytes": "\xff\x00", "half": `{"recipient":"`, "array": "[]", "two of one name": `{"id":"` + jobID + `","id":"x"}`,
		"NUL":     `{"recipient":"a\u0000b","tenant":"\u0000","reference":"\u0000","metadata":{"a\u0000":"b\u0000"},"payload":{}}`,
		"long":    `{"recipient":"` + strings.Repeat("é", 10_000) + `","tenant":"` + strings.Repeat("t", 10_000) + `","reference":"` + strings.Repeat("r", 10_000) + `","recipient_type":"` + strings.Repeat("r", 10_000) + `"}`,
		"heavy":   `{"metadata":{"a":"` + strings.Repeat("b", 10_000) + `"}}`,
		"strange": `{"channel":"pigeon","lane":"slow","recipient":"nobody","send_at":"0000-01-01T00:00:00Z","expires_at":"9999-12-31T23:59:59Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, k := reading.Read(jobRecord(value, "ls-run", "99999999999999999999", "ls-step", "-1", "ls-accepted-at", "never"))
			require.Equal(t, kindJob, k)
			requireID(t, c.Event.NotificationID)
			requireID(t, c.Event.EventID)
			require.Equal(t, notify.StateQueued, c.Event.State)
			require.Equal(t, written, c.Job.AcceptedAt)
			require.LessOrEqual(t, len(c.Job.Address), 4096)
			require.LessOrEqual(t, len(c.Job.Recipient), 4096)
			for _, s := range []string{c.Event.Tenant, c.Event.Reference, c.Job.RecipientType} {
				require.LessOrEqual(t, len(s), 255)
			}
			encoded, err := json.Marshal(c)
			require.NoError(t, err)
			require.NotContains(t, string(encoded), `\u0000`)
			require.Less(t, len(encoded), 12<<10)
			again, _ := reading.Read(jobRecord(value))
			require.Equal(t, c.Event.NotificationID, again.Event.NotificationID, "whoever reads it, and whenever")
		})
	}
}

func requireID(t *testing.T, id string) {
	t.Helper()
	_, ok := notify.ParseID(id)
	require.True(t, ok, id)
}

func TestWhatIsNoEventIsCountedAndSkipped(t *testing.T) {
	read := func(value string) (Change, kind) {
		return reading.Read(&kafka.Record{Topic: events, Timestamp: written, Value: []byte(value)})
	}
	c, k := read(event(3))
	require.Equal(t, kindEvent, k)
	require.Nil(t, c.Job)
	require.Equal(t, notify.StateSent, c.Event.State)
	_, k = read("")
	require.Equal(t, kindSkipped, k)
	for name, value := range map[string]string{
		"bytes": "\xff", "array": "[]", "no ids": "{}", "wrong kind": `{"run":"x"}`,
		"no id":       strings.Replace(event(3), `"notification_id":"`, `"notification_id":"x`, 1),
		"no event id": strings.Replace(event(3), `"event_id":"`, `"event_id":"x`, 1),
		"no state":    strings.Replace(event(3), `"state":"sent"`, `"state":""`, 1),
		"no time":     strings.Replace(event(3), `"at":"1970-`, `"at":"0001-`, 1),
		"step":        strings.Replace(event(3), `"step":0`, `"step":99999999999`, 1),
		"run":         strings.Replace(event(3), `"run":0`, `"run":-1`, 1),
		"huge":        strings.Replace(event(3), `"tenant":"`, `"tenant":"`+strings.Repeat("x", 300<<10), 1),
	} {
		require.NotEqual(t, event(3), value, name)
		_, k := read(value)
		require.Equal(t, kindUnreadable, k, name)
	}
	c, k = read(strings.Replace(event(3), `"tenant":"default"`, `"tenant":"\u0000\ud800`+strings.Repeat("é", 1000)+`"`, 1))
	require.Equal(t, kindEvent, k)
	require.LessOrEqual(t, len(c.Event.Tenant), 255)
	require.NotContains(t, c.Event.Tenant, "\x00")
	require.True(t, utf8.ValidString(c.Event.Tenant))
}

// A notification has one fingerprint, whichever way it came.
func TestReading_FingerprintOfAJob(t *testing.T) {
	const sms = `{"channel":"sms","recipient":"+14155550100","payload":{"body":"Your code is 123456"}`
	at := time.Date(2026, 3, 5, 5, 6, 6, 0, time.UTC)
	n := &notify.Notification{Channel: notify.ChannelSMS, Recipient: "+14155550100", Payload: []byte(`{"body":"Your code is 123456"}`)}
	submitted, err := notify.ContentOf(n)
	require.NoError(t, err)
	n.ExpiresAt = &at
	expiring, err := notify.ContentOf(n)
	require.NoError(t, err)
	const expires = `,"expires_at":"2026-03-05T05:06:06Z"`
	for name, c := range map[string]struct {
		value    string
		headers  []string
		want     notify.Fingerprint
		noExpiry bool
	}{
		"of a direct producer":       {value: sms + `}`, want: submitted.Exact},
		"another spelling":           {value: strings.Replace(sms, `"channel":"sms",`, `"lane":"urgent","tenant":"default",`, 1) + `}`, want: submitted.Exact},
		"with an expiry":             {value: sms + expires + `}`, want: expiring.Exact},
		"of the API, with its id":    {value: sms + expires + `}`, headers: []string{"ls-accepted-at", "2026-03-04T05:06:06Z"}, want: submitted.Exact, noExpiry: true},
		"of the API, with an own id": {value: sms + expires + `}`, headers: []string{"ls-accepted-at", "2026-03-04T05:06:06Z", "ls-fingerprint", submitted.Exact.String()}, want: submitted.Exact},
		"with a bad header":          {value: sms + `}`, headers: []string{"ls-fingerprint", "0000000000000000"}, want: submitted.Exact},
		"with faults":                {value: sms + `,"metadata":7}`},
		"no JSON":                    {value: "{"},
	} {
		t.Run(name, func(t *testing.T) {
			change, _ := reading.Read(jobRecord(c.value, c.headers...))
			require.Equal(t, c.want, change.Job.Fingerprint)
			require.Equal(t, c.noExpiry, change.Job.NoExpiry)
		})
	}
}
