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

// mailWith returns the mail with more fields in front.
func mailWith(fields string) string { return strings.Replace(mail, "{", "{"+fields+",", 1) }

// scriptedGateway is a gateway that answers by its script and then repeats the last answer.
type scriptedGateway struct {
	script   []error // nil: accepted
	received []*notify.Message
}

func scripted(script ...error) *scriptedGateway { return &scriptedGateway{script: script} }

func (s *scriptedGateway) Send(_ context.Context, m *notify.Message) (notify.Receipt, error) {
	said := s.script[min(len(s.received), len(s.script)-1)]
	s.received = append(s.received, m)
	if said != nil {
		return notify.Receipt{}, said
	}
	return notify.Receipt{ProviderID: "p-1"}, nil
}

func (s *scriptedGateway) Check(context.Context) error { return nil }
func (s *scriptedGateway) Close() error                { return nil }

// sendFunc is a gateway made of a function.
type sendFunc func(context.Context, *notify.Message) (notify.Receipt, error)

func (f sendFunc) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return f(ctx, m)
}
func (f sendFunc) Check(context.Context) error { return nil }
func (f sendFunc) Close() error                { return nil }

// fakeControl is a control topic with these entries. Pauses end at their time.
type fakeControl struct {
	paused     time.Time
	gateways   map[string]time.Time
	cancelled  map[string]bool
	settled    map[string]int  // to its run
	suppressed map[string]bool // addresses
	blocked    map[string]bool // senders
	stale      time.Time       // until then nothing is known of the control topic
}

func (c *fakeControl) Paused(notify.Channel, notify.Lane) bool { return time.Now().Before(c.paused) }

func (c *fakeControl) PausedGateway(name string) bool { return time.Now().Before(c.gateways[name]) }
func (c *fakeControl) Cancelled(id string) bool       { return c.cancelled[id] }
func (c *fakeControl) Settled(id string, run int) bool {
	settled, ok := c.settled[id]
	return ok && settled == run
}

func (c *fakeControl) AsOf() time.Time {
	if time.Now().Before(c.stale) {
		return time.Time{}
	}
	return time.Now()
}

func (c *fakeControl) Suppressed(_ string, _ notify.Channel, a string) bool { return c.suppressed[a] }

func (c *fakeControl) SenderBlocked(_ string, _ notify.Channel, _, sender string) bool {
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

// patientBreaker returns a breaker that stays closed unless the gateway is unavailable.
func patientBreaker() *gateway.Breaker {
	return gateway.NewBreaker(gateway.BreakerConfig{Failures: 1 << 20})
}

// newWorker returns an e-mail worker with gateway "mail"; change may be nil.
func newWorker(s gateway.Sender, change func(*Config)) *Worker {
	c := Config{
		Channel: notify.ChannelEmail, Route: &Route{Outlets: []*Outlet{outlet("mail", s)}}, Records: desk(),
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

func newAttempt(r *kafka.Record) *kafka.Attempt { return &kafka.Attempt{Record: r} }

// handleToEnd calls w until the record has ended in this place, as a runner does. In a synctest bubble only.
func handleToEnd(t require.TestingT, w *Worker, a *kafka.Attempt) (notify.Event, kafka.Result) {
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

// runToEnd also plays the ladder. It returns the events of all steps until the job has ended, and the last result.
func runToEnd(t require.TestingT, w *Worker, r *kafka.Record) (all []notify.Event, last kafka.Result) {
	for range 1000 {
		e, res := handleToEnd(t, w, newAttempt(r))
		all = append(all, e)
		if e.State != notify.StateRetrying && e.State != notify.StateScheduled {
			return all, res
		}
		r = nextRecord(t, r, res)
		time.Sleep(time.Until(dispatcher.NotBefore(r)))
	}
	require.Fail(t, "the job does not end")
	return nil, kafka.Result{}
}

// nextRecord returns the record of a job's next step, back on its lane.
func nextRecord(t require.TestingT, r *kafka.Record, res kafka.Result) *kafka.Record {
	require.Len(t, res.Follow, 1)
	m := res.Follow[0]
	require.Contains(t, m.Topic, ".delay.")
	return &kafka.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset + 1, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers,
	}
}

// eventOf acknowledges a result and returns its event.
func eventOf(t require.TestingT, res kafka.Result) notify.Event {
	require.NotNil(t, res.Outcome)
	res.Ended(res.Outcome)
	var e notify.Event
	require.NoError(t, json.Unmarshal(res.Outcome.Value, &e))
	require.Equal(t, e.NotificationID, res.Outcome.ID)
	require.Equal(t, e.State.Final(), e.Final)
	return e
}

// verdictsOf returns the verdicts of the tries in all events.
func verdictsOf(all ...notify.Event) string {
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

// deadReason returns the reason of the dead letter in res, or an empty text.
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
