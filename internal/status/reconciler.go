package status

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
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
	// Gaps gives the gaps in the job topics that were published.
	Gaps(ctx context.Context) ([]Gap, error)
	// Positions is that of [Store].
	Positions(ctx context.Context) ([]Position, error)
	// Logs gives every log in which the store knows, or has known, a record.
	Logs(ctx context.Context) ([]Log, error)
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
	Caught func(ctx context.Context) error
	// Topics opens a look at the job topics, which is closed after use; nil: nothing is found to be lost or missing.
	Topics func() (Topics, error)
	Groups map[string]string // the group that takes each of them
	// Same reports whether a record of one of them is about the notification of that id.
	Same          func(r *kafka.Record, id string) bool
	StuckAfter    time.Duration // after its expiry a notification that has not ended is stuck
	ReceiptWindow time.Duration // a provider that would say more has said it by then
	Log           *zap.Logger
	Metrics       prometheus.Registerer // nil: they are kept to themselves
}

// Reconciler says once a minute what no event says by itself: that a notification should have ended and has not, that one is lost,
// and that a provider has not said in time what became of a message. All are events on the status topic like any other; what could not be
// asked or published is tried again in the next minute.
type Reconciler struct {
	cfg         ReconcilerConfig
	stuck       prometheus.Gauge
	unconfirmed prometheus.Counter
	after       *notify.Life // how far the last look at what is stuck came, where there is too much for one
	losses      losses
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
		losses: newLosses(),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(r.stuck, r.unconfirmed, r.losses.lost, r.losses.unknown)
	}
	return r
}

const (
	reconcileEvery = time.Minute // or stuck_after, where that is shorter
	pageSize       = 500
	mostPages      = 20 // of one look: more waits for the next
)

// Run reconciles until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	for pause(ctx, min(reconcileEvery, max(time.Second, r.cfg.StuckAfter))) {
		if !r.cfg.Recording() {
			r.stuck.Set(0)
			r.after, r.losses.pass = nil, nil
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
		r.findOverdue(ctx, now),
		r.closeAwaited(ctx, now),
	)
}

// findOverdue tells of what is lost, missing or stuck.
func (r *Reconciler) findOverdue(ctx context.Context, now time.Time) error {
	if r.cfg.Topics == nil {
		return r.findStuck(ctx, nil, now)
	}
	topics, err := r.cfg.Topics()
	if err != nil {
		return err
	}
	defer topics.Close()
	gaps, err := r.cfg.Store.Gaps(ctx)
	if err != nil {
		return err
	}
	w, err := newWhereabouts(topics, r.cfg.Groups, gaps)
	if err != nil {
		return err
	}
	return errors.Join(r.findLost(ctx, w, now), r.findStuck(ctx, w, now))
}

// findStuck tells once of each (id, run, step).
func (r *Reconciler) findStuck(ctx context.Context, w *whereabouts, now time.Time) error {
	before := now.Add(-r.cfg.StuckAfter)
	n, err := r.cfg.Store.CountUnended(ctx, before)
	if err != nil {
		return err
	}
	r.stuck.Set(float64(n))
	var told, unknown int
	r.after, err = pages(r.after, func(after *notify.Life) ([]notify.Life, error) {
		open, err := r.cfg.Store.Unended(ctx, before, after, pageSize)
		if err != nil {
			return nil, err
		}
		page := make([]notify.Life, len(open))
		for i := range open {
			page[i] = open[i].Life
		}
		stuck, missing, err := r.tellStuck(ctx, w, open, now)
		told, unknown = told+stuck, unknown+missing
		return page, err
	})
	if unknown > 0 {
		r.losses.unknown.Add(float64(unknown))
		r.cfg.Log.Error("notifications are missing: their records are done or deleted, and nothing says what became of them; they have the note unknown. "+
			"laudspeaker audit --against-store names them", zap.Int("count", unknown))
	}
	if told > 0 {
		r.cfg.Log.Warn("notifications that have expired have not ended: does a worker run for each of their channels and lanes?",
			zap.Int("newly", told), zap.Int("in_all", n))
	}
	return err
}

func (r *Reconciler) tellStuck(ctx context.Context, w *whereabouts, page []Open, now time.Time) (stuck, unknown int, err error) {
	ids := make([]string, len(page))
	for i := range page {
		ids[i] = page[i].ID
	}
	known, err := r.cfg.Store.EventsOf(ctx, ids)
	if err != nil {
		return 0, 0, err
	}
	for i := range page {
		e := of(&page[i].Life, now)
		if e.Note, err = r.overdueNote(w, &page[i]); err != nil {
			return stuck, unknown, err
		}
		if e.Seal(); e.Note == "" || known[e.EventID] {
			continue
		}
		if err := r.cfg.Tell(ctx, e); err != nil {
			return stuck, unknown, fmt.Errorf("tell that a notification is %s: %w", e.Note, err)
		}
		if e.Note == notify.NoteUnknown {
			unknown++
		} else {
			stuck++
		}
	}
	return stuck, unknown, nil
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
