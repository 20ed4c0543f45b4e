package audit

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// doubts are the notifications that seem to be unaccounted for: whoever says so had better look twice.
type doubts struct {
	pile *pile
	ids  map[[idBytes]byte]bool
	all  bool // there are too many to know each
}

// mostDoubts is how many are known by their ids; beyond it, whatever is read once more is kept.
const mostDoubts = 1 << 20

func newDoubts(limit int, dir string) *doubts {
	return &doubts{pile: newPile(limit, dir), ids: map[[idBytes]byte]bool{}}
}

// raise takes all that is known of a notification.
func (d *doubts) raise(es []entry) error {
	if d.all = len(d.ids) >= mostDoubts; !d.all {
		d.ids[es[0].id] = true
	}
	for i := range es {
		if err := d.pile.add(es[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *doubts) add(e entry) error {
	if !d.all && !d.ids[e.id] {
		return nil
	}
	return d.pile.add(e)
}

// resolve reads what else there is about those in doubt, and judges them for good.
//
// Events from before the time asked for: a second copy of what had ended by then was dropped without an event. And what has
// come since the view was taken: retention may have been faster than the audit and deleted what it was about to read, but
// whatever was alive then has left a trace later.
func (a *audit) resolve(ctx context.Context, d *doubts) error {
	a.doubts = d
	if !a.Since.IsZero() {
		if err := a.recall(ctx); err != nil {
			return err
		}
	}
	if err := a.readLater(ctx); err != nil {
		return err
	}
	return d.pile.each(func(es []entry) error {
		v := judge(es)
		if v.nothing {
			return nil
		}
		return a.settle(ctx, es, &v)
	})
}

// recall reads the events from before the time asked for.
func (a *audit) recall(ctx context.Context) error {
	for i, b := range a.view.bounds {
		b.Oldest, b.Newest = a.view.whole[i].Oldest, b.Oldest
		if err := a.readTopic(ctx, a.Status, []kafka.Bounds{b}); err != nil {
			return err
		}
	}
	if a.Store == nil {
		return nil
	}
	// The store goes by when a notification was accepted, which another clock may have said.
	for _, o := range a.view.shelves {
		if o.Lane == "" {
			continue
		}
		early, err := a.view.log.Since(o.Topic, a.view.since.Add(-clocksApart), o.whole)
		if err != nil {
			return err
		}
		for i := range early {
			early[i].Newest = o.bounds[i].Oldest
		}
		if err := a.readShelf(ctx, o, early); err != nil {
			return err
		}
	}
	return nil
}

// readLater reads what has been written since.
func (a *audit) readLater(ctx context.Context) error {
	a.late = true
	bounds, err := a.view.later(a.Status, a.view.whole)
	if err != nil {
		return err
	}
	if err := a.readTopic(ctx, a.Status, bounds); err != nil {
		return err
	}
	for _, o := range a.view.shelves {
		bounds, err := a.view.later(o.Topic, o.whole)
		if err != nil {
			return err
		}
		if err := a.readShelf(ctx, o, bounds); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) readTopic(ctx context.Context, topic string, bounds []kafka.Bounds) error {
	return a.view.log.Scan(ctx, topic, bounds, func(r *kafka.Record) error {
		a.progress(topic)
		return a.event(r)
	})
}
