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

// Records builds the records that a job leaves behind. Its methods only compute: they do not block, and concurrent calls are
// safe. The event has its state and all other fields that the worker knows.
type Records interface {
	Sent(r *kafka.Record, e notify.Event) kafka.Result
	End(r *kafka.Record, e notify.Event) kafka.Result
	Bury(r *kafka.Record, e notify.Event, reason string) kafka.Result
	// Later returns the next step of the job, on the delay ladder. Fits is false if the job is too large for its delay topic.
	Later(r *kafka.Record, e notify.Event, at time.Time) (res kafka.Result, fits bool)
}

// Control is the state of the control topic: pauses, cancellations, receipts and suppressions. Its methods do not block, and
// concurrent calls are safe.
type Control interface {
	Paused(ch notify.Channel, lane notify.Lane) bool
	PausedGateway(name string) bool
	Cancelled(id string) bool
	// Settled reports whether a receipt has ended that run of the notification.
	Settled(id string, run int) bool
	Suppressed(tenant string, ch notify.Channel, address string) bool
	// SenderBlocked reports whether the recipient has opted out of the texts of that sender.
	SenderBlocked(tenant string, ch notify.Channel, address, sender string) bool
	// AsOf returns the time up to which this state has all entries that were acknowledged on the topic.
	AsOf() time.Time
}

// Ordering is the order in which a channel delivers jobs with the same key.
type Ordering string

// The orderings.
const (
	OrderKey    Ordering = "key"    // one after the other; a job that is retried later is overtaken by later ones
	OrderNone   Ordering = "none"   // concurrently
	OrderStrict Ordering = "strict" // a failed job is retried in place, and the jobs behind it wait
)

// Config is the configuration of a [Worker].
type Config struct {
	Channel            notify.Channel
	Lane               notify.Lane // default: normal
	Route              *Route
	Records            Records
	Control            Control // nil: no entries
	Rules              validate.Rules
	Retries            RetryPolicy // default: DefaultRetryPolicy of the lane
	Ordering           Ordering
	StrictWait         time.Duration                  // longest time for which a job may block its key where the order is strict; 60s
	DeadLetterRejected bool                           // also make a dead letter of a message that was rejected because of its recipient
	ExpiresAfter       time.Duration                  // lifetime, from acceptance, of a job that names none; 24h
	FingerprintKey     func() (key [16]byte, ok bool) // key of the content tags on the ledger; nil: none are written
	// Suppress returns the records that suppress a recipient whom a gateway calls gone, or who has opted out of the texts of sender.
	// Nil suppresses nobody.
	Suppress   func(m *notify.Message, sender, gateway string, f *notify.Failure) []kafka.Message
	Dedup      *Dedup      // duplicate check, shared by the workers of a process; nil: one of its own
	Metrics    *Metrics    // nil counts nothing
	Log        *zap.Logger // nil logs nothing
	Recipients string      // how recipients appear in logs: one of the Recipients constants of notify; default: masked
}

// Worker handles the jobs of one lane of a channel. Concurrent calls are safe.
type Worker struct {
	cfg     Config
	log     *zap.Logger
	metrics workerMetrics
	paused  *pausedPartitions
	dedup   *Dedup
	parts   ledgerParts

	currentTagger atomic.Pointer[tagger]
}

// New returns a worker that needs no Close. The senders belong to the caller.
func New(cfg Config) *Worker {
	if cfg.Lane == "" {
		cfg.Lane = notify.LaneNormal
	}
	if cfg.Retries == (RetryPolicy{}) {
		cfg.Retries = DefaultRetryPolicy(cfg.Lane)
	}
	if cfg.ExpiresAfter == 0 {
		cfg.ExpiresAfter = 24 * time.Hour
	}
	if cfg.StrictWait == 0 {
		cfg.StrictWait = time.Minute
	}
	if cfg.Dedup == nil {
		cfg.Dedup = NewDedup(0)
	}
	if cfg.Control == nil {
		cfg.Control = emptyControl{}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	w := &Worker{
		cfg:     cfg,
		log:     cfg.Log.With(zap.String("channel", string(cfg.Channel)), zap.String("lane", string(cfg.Lane))),
		metrics: cfg.Metrics.of(cfg.Channel, cfg.Lane, cfg.Route),
		paused:  &pausedPartitions{all: map[partition]resumer{}},
		dedup:   cfg.Dedup,
	}
	w.currentTagger.Store(newRandomTagger())
	return w
}

// Identify returns the ID of r's notification, also for a record that cannot be delivered.
func (w *Worker) Identify(r *kafka.Record) string {
	n, _, _ := validate.Decode(r.Value, false)
	return identity(n, r)
}

// OnLedger reads a record of the ledger: [kafka.RunnerConfig.OnLedger].
func (w *Worker) OnLedger(topic string, n int32, r *kafka.Record) {
	w.parts.learn(partition{topic, n}, r)
	if kind, _ := r.Header(kafka.HeaderKind); kind != kafka.KindOutcome {
		return
	}
	id, _ := r.Header(kafka.HeaderJobID)
	s := stage{run: int32(number(r, notify.HeaderRun)), step: int32(number(r, notify.HeaderStep)), final: endsRun(r.Value)}
	w.dedup.learn(partition{topic, n}, id, s, parseTag(r))
}

// endsRun reports whether a worker has nothing more to do for the run after this event. A delivery receipt may still be awaited.
// A quoted text within the event cannot match: its quotes have backslashes.
func endsRun(event []byte) bool {
	return bytes.Contains(event, []byte(`"final":true`)) || bytes.Contains(event, []byte(`"state":"sent"`))
}

// OnTakeOver prepares for a partition that was taken over: [kafka.RunnerConfig.OnTakeOver].
func (w *Worker) OnTakeOver(topic string, n int32, reset bool) {
	w.dedup.onTakeOver(partition{topic, n}, reset)
}

// OnAssigned forgets the partitions that this process no longer has: [kafka.RunnerConfig.OnAssigned].
func (w *Worker) OnAssigned(topic string, partitions []int32) {
	w.dedup.onAssigned(topic, partitions)
	w.parts.forget(topic)
}

// Handle makes one attempt for a's job. It blocks for as long as the gateways take.
func (w *Worker) Handle(ctx context.Context, a *kafka.Attempt) kafka.Result {
	j, again := a.Carry.(*job)
	if !again {
		j = w.parse(a.Record)
	}
	a.Carry = j // the runner keeps the job also when this call panics
	if !j.inFlight {
		switch w.dedup.begin(partitionOf(a.Record), a.Offset, j) {
		case duplicate:
			if w.isConflict(a.Record, w.dedup.tag(partitionOf(a.Record), j)) {
				return w.dropConflict(a, j)
			}
			return w.dropDuplicate(a, j)
		case inFlightDuplicate:
			return kafka.Result{Again: time.Now().Add(duplicateRecheckEvery), Carry: j}
		case fresh:
			j.inFlight = true
		}
	} else {
		w.dedup.resume(partitionOf(a.Record), j)
	}
	done := false
	defer func() {
		if !done { // also after a panic: the runner then calls Handle again
			w.dedup.park(partitionOf(a.Record), j)
		}
	}()
	res := w.handleGuarded(ctx, a, j)
	done = res.Again.IsZero()
	return res
}

// duplicateRecheckEvery is how often a second copy of a job checks whether the first copy has ended.
const duplicateRecheckEvery = 100 * time.Millisecond

func (w *Worker) handle(ctx context.Context, a *kafka.Attempt, j *job) kafka.Result {
	if proceed := j.continuation; proceed != nil {
		j.continuation = nil
		return proceed(a)
	}
	if res, done := w.preflight(ctx, a, j); done {
		return res
	}
	w.omitSuppressedCopies(j)
	return w.attempt(ctx, a, j)
}

// emptyControl is a control topic without entries.
type emptyControl struct{}

func (emptyControl) Paused(notify.Channel, notify.Lane) bool        { return false }
func (emptyControl) PausedGateway(string) bool                      { return false }
func (emptyControl) Cancelled(string) bool                          { return false }
func (emptyControl) Settled(string, int) bool                       { return false }
func (emptyControl) Suppressed(string, notify.Channel, string) bool { return false }

func (emptyControl) SenderBlocked(string, notify.Channel, string, string) bool { return false }
func (emptyControl) AsOf() time.Time                                           { return time.Now() }
