package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// jobAt is the job of a notification, from a record at an offset.
func jobAt(id string, offset int64, payload string) status.Change {
	c := accepted(id, noon.Add(time.Duration(offset)*time.Second))
	c.Place = status.RecordPlace{Log: status.Log{Topic: "email_topic"}, Partition: 3, Offset: offset}
	c.Job.Payload = []byte(payload)
	return c
}

// dropped is the event by which a worker says that it has dropped the job of that record.
func dropped(id string, offset int64) status.Change {
	e := notify.Event{
		NotificationID: id, State: notify.StateQueued, Note: notify.NoteDuplicate, At: noon, Tenant: "default", Channel: notify.ChannelEmail,
		Lane: notify.LaneNormal, Origin: &notify.Origin{Topic: "email_topic", Partition: 3, Offset: offset},
	}
	e.Seal()
	return status.Change{Event: e}
}

// shown gives the fields of the duplicates of a notification, by offset.
func shown(t *testing.T, s *Store, id string) map[int64][]string {
	l, err := s.Get(context.Background(), id)
	require.NoError(t, err)
	require.Equal(t, notify.StateSent, l.State, "a note leaves the state as it is")
	all := map[int64][]string{}
	for _, e := range l.Timeline {
		if e.Note == notify.NoteDuplicate {
			all[e.Origin.Offset] = e.Fields
		}
	}
	return all
}

func TestDifferences_AreNamedWithTheDuplicate(t *testing.T) {
	const first, second = `{"subject":"Hi","text":"code 482913"}`, `{"text":"code 111111","subject":"Hi"}`
	for name, batches := range map[string]func(id string) [][]status.Change{
		"in one batch": func(id string) [][]status.Change {
			return [][]status.Change{{jobAt(id, 1, first), jobAt(id, 2, second), dropped(id, 2)}}
		},
		"in several": func(id string) [][]status.Change {
			return [][]status.Change{{jobAt(id, 1, first)}, {jobAt(id, 2, second)}, {dropped(id, 2)}}
		},
		"the event before the job": func(id string) [][]status.Change {
			return [][]status.Change{{dropped(id, 2)}, {jobAt(id, 1, first)}, {jobAt(id, 2, second)}}
		},
		"read again": func(id string) [][]status.Change {
			return [][]status.Change{{jobAt(id, 1, first)}, {jobAt(id, 2, second)}, {jobAt(id, 1, first), jobAt(id, 2, second)}, {dropped(id, 2)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, c Config) {
				s := recording(t, c)
				id := notify.NewID()
				for _, batch := range batches(id) {
					take(t, s, batch...)
				}
				take(t, s, became(id, 0, notify.StateSent, noon), jobAt(id, 3, first), dropped(id, 4))
				require.Equal(t, map[int64][]string{2: {"#/payload/text"}, 4: nil}, shown(t, s, id))
			})
		})
	}
}

func TestDifferences_NothingIsKeptOfWhatIsNotToBeKept(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		id := notify.NewID()
		take(t, s, jobAt(id, 1, ""), jobAt(id, 2, ""), dropped(id, 2), became(id, 0, notify.StateSent, noon))
		require.Equal(t, map[int64][]string{2: nil}, shown(t, s, id), "without payloads none is named")

		id = notify.NewID()
		take(t, s, jobAt(id, 1, `{"a":1}`), jobAt(id, 2, `{"a":2}`), dropped(id, 2), became(id, 0, notify.StateSent, noon))
		require.Len(t, shown(t, s, id)[2], 1)
		_, err := s.Expunge(context.Background(), notify.Expunge{IDs: []string{id}})
		require.NoError(t, err)
		require.Equal(t, map[int64][]string{2: nil}, shown(t, s, id))
		take(t, s, jobAt(id, 2, `{"a":2}`))
		require.Equal(t, map[int64][]string{2: nil}, shown(t, s, id))

		kept := notify.NewID()
		take(t, s, jobAt(kept, 1, `{"a":1}`), jobAt(kept, 2, `{"a":2}`))
		_, err = s.Retain(context.Background(), noon.Add(time.Hour))
		require.NoError(t, err)
		var n int
		require.NoError(t, s.read.QueryRow("SELECT count(*) FROM differences").Scan(&n))
		require.Zero(t, n)
	})
}

func TestDifferences_EachFieldIsNamed(t *testing.T) {
	id := notify.NewID()
	base := func() (status.Change, *status.Job) {
		c := jobAt(id, 1, `{"subject":"Hi","n":1.50,"list":[1,{"x":"secret"}],"deep":{"a/b":{"~":1}}}`)
		return c, c.Job
	}
	at := noon
	for want, change := range map[string]func(c *status.Change, j *status.Job){
		"": func(_ *status.Change, j *status.Job) {
			j.Payload = []byte(`{"n":15e-1,"deep":{"a/b":{"~":1.0}},"list":[1,{"x":"\u0073ecret"}],"subject":"Hi"}`)
			j.ExpiresAt, j.AcceptedAt = nil, noon.Add(time.Hour) // the API's own
		},
		"#/tenant":            func(c *status.Change, _ *status.Job) { c.Event.Tenant = "shop" },
		"#/channel":           func(c *status.Change, _ *status.Job) { c.Event.Channel = notify.ChannelSMS },
		"#/lane":              func(c *status.Change, _ *status.Job) { c.Event.Lane = notify.LaneBulk },
		"#/recipient":         func(_ *status.Change, j *status.Job) { j.Recipient = "eve@example.com" },
		"#/recipient_type":    func(_ *status.Change, j *status.Job) { j.RecipientType = "topic" },
		"#/reference":         func(c *status.Change, _ *status.Job) { c.Event.Reference = "secret" },
		"#/send_at":           func(_ *status.Change, j *status.Job) { j.SendAt = &at },
		"#/sensitive":         func(_ *status.Change, j *status.Job) { j.Sensitive = true },
		"#/metadata/shop":     func(_ *status.Change, j *status.Job) { j.Metadata = map[string]string{"shop": "secret"} },
		"#/metadata/a~1b":     func(_ *status.Change, j *status.Job) { j.Metadata = map[string]string{"shop": "1", "a/b": "secret"} },
		"#/payload/n":         func(_ *status.Change, j *status.Job) { replace(j, "1.50", "1.51") },
		"#/payload/list":      func(_ *status.Change, j *status.Job) { replace(j, "[1,", "[1,1,") },
		"#/payload/list/0":    func(_ *status.Change, j *status.Job) { replace(j, "[1,", "[null,") },
		"#/payload/list/1/x":  func(_ *status.Change, j *status.Job) { replace(j, "secret", "other") },
		"#/payload/list/1":    func(_ *status.Change, j *status.Job) { replace(j, `{"x":"secret"}`, "7") },
		"#/payload/deep/a~1b": func(_ *status.Change, j *status.Job) { replace(j, `{"~":1}`, "[]") },
		"#/payload/deep/a~1b/~0": func(_ *status.Change, j *status.Job) {
			replace(j, `{"~":1}`, `{"~":{}}`)
		},
		"#/payload": func(_ *status.Change, j *status.Job) { j.Payload = []byte("{") },
	} {
		a, _ := base()
		b, j := base()
		change(&b, j)
		var fields []string
		if want != "" {
			fields = []string{want}
		}
		seen := func(c *status.Change) *seenJob { return &seenJob{originOf(c), string(c.Job.Payload)} }
		require.Equal(t, fields, seen(&a).differences(seen(&b)))
		require.Equal(t, fields, seen(&b).differences(seen(&a)))
	}
}

func replace(j *status.Job, was, is string) {
	j.Payload = []byte(strings.Replace(string(j.Payload), was, is, 1))
}

func TestDifferences_AreBounded(t *testing.T) {
	long := strings.Repeat("é", 1000)
	var a, b []string
	for range 100 {
		a, b = append(a, `"1"`), append(b, `"2"`)
	}
	one := &seenJob{&origin{}, `{"` + long + `":[` + strings.Join(a, ",") + `]}`}
	two := &seenJob{&origin{}, `{"` + long + `":[` + strings.Join(b, ",") + `]}`}
	fields := one.differences(two)
	require.Len(t, fields, mostFields)
	for _, f := range fields {
		require.LessOrEqual(t, len(f), longest)
	}
}
