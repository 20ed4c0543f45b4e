package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// Store is the status store, as it is compared with the topics. One call at a time is made.
type Store interface {
	// Positions says how far the store has read the topics.
	Positions(ctx context.Context) ([]status.Position, error)
	// Standings leaves out what the store does not know.
	Standings(ctx context.Context, ids []string) (map[string]status.Standing, error)
	// Unended gives notifications that expire before a time and have not ended, page by page.
	Unended(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]status.Open, error)
}

// compareAtOnce is how many notifications the store is asked for at once.
const compareAtOnce = 500

// compared is what the topics say of one notification.
type compared struct {
	id     string
	topics Standing
	place  int64
}

// await waits until the store has read whatever was read here. Of a store that stands still, behind, it is an error.
func (a *audit) await(ctx context.Context) error {
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	left, moved := int64(-1), time.Now()
	for {
		positions, err := a.Store.Positions(ctx)
		if err != nil {
			return fmt.Errorf("ask how far the status store has read: %w", err)
		}
		behind := a.behind(positions)
		if behind == 0 {
			return nil
		}
		if behind != left {
			left, moved = behind, time.Now()
		}
		if time.Since(moved) > a.Patience {
			return fmt.Errorf("the status store is %d records behind the topics and reads none: is laudspeaker serve-api running?", behind)
		}
		if a.Progress != nil {
			a.Progress(Progress{"waiting for the status store", a.view.total - behind, a.view.total})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// behind is how many records of jobs and events the store has yet to read.
func (a *audit) behind(positions []status.Position) (n int64) {
	type place struct {
		topic     string
		partition int32
	}
	next := map[place]int64{}
	for _, p := range positions {
		if !p.TopicID.Differs(a.view.ids[p.Topic]) { // else it has read a topic that is no more
			next[place{p.Topic, p.Partition}] = p.Next
		}
	}
	count := func(topic string, bounds []kafka.Bounds) {
		for _, b := range bounds {
			n += max(0, b.Newest-max(b.Oldest, next[place{topic, b.Partition}]))
		}
	}
	count(a.Status, a.view.whole)
	for _, o := range a.view.shelves {
		if o.Lane != "" {
			count(o.Topic, o.bounds)
		}
	}
	return n
}

// compare takes a notification to be compared. What the topics give no state, and what the store need not keep, is not.
func (a *audit) compare(ctx context.Context, es []entry, v *verdict) error {
	if a.Store == nil || v.place < 0 {
		return nil
	}
	first := firstOf(es)
	if a.Kept != nil && !a.Kept(first) {
		return nil
	}
	a.batch = append(a.batch, compared{id: spelt(es[0].id), topics: Standing{v.state, v.final, v.run}, place: v.place})
	if len(a.batch) < compareAtOnce {
		return nil
	}
	return a.compareBatch(ctx)
}

// firstOf is when the records first tell of a notification.
func firstOf(es []entry) (first time.Time) {
	for i := range es {
		at := time.UnixMilli(es[i].at)
		if es[i].kind == anEvent || es[i].kind == aRedrive || es[i].kind == anUnknown {
			at = time.Unix(0, es[i].at)
		}
		if i == 0 || at.Before(first) {
			first = at
		}
	}
	return first
}

// compareBatch asks the store. It may be ahead: it goes on reading.
func (a *audit) compareBatch(ctx context.Context) error {
	if len(a.batch) == 0 {
		return nil
	}
	ids := make([]string, len(a.batch))
	for i, c := range a.batch {
		ids[i] = c.id
	}
	standings, err := a.Store.Standings(ctx, ids)
	if err != nil {
		return fmt.Errorf("ask the status store: %w", err)
	}
	for _, c := range a.batch {
		s, there := standings[c.id]
		kept := Standing{s.State, s.Final, s.Run}
		if there && (s.Place > c.place || s.Place == c.place && kept == c.topics) {
			continue
		}
		*a.report.Differences++
		f := Finding{What: FoundDifference, ID: c.id, Run: c.topics.Run, Topics: &c.topics}
		if there {
			f.Store = &kept
		}
		if err := a.Found(f); err != nil {
			return err
		}
	}
	a.batch = a.batch[:0]
	return nil
}
