package worker

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	someID    = "018f4e9a-0000-7000-8000-00000000abcd"
	recipient = "bob@customer.example"
	mail      = `{"id":"` + someID + `","channel":"email","recipient":"` + recipient + `","payload":{"subject":"Hi","text":"secret words"}}`
)

// answers is a gateway that says what its script says, the last line for ever.
type answers struct {
	script []error // nil: accepted
	got    []*notify.Message
}

func (s *answers) Send(_ context.Context, m *notify.Message) (notify.Receipt, error) {
	said := s.script[min(len(s.got), len(s.script)-1)]
	s.got = append(s.got, m)
	if said != nil {
		return notify.Receipt{}, said
	}
	return notify.Receipt{ProviderID: "p-1"}, nil
}

func (s *answers) Check(context.Context) error { return nil }
func (s *answers) Close() error                { return nil }

// sendFunc is a gateway in a function.
type sendFunc func(context.Context, *notify.Message) (notify.Receipt, error)

func (f sendFunc) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return f(ctx, m)
}
func (f sendFunc) Check(context.Context) error { return nil }
func (f sendFunc) Close() error                { return nil }

func desk() dispatcher.Desk {
	return dispatcher.Desk{Topics: dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}}
}

// worker gives an e-mail worker on gateway "mail"; change may be nil.
func worker(s gateway.Sender, change func(*Config)) *Worker {
	c := Config{
		Channel: notify.ChannelEmail, Gateway: "mail", Sender: s, Desk: desk(),
		Rules: validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true}},
	}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func record(value string, headers ...string) *kafka.Record {
	r := &kafka.Record{
		Cluster: "c", Topic: "email_topic", Partition: 3, Offset: 42, Timestamp: time.Now(), Key: []byte(recipient), Value: []byte(value),
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

// finish calls w until r's job has ended, as a runner would. In a synctest bubble only.
func finish(t require.TestingT, w *Worker, r *kafka.Record) (notify.Event, kafka.Result) {
	a := &kafka.Attempt{Record: r}
	for range 100_000 {
		res := w.Handle(context.Background(), a)
		if res.Again.IsZero() {
			return eventOf(t, res), res
		}
		a.Carry = res.Carry
		time.Sleep(time.Until(res.Again))
	}
	require.Fail(t, "the job does not end")
	return notify.Event{}, kafka.Result{}
}

func eventOf(t require.TestingT, res kafka.Result) notify.Event {
	require.NotNil(t, res.Outcome)
	var e notify.Event
	require.NoError(t, json.Unmarshal(res.Outcome.Value, &e))
	require.Equal(t, e.NotificationID, res.Outcome.ID)
	require.True(t, e.Final)
	return e
}

func verdicts(e notify.Event) string {
	all := make([]string, len(e.Tries))
	for i, t := range e.Tries {
		all[i] = string(t.Verdict)
	}
	return strings.Join(all, " ")
}

func deadReason(res kafka.Result) string {
	for _, m := range res.Follow {
		r := kafka.Record{Headers: m.Headers}
		reason, _ := r.Header(notify.HeaderDeadReason)
		return reason
	}
	return ""
}

// golden compares an event with testdata/name.
func golden(t *testing.T, name string, e notify.Event) {
	t.Helper()
	got, err := json.MarshalIndent(e, "", "  ")
	require.NoError(t, err)
	got = append(got, '\n')
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}
