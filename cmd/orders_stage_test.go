package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// stage is a deployment for texts in memory: the topics, a worker process that is killed and started again, processes of the API, the
// status store, and Twilio. What works on them is the real worker, mover, desk of receipts and keeper of early receipts. The stage
// plays their runners and the brokers. It lives in a bubble of testing/synctest: time passes while everybody waits.
type stage struct {
	seed  uint64
	until time.Time // from then on nothing new happens to the deployment
	desk  dispatcher.Desk
	all   sync.WaitGroup // of everything that runs
	ends  context.Context
	stop  context.CancelFunc

	mu      sync.Mutex
	lane    []*staged
	tiers   []*kafka.Record
	letters []*kafka.Record
	ledger  []notify.Event // in the order in which they landed
	job     []*staged      // of the same index: whose outcome it is; nil for a receipt's event
	control []*kafka.Record
	read    int // of the ledger, by the status store
	proc    *stagedWorker
	twilio  *stagedTwilio
	acked   map[string]bool // "id/run" of deliveries that were answered with 2xx
	results map[string]int
	faults  []string
}

// staged is a record of the lane.
type staged struct {
	*kafka.Record
	id    string
	by    int // the process that has it in hand; 0 for none
	done  bool
	begun bool          // an earlier process may have begun it
	left  *kafka.Record // a follow-on that landed without its outcome
}

// random is the randomness of one actor. Actors do not share it, so that who draws first changes nothing.
func (s *stage) random(actor string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(actor))
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

// passes waits for a time between zero and most, in nanoseconds: hardly ever do two things happen at once.
func passes(r *rand.Rand, most time.Duration) { time.Sleep(time.Duration(r.Int64N(int64(most)) + 1)) }

// busy is d, or longer once nothing new happens: what is left takes minutes.
func (s *stage) busy(d time.Duration) time.Duration {
	if time.Now().After(s.until.Add(30 * time.Second)) {
		return 10 * d
	}
	return d
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func (s *stage) wrongLocked(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// publish plays the way of a record to the brokers and of its acknowledgement back. A process that is killed meanwhile does not
// know whether the record has landed.
func (s *stage) publish(ctx context.Context, r *rand.Rand, land func()) error {
	passes(r, 80*time.Millisecond)
	if ctx.Err() != nil && chance(r, 50) {
		return ctx.Err()
	}
	land()
	passes(r, 80*time.Millisecond)
	return ctx.Err()
}

// landOnLane appends a record to the lane. The lock is held.
func (s *stage) landOnLane(m kafka.Message) {
	rec := &kafka.Record{
		Cluster: "c", Topic: m.Topic, Offset: int64(len(s.lane)), Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers,
	}
	var n notify.Notification
	_ = json.Unmarshal(m.Value, &n) // the stage's own
	s.lane = append(s.lane, &staged{Record: rec, id: n.ID})
}

// land appends what a job leaves behind, or a record for the control topic. from is the job, nil for none.
func (s *stage) land(from *staged, m kafka.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := &kafka.Record{Topic: m.Topic, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	switch {
	case m.Topic == s.desk.Topics.Control():
		s.control = append(s.control, rec)
	case m.Topic == s.desk.Topics.Status():
		var e notify.Event
		if err := json.Unmarshal(m.Value, &e); err != nil {
			s.wrongLocked("an event that is none: %v", err)
		}
		s.ledger, s.job = append(s.ledger, e), append(s.job, from)
	case strings.HasSuffix(m.Topic, ".dlq"):
		s.letters = append(s.letters, rec)
		from.left = rec
	case strings.Contains(m.Topic, ".delay."):
		s.tiers = append(s.tiers, rec)
		from.left = rec
		s.all.Go(func() { s.move(rec) })
	default:
		s.landOnLane(m)
	}
}

// move plays the movers of the delay ladder for one record. Once in a while one is killed after it has moved the record, and the next
// one moves it again.
func (s *stage) move(rec *kafka.Record) {
	r := s.random(fmt.Sprintf("mover %s %s", rec.Topic, rec.Key))
	mover := &dispatcher.Mover{Topics: s.desk.Topics, Channel: notify.ChannelSMS}
	for {
		res := mover.Handle(s.ends, &kafka.Attempt{Record: rec})
		if res.Again.IsZero() {
			for range 1 + r.IntN(10)/9 {
				passes(r, 50*time.Millisecond)
				s.land(&staged{}, res.Follow[0])
			}
			return
		}
		time.Sleep(time.Until(res.Again))
	}
}

// Publish is that of a publisher, for the API.
func (s *stage) Publish(ctx context.Context, m kafka.Message) (int32, int64, error) {
	r := s.random(fmt.Sprintf("publish %s %s", m.Topic, m.Key))
	done := make(chan error, 1)
	s.all.Go(func() { done <- s.publish(ctx, r, func() { s.land(nil, m) }) })
	select {
	case <-ctx.Done():
		return 0, -1, ctx.Err()
	case err := <-done:
		return 0, 0, err
	}
}

// records plays the process that fills the status store: it reads what has landed, late.
func (s *stage) records() {
	r := s.random("recorder")
	for s.ends.Err() == nil {
		passes(r, s.busy(300*time.Millisecond))
		if chance(r, 2) {
			passes(r, 4*time.Second)
		}
		s.mu.Lock()
		s.read = len(s.ledger)
		s.mu.Unlock()
	}
}

// Get is that of the status store. It knows all that was accepted, and of the events what it has read.
func (s *stage) Get(_ context.Context, id string) (*notify.Life, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if life := s.lifeLocked(id, s.read); life != nil {
		return life, nil
	}
	return nil, notify.ErrUnknownNotification
}

// lifeLocked folds the first n events of the ledger, as docs/events.md says; nil without a record of the id.
func (s *stage) lifeLocked(id string, n int) *notify.Life {
	var timeline []notify.Event
	for _, e := range s.lane {
		if e.id == id {
			q := notify.Event{NotificationID: id, Run: number32(e.Record, notify.HeaderRun), State: notify.StateQueued, At: e.Timestamp, Lane: notify.LaneUrgent}
			q.Tenant, q.Channel = notify.DefaultTenant, notify.ChannelSMS
			q.Seal()
			timeline = append(timeline, q)
		}
	}
	if len(timeline) == 0 {
		return nil
	}
	for _, e := range s.ledger[:n] {
		if e.NotificationID == id {
			timeline = append(timeline, e)
		}
	}
	e := slices.MaxFunc(timeline, func(a, b notify.Event) int {
		switch pa, pb := status.Place(&a), status.Place(&b); {
		case pa != pb:
			return int(min(max(pa-pb, -1), 1))
		case !a.At.Equal(b.At):
			return b.At.Compare(a.At)
		default:
			return strings.Compare(b.EventID, a.EventID)
		}
	})
	return &notify.Life{
		ID: id, Tenant: e.Tenant, Channel: e.Channel, Lane: e.Lane, Recipient: "+14155550101", State: e.State, Final: e.Final, Run: e.Run, Step: e.Step,
		Attempt: e.Attempt, Gateway: e.Gateway, Code: e.Code, Reason: e.Reason, ProviderID: e.ProviderID, UpdatedAt: e.At, NextAt: e.NextAt, Timeline: timeline,
	}
}

// FindByProviderID is that of the status store.
func (s *stage) FindByProviderID(_ context.Context, gateway, providerID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ledger[:s.read] {
		if e.Gateway == gateway && e.ProviderID == providerID {
			return e.NotificationID, nil
		}
	}
	return "", notify.ErrUnknownNotification
}

// api makes the desk of receipts of one process, and the keeper of early receipts. The keeper's process outlives none: every other
// process reads the control topic from its start.
func (s *stage) api(readers map[string]receipts.Reader) (*receipts.Handler, *receipts.Early) {
	on := settler{s.desk.Topics.Control(), s}
	desk := &receipts.Handler{
		Readers: readers, Status: s, Publisher: teller{s.desk, s}, Settler: on,
		Delivers: func(gateway string, ch notify.Channel) bool { return gateway == "texts" && ch == notify.ChannelSMS },
	}
	early := receipts.NewEarly(receipts.EarlyConfig{
		Log: keptReceipts{on}, Leads: func() bool { return true }, Logger: quietly(), KeepFor: control.EarlyFor, MaxIDBytes: control.ReceiptIDBytes,
		Apply: func(ctx context.Context, k receipts.KeptReceipt) error { return desk.Apply(ctx, k.Gateway, k.Report) },
	})
	desk.Keeper = early
	return desk, early
}

// hears plays the reader of the control topic in a process: it applies what has landed, and says up to when it has.
func (s *stage) hears(ctx context.Context, r *rand.Rand, from int, apply func(*kafka.Record), asOf func(time.Time)) {
	for ctx.Err() == nil {
		asked := time.Now()
		passes(r, 60*time.Millisecond)
		s.mu.Lock()
		landed := slices.Clone(s.control[from:])
		s.mu.Unlock()
		passes(r, 250*time.Millisecond)
		if chance(r, 10) { // the process is starved, or Kafka is away
			passes(r, 5*time.Second)
		}
		for _, rec := range landed {
			apply(rec)
		}
		from += len(landed)
		asOf(asked)
	}
}

func applyTo(state *control.State) func(*kafka.Record) {
	return func(rec *kafka.Record) { state.Apply(rec.Key, rec.Value, rec.Timestamp) }
}
