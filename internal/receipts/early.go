package receipts

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mostEarly is how many early receipts of one gateway are kept at a time. Replicas of the API that keep receipts at once may exceed
// it by what they have under way.
const mostEarly = 10_000

// KeptReceipt is an early receipt: one that came before the attempt was known that it belongs to.
type KeptReceipt struct {
	Gateway string
	ID      string // names the report: a repetition has the same one
	Said    notify.Report
	Until   time.Time
}

// Log holds kept receipts durably. Its methods may be called at once from many goroutines. Their error is [notify.ErrBusUnavailable].
type Log interface {
	// Add returns once the receipt is durable.
	Add(ctx context.Context, k KeptReceipt) error
	// Remove returns once it is durable that the receipt need not be kept.
	Remove(ctx context.Context, k KeptReceipt) error
}

// Early keeps the receipts that came early, and applies each of them once its attempt is known. [Early.Set] and [Early.Unset] are for
// the one reader of the log; everything else may be called at once from many goroutines.
type Early struct {
	log   Log
	apply func(ctx context.Context, k KeptReceipt) error
	leads func() bool
	out   *zap.Logger
	wake  chan struct{}

	keepFor     time.Duration
	mostIDBytes int

	mu     sync.Mutex
	kept   map[name]*waiting
	counts map[string]int // by gateway, including what is being added
	adding map[name]bool
}

type name struct{ gateway, id string }

// waiting is a kept receipt and the time of its next attempt.
type waiting struct {
	KeptReceipt
	since, next time.Time
}

// EarlyConfig is what an [Early] works with.
type EarlyConfig struct {
	Log Log
	// Apply applies the receipt, as [Desk.Apply] does. Nil and [notify.ErrUnknownNotification] end the keeping.
	Apply func(ctx context.Context, k KeptReceipt) error
	// Leads reports whether this process is the one that applies kept receipts.
	Leads  func() bool
	Logger *zap.Logger

	KeepFor     time.Duration // how long a receipt is kept
	MostIDBytes int           // of the provider's id of a message, in what the log holds
}

// NewEarly returns an Early that knows of no receipt.
func NewEarly(c EarlyConfig) *Early {
	return &Early{
		log: c.Log, apply: c.Apply, leads: c.Leads, out: c.Logger, wake: make(chan struct{}, 1), keepFor: c.KeepFor, mostIDBytes: c.MostIDBytes,
		kept: map[name]*waiting{}, counts: map[string]int{}, adding: map[name]bool{},
	}
}

// Keep returns once the receipt is durable. Its errors: [notify.ErrEarly] when too many of the gateway are kept,
// [notify.ErrUnknownNotification] for one that can never belong to a message, and [notify.ErrBusUnavailable].
func (e *Early) Keep(ctx context.Context, gateway string, said notify.Report) error {
	if len(said.ProviderID) > e.mostIDBytes {
		return notify.ErrUnknownNotification
	}
	now := time.Now()
	if said.At.IsZero() {
		said.At = now
	}
	id := notify.DerivedID("receipt", gateway, said.NotificationID, said.ProviderID, strconv.Itoa(said.Run), string(said.State), said.Code)
	k := KeptReceipt{Gateway: gateway, ID: id, Said: said, Until: now.Add(e.keepFor)}
	known, full := e.reserve(k)
	switch {
	case known:
		return nil
	case full:
		return notify.ErrEarly
	}
	err := e.log.Add(ctx, k)
	e.added(k, err == nil)
	return err
}

// reserve makes room for a receipt, unless it is kept already or the gateway has no room left.
func (e *Early) reserve(k KeptReceipt) (known, full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := name{k.Gateway, k.ID}
	switch {
	case e.kept[n] != nil:
		return true, false
	case e.adding[n]: // by another request, whose outcome is open
		return false, true
	case e.counts[k.Gateway] >= mostEarly:
		return false, true
	}
	e.adding[n] = true
	e.counts[k.Gateway]++
	return false, false
}

// added ends a reservation.
func (e *Early) added(k KeptReceipt, durable bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.adding, name{k.Gateway, k.ID})
	e.lessLocked(k.Gateway)
	if durable {
		e.setLocked(k)
	}
}

// Set takes in a receipt that the log holds.
func (e *Early) Set(k KeptReceipt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setLocked(k)
}

func (e *Early) setLocked(k KeptReceipt) {
	n := name{k.Gateway, k.ID}
	if e.kept[n] != nil {
		return
	}
	now := time.Now()
	e.kept[n] = &waiting{KeptReceipt: k, since: now, next: now}
	e.counts[k.Gateway]++
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Unset takes in that the log no longer holds a receipt.
func (e *Early) Unset(gateway, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := name{gateway, id}
	if e.kept[n] != nil {
		delete(e.kept, n)
		e.lessLocked(gateway)
	}
}

func (e *Early) lessLocked(gateway string) {
	if e.counts[gateway]--; e.counts[gateway] <= 0 {
		delete(e.counts, gateway)
	}
}

// Len returns how many receipts of the gateway are kept.
func (e *Early) Len(gateway string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[gateway]
}

const (
	earlyFirst   = 500 * time.Millisecond // between the first two turns of a receipt
	earlyLongest = 30 * time.Second       // between two turns of one
	earlyAtOnce  = 16                     // turns
)

// Run applies the kept receipts until ctx ends, while this process leads. Each is tried soon after it came, then after waits that
// grow with its age.
func (e *Early) Run(ctx context.Context) error {
	tick := time.NewTicker(earlyFirst)
	defer tick.Stop()
	for {
		if e.leads() {
			e.turn(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-tick.C:
		}
	}
}

// turn tries the receipts that are due.
func (e *Early) turn(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(earlyAtOnce)
	for _, w := range e.due(time.Now()) {
		group.Go(func() error {
			e.try(ctx, w)
			return nil
		})
	}
	_ = group.Wait() // no turn fails
}

func (e *Early) due(now time.Time) (due []*waiting) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.kept {
		if !w.next.After(now) {
			due = append(due, w)
		}
	}
	return due
}

// try applies a receipt, and removes it once that is done or its time is over.
func (e *Early) try(ctx context.Context, w *waiting) {
	err := e.apply(ctx, w.KeptReceipt)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	over := !now.Before(w.Until)
	if done := err == nil || errors.Is(err, notify.ErrUnknownNotification) && !attemptUnknown(err); done || over {
		if !done {
			e.out.Info("a kept receipt belongs to no attempt that became known; it is dropped", zap.String("gateway", w.Gateway),
				zap.String("notification_id", w.Said.NotificationID), zap.String("state", string(w.Said.State)), zap.Error(err))
		}
		if e.log.Remove(ctx, w.KeptReceipt) == nil {
			e.Unset(w.Gateway, w.ID)
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w.next = now.Add(min(max(now.Sub(w.since)/2, earlyFirst), earlyLongest))
}
