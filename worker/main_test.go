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
	push      = `{"id":"` + someID + `","channel":"push","recipient":"token","payload":{"title":"Hi"}}`
)

var (
	transient   = &notify.Failure{Verdict: notify.Transient, Code: "451 4.3.0", Reason: "try again later"}
	ambiguous   = &notify.Failure{Verdict: notify.Ambiguous, Reason: "no answer after the message was written"}
	permanent   = &notify.Failure{Verdict: notify.Permanent, Code: "554 5.7.1", Reason: "policy"}
	gone        = &notify.Failure{Verdict: notify.Permanent, Code: "550 5.1.1", Reason: notify.ReasonRecipientGone, Gone: true}
	throttled   = &notify.Failure{Verdict: notify.Throttled, Code: "429", After: 20 * time.Second}
	unavailable = &notify.Failure{Verdict: notify.Unavailable, Code: "535", Reason: "authentication refused", Remedy: "correct the password"}
)

// with gives the mail with more fields in front of it.
func with(fields string) string { return strings.Replace(mail, "{", "{"+fields+",", 1) }

// answers is a gateway that says what its script says, the last line for ever.
type answers struct {
	script []error // nil: accepted
	got    []*notify.Message
}

func says(script ...error) *answers { return &answers{script: script} }

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

// told is what operators have said. Pauses end at a time.
type told struct {
	paused     time.Time
	gateways   map[string]time.Time
	cancelled  map[string]bool
	settled    map[string]int  // to its run
	suppressed map[string]bool // addresses
	blocked    map[string]bool // senders
	stale      time.Time       // until then nothing is known of the control topic
}

func (c *told) Paused(notify.Channel, notify.Lane) bool { return time.Now().Before(c.paused) }

func (c *told) PausedGateway(name string) bool { return time.Now().Before(c.gateways[name]) }
func (c *told) Cancelled(id string) bool       { return c.cancelled[id] }
func (c *told) Settled(id string, run int) bool {
	settled, ok := c.settled[id]
	return ok && settled == run
}

func (c *told) AsOf() time.Time {
	if time.Now().Before(c.stale) {
		return time.Time{}
	}
	return time.Now()
}

func (c *told) Suppressed(_ string, _ notify.Channel, a string) bool { return c.suppressed[a] }

func (c *told) SenderBlocked(_ string, _ notify.Channel, _, sender string) bool {
	return c.blocked[sender]
}

func desk() dispatcher.Desk {
	return dispatcher.Desk{Topics: dispatcher.Topics{Jobs: map[notify.Channel]string{
		notify.ChannelEmail: "email_topic", notify.ChannelPush: "push_topic", notify.ChannelSMS: "sms_topic",
	}}}
}

func outlet(name string, s gateway.Sender) *Outlet {
	return &Outlet{Name: name, Sender: s, Breaker: gateway.NewBreaker(gateway.BreakerConfig{})}
}

// patientBreaker stays closed for as long as a gateway does not refuse us.
func patientBreaker() *gateway.Breaker {
	return gateway.NewBreaker(gateway.BreakerConfig{Failures: 1 << 20})
}

// worker gives an e-mail worker on gateway "mail"; change may be nil.
func worker(s gateway.Sender, change func(*Config)) *Worker {
	c := Config{
		Channel: notify.ChannelEmail, Route: &Route{Outlets: []*Outlet{outlet("mail", s)}}, Desk: desk(),
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

func attempt(r *kafka.Record) *kafka.Attempt { return &kafka.Attempt{Record: r} }

// finish calls w until r has left its place, as a runner would. In a synctest bubble only.
func finish(t require.TestingT, w *Worker, a *kafka.Attempt) (notify.Event, kafka.Result) {
	for range 100_000 {
		res := w.Handle(context.Background(), a)
		if res.Again.IsZero() {
			return eventOf(t, res), res
		}
		a.Carry = res.Carry
		time.Sleep(time.Until(res.Again))
	}
	require.Fail(t, "the job does not leave its place")
	return notify.Event{}, kafka.Result{}
}

// live plays the ladder too: it gives the events of all steps until the job has ended, and what it left behind at last.
func live(t require.TestingT, w *Worker, r *kafka.Record) (all []notify.Event, last kafka.Result) {
	for range 1000 {
		e, res := finish(t, w, attempt(r))
		all = append(all, e)
		if e.State != notify.StateRetrying && e.State != notify.StateScheduled {
			return all, res
		}
		r = next(t, r, res)
		time.Sleep(time.Until(dispatcher.NotBefore(r)))
	}
	require.Fail(t, "the job does not end")
	return nil, kafka.Result{}
}

// next is the record of a job's next step, back on its lane.
func next(t require.TestingT, r *kafka.Record, res kafka.Result) *kafka.Record {
	require.Len(t, res.Follow, 1)
	m := res.Follow[0]
	require.Contains(t, m.Topic, ".delay.")
	return &kafka.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset + 1, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers,
	}
}

// eventOf acknowledges what a job leaves behind, and gives its event.
func eventOf(t require.TestingT, res kafka.Result) notify.Event {
	require.NotNil(t, res.Outcome)
	res.Ended(res.Outcome)
	var e notify.Event
	require.NoError(t, json.Unmarshal(res.Outcome.Value, &e))
	require.Equal(t, e.NotificationID, res.Outcome.ID)
	require.Equal(t, e.State.Final(), e.Final)
	return e
}

// tries are the verdicts of all events.
func tries(all ...notify.Event) string {
	var said []string
	for _, e := range all {
		for _, t := range e.Tries {
			said = append(said, string(t.Verdict))
		}
	}
	return strings.Join(said, " ")
}

func headerOf(m kafka.Message, key string) string {
	value, _ := (&kafka.Record{Headers: m.Headers}).Header(key)
	return value
}

// deadReason is that of the dead letter in res; empty without one.
func deadReason(res kafka.Result) string {
	for _, m := range res.Follow {
		if strings.HasSuffix(m.Topic, ".dlq") {
			return headerOf(m, notify.HeaderDeadReason)
		}
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
