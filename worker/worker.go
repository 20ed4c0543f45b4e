package worker

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Desk writes what a job leaves behind when it leaves its place. Its methods are pure and may be called at once from many
// goroutines. The worker gives it events with a state and everything else that it knows.
type Desk interface {
	Sent(r *kafka.Record, e notify.Event) kafka.Result
	End(r *kafka.Record, e notify.Event) kafka.Result
	Bury(r *kafka.Record, e notify.Event, reason string) kafka.Result
	// Later has no result when the job is too large for where it would wait: then it ends.
	Later(r *kafka.Record, e notify.Event, at time.Time) (res kafka.Result, fits bool)
}

// Control is what operators and callers have told all workers. Its methods answer at once and may be called from many
// goroutines.
type Control interface {
	Paused(ch notify.Channel, lane notify.Lane) bool
	PausedGateway(name string) bool
	Cancelled(id string) bool
	Settled(id string, run int) bool
	Suppressed(tenant string, ch notify.Channel, address string) bool
	// SenderBlocked reports whether the recipient gets no texts of that sender.
	SenderBlocked(tenant string, ch notify.Channel, address, sender string) bool
	// AsOf is the time up to which everything that was acknowledged on the topic is known here.
	AsOf() time.Time
}

// Ordering is what a channel promises of jobs with the same key.
type Ordering string

// The orderings.
const (
	OrderKey    Ordering = "key"    // one after the other, until one is put off: later ones overtake it
	OrderNone   Ordering = "none"   // at once
	OrderStrict Ordering = "strict" // a failed one is tried again in its place, and those behind it wait
)

// Config is what a [Worker] works with.
type Config struct {
	Channel            notify.Channel
	Lane               notify.Lane // normal
	Route              *Route
	Desk               Desk
	Control            Control // nil: nobody has told anything
	Rules              validate.Rules
	Retries            Retries // as DefaultRetries says of the lane
	Ordering           Ordering
	StrictWait         time.Duration                  // how long a job may keep its key waiting where the order is strict; 60s
	DeadLetterRejected bool                           // also keep what was rejected because of its recipient
	ExpiresAfter       time.Duration                  // how long after it was accepted a job lives that does not say so itself; 24h
	FingerprintKey     func() (key [16]byte, ok bool) // that of the fingerprints on the ledger; nil: none is written
	// Suppress returns the records that suppress a recipient of whom a gateway says that they are gone, or that they have opted out
	// of the texts of sender; nil suppresses nobody.
	Suppress   func(m *notify.Message, sender, gateway string, f *notify.Failure) []kafka.Message
	Memory     *Memory     // of finished jobs; nil: one of its own
	Metrics    *Metrics    // nil counts nothing
	Log        *zap.Logger // nil logs nothing
	Recipients string      // one of notify's Recipients constants; masked
}

// Worker is the handler of the jobs of one lane of a channel. Its methods may be called at once from many goroutines.
type Worker struct {
	cfg    Config
	log    *zap.Logger
	counts counts
	gate   *gate
	seen   *Memory
	parts  partsRead

	sealing atomic.Pointer[sealer]
}

// New gives a worker that needs no closing; the senders stay the caller's.
func New(cfg Config) *Worker {
	if cfg.Lane == "" {
		cfg.Lane = notify.LaneNormal
	}
	if cfg.Retries == (Retries{}) {
		cfg.Retries = DefaultRetries(cfg.Lane)
	}
	if cfg.ExpiresAfter == 0 {
		cfg.ExpiresAfter = 24 * time.Hour
	}
	if cfg.StrictWait == 0 {
		cfg.StrictWait = time.Minute
	}
	if cfg.Memory == nil {
		cfg.Memory = NewMemory(0)
	}
	if cfg.Control == nil {
		cfg.Control = silence{}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	w := &Worker{
		cfg:    cfg,
		log:    cfg.Log.With(zap.String("channel", string(cfg.Channel)), zap.String("lane", string(cfg.Lane))),
		counts: cfg.Metrics.of(cfg.Channel, cfg.Lane, cfg.Route),
		gate:   &gate{paused: map[partition]claim{}},
		seen:   cfg.Memory,
	}
	w.sealing.Store(ownSealer())
	return w
}

// Identify gives the id of r's notification, whether r can be delivered or not.
func (w *Worker) Identify(r *kafka.Record) string {
	n, _, _ := validate.Decode(r.Value, false)
	return identity(n, r)
}

// Learn takes in a record of the ledger: [kafka.RunnerConfig.OnLedger].
func (w *Worker) Learn(topic string, n int32, r *kafka.Record) {
	w.parts.learn(partition{topic, n}, r)
	if kind, _ := r.Header(kafka.HeaderKind); kind != kafka.KindOutcome {
		return
	}
	id, _ := r.Header(kafka.HeaderJobID)
	s := stage{int32(number(r, notify.HeaderRun)), int32(number(r, notify.HeaderStep)), ends(r.Value)}
	w.seen.learn(partition{topic, n}, id, s, readPrint(r))
}

// ends reports whether the run is over for an engine: a receipt that is still awaited changes nothing about that. Within a
// text of the event the quotes would have backslashes.
func ends(event []byte) bool {
	return bytes.Contains(event, []byte(`"final":true`)) || bytes.Contains(event, []byte(`"state":"sent"`))
}

// TookOver begins a partition anew: [kafka.RunnerConfig.OnTakeOver].
func (w *Worker) TookOver(topic string, n int32, reset bool) {
	w.seen.tookOver(partition{topic, n}, reset)
}

// Assigned makes room in the memory for the partitions that this process has now: [kafka.RunnerConfig.OnAssigned].
func (w *Worker) Assigned(topic string, partitions []int32) {
	w.seen.assigned(topic, partitions)
	w.parts.forget(topic)
}

// Handle makes one attempt at a's job.
func (w *Worker) Handle(ctx context.Context, a *kafka.Attempt) kafka.Result {
	j, again := a.Carry.(*job)
	if !again {
		j = w.read(a.Record)
	}
	a.Carry = j // what is known stays known when this panics
	if !j.entered {
		switch w.seen.enter(at(a.Record), a.Offset, j) {
		case duplicate:
			if w.differs(a.Record, w.seen.print(at(a.Record), j)) {
				return w.dropOther(a, j)
			}
			return w.drop(a, j)
		case twin:
			return kafka.Result{Again: time.Now().Add(twinWait), Carry: j}
		case fresh:
			j.entered = true
		}
	} else {
		w.seen.resume(at(a.Record), j)
	}
	over := false
	defer func() {
		if !over { // also when it panics: then the runner calls it again
			w.seen.rest(at(a.Record), j)
		}
	}()
	res := w.guarded(ctx, a, j)
	over = res.Again.IsZero()
	return res
}

// twinWait is how often a second copy of a job looks whether the first has ended.
const twinWait = 100 * time.Millisecond

func (w *Worker) handle(ctx context.Context, a *kafka.Attempt, j *job) kafka.Result {
	if next := j.next; next != nil {
		j.next = nil
		return next(a)
	}
	if res, over := w.settle(ctx, a, j); over {
		return res
	}
	w.omitSuppressed(j)
	return w.attempt(ctx, a, j)
}

// silence is a control topic on which nobody has said anything.
type silence struct{}

func (silence) Paused(notify.Channel, notify.Lane) bool        { return false }
func (silence) PausedGateway(string) bool                      { return false }
func (silence) Cancelled(string) bool                          { return false }
func (silence) Settled(string, int) bool                       { return false }
func (silence) Suppressed(string, notify.Channel, string) bool { return false }

func (silence) SenderBlocked(string, notify.Channel, string, string) bool { return false }
func (silence) AsOf() time.Time                                           { return time.Now() }
