package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
	"github.com/laudspeaker/laudspeaker/internal/status"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
)

// reconciler says what is overdue, in the process that records, once its store has read all that there is.
func (k *keeper) reconciler(t teller) *status.Reconciler {
	caught := &status.Barrier{Ends: k.endsOfAll, Positions: k.store.Positions}
	k.tell = t
	groups := map[string]string{}
	for _, ch := range k.topics.Channels() {
		for _, lane := range notify.Lanes() {
			groups[k.topics.Job(ch, lane)] = k.topics.Group(ch, lane)
		}
	}
	return status.NewReconciler(status.ReconcilerConfig{
		Store: k.store, Tell: t.Publish, Recording: k.recorder.Recording, Caught: caught.Wait,
		Topics: func() (status.Topics, error) { return kafka.NewReader(k.kafka) }, Groups: groups,
		Same:       func(r *kafka.Record, id string) bool { return k.recorder.Identify(r) == id },
		StuckAfter: k.cfg.Status.StuckAfter, ReceiptWindow: k.cfg.Status.ReceiptWindow, Log: k.log, Metrics: k.metrics,
	})
}

// endsOfAll is asked once a minute: no connection is kept for it.
func (k *keeper) endsOfAll() ([]kafka.Place, error) {
	r, err := kafka.NewReader(k.kafka)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Ends(k.topics.Recorded())
}

// publishGap puts a gap that the recorder has found on the status topic.
func (t teller) publishGap(ctx context.Context, g status.Gap) error {
	m := kafka.Message{Topic: t.desk.Topics.Status(), Partition: g.Partition, Headers: g.Headers("")}
	if _, _, err := t.publisher.Publish(ctx, m); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Topic, err)
	}
	return nil
}

// told is the store for receipts: a notification that has just been accepted is there, and is found by its provider's name.
type told struct {
	*status.Reader
	*statusStore
}

func (l told) Get(ctx context.Context, id string) (*notify.Life, error) { return l.Reader.Get(ctx, id) }

func (s *statusStore) FindByProviderID(ctx context.Context, gateway, providerID string) (string, error) {
	return ask(s, func(o *store.Store) (string, error) { return o.FindByProviderID(ctx, gateway, providerID) })
}

func (s *statusStore) Unended(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]status.Open, error) {
	return ask(s, func(o *store.Store) ([]status.Open, error) { return o.Unended(ctx, before, after, limit) })
}

func (s *statusStore) CountUnended(ctx context.Context, before time.Time) (int, error) {
	return ask(s, func(o *store.Store) (int, error) { return o.CountUnended(ctx, before) })
}

func (s *statusStore) Awaited(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]notify.Life, error) {
	return ask(s, func(o *store.Store) ([]notify.Life, error) { return o.Awaited(ctx, before, after, limit) })
}

func (s *statusStore) Gaps(ctx context.Context) ([]status.Gap, error) {
	return ask(s, func(o *store.Store) ([]status.Gap, error) { return o.Gaps(ctx) })
}

func (s *statusStore) Logs(ctx context.Context) ([]status.Log, error) {
	return ask(s, func(o *store.Store) ([]status.Log, error) { return o.Logs(ctx) })
}

func (s *statusStore) EventsOf(ctx context.Context, ids []string) (map[string]bool, error) {
	return ask(s, func(o *store.Store) (map[string]bool, error) { return o.EventsOf(ctx, ids) })
}

var (
	_ receipts.StatusReader = told{}
	_ status.Overdue        = (*statusStore)(nil)
)
