package status

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Overdue is what the reconciler asks a store. Lists come page by page: after is the last of the page before, nil begins.
type Overdue interface {
	// Unended gives notifications that expired before a time and have not ended, the first to expire first.
	Unended(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]Open, error)
	CountUnended(ctx context.Context, before time.Time) (int, error)
	// Awaited gives those that were sent before a time and of which their providers will say more, the first to be sent first.
	Awaited(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]notify.Life, error)
	// EventsOf gives the ids of all events of some notifications.
	EventsOf(ctx context.Context, ids []string) (map[string]bool, error)
}

// ReconcilerConfig is what a [Reconciler] works with.
type ReconcilerConfig struct {
	Store Overdue
	// Tell seals and publishes an event. It returns once that is durable.
	Tell func(ctx context.Context, e notify.Event) error
	// Recording reports whether this process is the one to reconcile: the one that records.
	Recording func() bool
	// Caught returns nil once the store has read all topics as far as they went at the call: what it has not read yet has not
	// been missing.
	Caught        func(ctx context.Context) error
	StuckAfter    time.Duration // after its expiry a notification that has not ended is stuck
	ReceiptWindow time.Duration // a provider that would say more has said it by then
	Log           *zap.Logger
	Metrics       prometheus.Registerer // nil: they are kept to themselves
}

// Reconciler says once a minute what no event says by itself: that a notification should have ended and has not, and that a
// provider has not said in time what became of a message. Both are events on the status topic like any other; what could not be
// asked or published is tried again in the next minute.
type Reconciler struct {
	cfg         ReconcilerConfig
	stuck       prometheus.Gauge
	unconfirmed prometheus.Counter
	after       *notify.Life // how far the last look at what is stuck came, where there is too much for one
}

// NewReconciler makes a reconciler that does nothing before [Reconciler.Run].
func NewReconciler(cfg ReconcilerConfig) *Reconciler {
	r := &Reconciler{
		cfg: cfg,
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "laudspeaker_notifications_stuck", Help: "Notifications that should have ended and have not, in the process that fills the status store.",
		}),
		unconfirmed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "laudspeaker_unconfirmed_total", Help: "Messages of which their provider did not say in time what became of them.",
		}),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(r.stuck, r.unconfirmed)
	}
	return r
}

const (
	reconcileEvery = time.Minute
	pageSize       = 500
	mostPages      = 20 // of one look: more waits for the next
)

// Run reconciles until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	for pause(ctx, reconcileEvery) {
		if !r.cfg.Recording() {
			r.stuck.Set(0)
			r.after = nil
			continue
		}
		if err := r.turn(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("what is overdue could not be told; trying again in a minute", zap.Error(err))
		}
	}
	return nil
}

func (r *Reconciler) turn(ctx context.Context, now time.Time) error {
	if err := r.cfg.Caught(ctx); err != nil {
		return err
	}
	return errors.Join(
		r.findStuck(ctx, now),
		r.closeAwaited(ctx, now),
	)
}

// findStuck tells once of each (id, run, step).
func (r *Reconciler) findStuck(ctx context.Context, now time.Time) error {
	before := now.Add(-r.cfg.StuckAfter)
	n, err := r.cfg.Store.CountUnended(ctx, before)
	if err != nil {
		return err
	}
	r.stuck.Set(float64(n))
	told := 0
	r.after, err = pages(r.after, func(after *notify.Life) ([]notify.Life, error) {
		open, err := r.cfg.Store.Unended(ctx, before, after, pageSize)
		if err != nil {
			return nil, err
		}
		page := make([]notify.Life, len(open))
		for i := range open {
			page[i] = open[i].Life
		}
		news, err := r.tellStuck(ctx, page, now)
		told += news
		return page, err
	})
	if told > 0 {
		r.cfg.Log.Warn("notifications that have expired have not ended: does a worker run for each of their channels and lanes?",
			zap.Int("newly", told), zap.Int("in_all", n))
	}
	return err
}

func (r *Reconciler) tellStuck(ctx context.Context, page []notify.Life, now time.Time) (told int, err error) {
	ids := make([]string, len(page))
	for i := range page {
		ids[i] = page[i].ID
	}
	known, err := r.cfg.Store.EventsOf(ctx, ids)
	if err != nil {
		return 0, err
	}
	for i := range page {
		e := of(&page[i], now)
		e.Note = notify.NoteStuck
		if e.Seal(); known[e.EventID] {
			continue
		}
		if err := r.cfg.Tell(ctx, e); err != nil {
			return told, fmt.Errorf("tell that a notification is stuck: %w", err)
		}
		told++
	}
	return told, nil
}

// closeAwaited ends what nobody has said more of: it stays sent, for good.
func (r *Reconciler) closeAwaited(ctx context.Context, now time.Time) error {
	before := now.Add(-r.cfg.ReceiptWindow)
	_, err := pages(nil, func(after *notify.Life) ([]notify.Life, error) {
		page, err := r.cfg.Store.Awaited(ctx, before, after, pageSize)
		for i := range page {
			e := of(&page[i], now)
			e.Reason = notify.ReasonUnconfirmed
			if err := r.cfg.Tell(ctx, e); err != nil {
				return nil, fmt.Errorf("tell that a message is not confirmed: %w", err)
			}
			r.unconfirmed.Inc()
		}
		return page, err
	})
	return err
}

// pages reads pages from after on, and gives where to go on if there are more than one look takes.
func pages(after *notify.Life, read func(after *notify.Life) ([]notify.Life, error)) (*notify.Life, error) {
	for range mostPages {
		page, err := read(after)
		if err != nil {
			return after, err
		}
		if len(page) < pageSize {
			return nil, nil
		}
		after = &page[len(page)-1]
	}
	return after, nil
}

// of is an event about a life as it stands.
func of(l *notify.Life, now time.Time) notify.Event {
	return notify.Event{
		NotificationID: l.ID, Run: l.Run, Step: l.Step, Attempt: l.Attempt, State: l.State, At: now, Tenant: l.Tenant,
		Channel: l.Channel, Lane: l.Lane, Reference: l.Reference, Gateway: l.Gateway, ProviderID: l.ProviderID, Simulated: l.Simulated,
	}
}
