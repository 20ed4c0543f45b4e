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

// maxEarly is how many early receipts of one gateway are kept. Several processes of the API that keep receipts at the same time
// may exceed it by the receipts that they are adding.
const maxEarly = 10_000

// KeptReceipt is an early receipt: it arrived before its attempt was known.
type KeptReceipt struct {
	Gateway string
	ID      string // of the report: a repetition has the same id
	Report  notify.Report
	Until   time.Time // end of the keeping
}

// Log stores kept receipts durably. Its methods may be called concurrently. Their error is [notify.ErrBusUnavailable].
type Log interface {
	// Add returns once the receipt is durable.
	Add(ctx context.Context, k KeptReceipt) error
	// Remove returns once the removal of the receipt is durable.
	Remove(ctx context.Context, k KeptReceipt) error
}

// Early keeps early receipts, and applies each receipt once its attempt is known. Only the single reader of the log may call
// [Early.Set] and [Early.Unset]; all other methods may be called concurrently.
type Early struct {
	log    Log
	apply  func(ctx context.Context, k KeptReceipt) error
	leads  func() bool
	logger *zap.Logger
	wake   chan struct{}

	keepFor    time.Duration
	maxIDBytes int

	mu     sync.Mutex
	kept   map[receiptKey]*keptState
	counts map[string]int // by gateway; includes the receipts that are being added
	adding map[receiptKey]bool
}

type receiptKey struct{ gateway, id string }

// keptState is a kept receipt, and when it was kept and is next tried.
type keptState struct {
	KeptReceipt
	since, next time.Time
}

// EarlyConfig configures an [Early].
type EarlyConfig struct {
	Log Log
	// Apply applies the receipt, as [Handler.Apply] does. The receipt is no longer kept after nil and after
	// [notify.ErrUnknownNotification].
	Apply func(ctx context.Context, k KeptReceipt) error
	// Leads reports whether this process applies kept receipts.
	Leads  func() bool
	Logger *zap.Logger

	KeepFor    time.Duration // how long a receipt is kept
	MaxIDBytes int           // maximum length of a provider's message id that the log can hold
}

// NewEarly returns an Early that keeps no receipt.
func NewEarly(c EarlyConfig) *Early {
	return &Early{
		log: c.Log, apply: c.Apply, leads: c.Leads, logger: c.Logger, wake: make(chan struct{}, 1), keepFor: c.KeepFor, maxIDBytes: c.MaxIDBytes,
		kept: map[receiptKey]*keptState{}, counts: map[string]int{}, adding: map[receiptKey]bool{},
	}
}

// Keep returns once the receipt is durable. Its errors are [notify.ErrEarly] when too many receipts of the gateway are kept,
// [notify.ErrUnknownNotification] for a receipt that can never belong to a message, and [notify.ErrBusUnavailable].
func (e *Early) Keep(ctx context.Context, gateway string, report notify.Report) error {
	if len(report.ProviderID) > e.maxIDBytes {
		return notify.ErrUnknownNotification
	}
	now := time.Now()
	if report.At.IsZero() {
		report.At = now
	}
	id := notify.DerivedID("receipt", gateway, report.NotificationID, report.ProviderID, strconv.Itoa(report.Run), string(report.State), report.Code)
	k := KeptReceipt{Gateway: gateway, ID: id, Report: report, Until: now.Add(e.keepFor)}
	switch e.reserve(k) {
	case alreadyKept:
		return nil
	case noRoom:
		return notify.ErrEarly
	case reserved:
	}
	err := e.log.Add(ctx, k)
	e.added(k, err == nil)
	return err
}

// reservation is the result of reserve.
type reservation int

const (
	reserved    reservation = iota // there is room for the receipt; call added
	alreadyKept                    // the receipt is durable already
	noRoom                         // too many receipts are kept, or another request is adding this one
)

// reserve reserves room for a receipt.
func (e *Early) reserve(k KeptReceipt) reservation {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := receiptKey{k.Gateway, k.ID}
	switch {
	case e.kept[n] != nil:
		return alreadyKept
	case e.adding[n]: // another request is adding it and may still fail
		return noRoom
	case e.counts[k.Gateway] >= maxEarly:
		return noRoom
	}
	e.adding[n] = true
	e.counts[k.Gateway]++
	return reserved
}

// added ends a reservation. durable reports whether the log has the receipt.
func (e *Early) added(k KeptReceipt, durable bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.adding, receiptKey{k.Gateway, k.ID})
	e.decrementLocked(k.Gateway)
	if durable {
		e.setLocked(k)
	}
}

// Set adds a receipt that the log holds.
func (e *Early) Set(k KeptReceipt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setLocked(k)
}

func (e *Early) setLocked(k KeptReceipt) {
	n := receiptKey{k.Gateway, k.ID}
	if e.kept[n] != nil {
		return
	}
	now := time.Now()
	e.kept[n] = &keptState{KeptReceipt: k, since: now, next: now}
	e.counts[k.Gateway]++
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Unset removes a receipt that the log no longer holds.
func (e *Early) Unset(gateway, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := receiptKey{gateway, id}
	if e.kept[n] != nil {
		delete(e.kept, n)
		e.decrementLocked(gateway)
	}
}

func (e *Early) decrementLocked(gateway string) {
	e.counts[gateway]--
	if e.counts[gateway] <= 0 {
		delete(e.counts, gateway)
	}
}

// Len returns how many receipts of the gateway are kept or being added.
func (e *Early) Len(gateway string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[gateway]
}

const (
	earlyMinWait     = 500 * time.Millisecond // between two tries of a receipt
	earlyMaxWait     = 30 * time.Second       // between two tries of a receipt
	earlyConcurrency = 16                     // concurrent tries
)

// Run applies the kept receipts until ctx ends, while this process leads, and then returns nil. Each receipt is tried soon
// after its arrival, and then after waits that grow with its age.
func (e *Early) Run(ctx context.Context) error {
	tick := time.NewTicker(earlyMinWait)
	defer tick.Stop()
	for {
		if e.leads() {
			e.applyDue(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-tick.C:
		}
	}
}

// applyDue tries the receipts that are due.
func (e *Early) applyDue(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(earlyConcurrency)
	for _, w := range e.due(time.Now()) {
		group.Go(func() error {
			e.applyKept(ctx, w)
			return nil
		})
	}
	_ = group.Wait() // always nil
}

func (e *Early) due(now time.Time) []*keptState {
	var due []*keptState
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.kept {
		if !w.next.After(now) {
			due = append(due, w)
		}
	}
	return due
}

// applyKept applies a receipt. It removes the receipt after a final result, or at the end of its time.
func (e *Early) applyKept(ctx context.Context, w *keptState) {
	err := e.apply(ctx, w.KeptReceipt)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	expired := !now.Before(w.Until)
	done := err == nil || errors.Is(err, notify.ErrUnknownNotification) && !attemptUnknown(err)
	if done || expired {
		if !done {
			e.logger.Info("a kept receipt belongs to no attempt that became known; it is dropped", zap.String("gateway", w.Gateway),
				zap.String("notification_id", w.Report.NotificationID), zap.String("state", string(w.Report.State)), zap.Error(err))
		}
		if e.log.Remove(ctx, w.KeptReceipt) == nil {
			e.Unset(w.Gateway, w.ID)
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w.next = now.Add(min(max(now.Sub(w.since)/2, earlyMinWait), earlyMaxWait))
}
