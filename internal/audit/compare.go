package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// Store reads the status store. It is not called concurrently.
type Store interface {
	// Positions returns the positions up to which the store has read the topics.
	Positions(ctx context.Context) ([]status.Position, error)
	// Standings returns the present state of each notification that the store knows.
	Standings(ctx context.Context, ids []string) (map[string]status.Standing, error)
	// Unended returns notifications that expire before a time and have not ended, page by page.
	Unended(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]status.Open, error)
}

// compareBatchSize is how many notifications are compared in one call of the store.
const compareBatchSize = 500

// compared is the state of a notification according to the topics.
type compared struct {
	id     string
	topics Standing
	place  int64
}

// awaitStore waits until the store has read all records of the snapshot. Its error says that the store is behind and makes no
// progress.
func (a *audit) awaitStore(ctx context.Context) error {
	const pollEvery = 100 * time.Millisecond
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	lastLag, progressAt := int64(-1), time.Now()
	for {
		positions, err := a.Store.Positions(ctx)
		if err != nil {
			return fmt.Errorf("ask how far the status store has read: %w", err)
		}
		lag := a.storeLag(positions)
		if lag == 0 {
			return nil
		}
		if lag != lastLag {
			lastLag, progressAt = lag, time.Now()
		}
		if time.Since(progressAt) > a.StoreTimeout {
			return fmt.Errorf("the status store is %d records behind the topics and reads none: is laudspeaker serve-api running?", lag)
		}
		if a.Progress != nil {
			a.Progress(Progress{Doing: "waiting for the status store", Done: a.snapshot.total - lag, Total: a.snapshot.total})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// storeLag returns how many records of jobs and events the store has not read yet.
func (a *audit) storeLag(positions []status.Position) int64 {
	var n int64
	next := map[partitionOf]int64{}
	for _, p := range positions {
		if !p.TopicID.Differs(a.snapshot.ids[p.Topic]) { // else the position belongs to a deleted topic
			next[partitionOf{p.Topic, p.Partition}] = p.Next
		}
	}
	count := func(topic string, bounds []kafka.Bounds) {
		for _, b := range bounds {
			n += max(0, b.Newest-max(b.Oldest, next[partitionOf{topic, b.Partition}]))
		}
	}
	count(a.Status, a.snapshot.whole)
	for _, t := range a.snapshot.topics {
		if t.Lane != "" {
			count(t.Name, t.bounds)
		}
	}
	return n
}

// compare adds a notification to the batch that is compared with the store. It leaves out notifications without a state in the
// topics, and notifications that the store need not retain.
func (a *audit) compare(ctx context.Context, es []entry, v *verdict) error {
	if a.Store == nil || v.place < 0 {
		return nil
	}
	first := firstSeen(es)
	if a.Retained != nil && !a.Retained(first) {
		return nil
	}
	a.batch = append(a.batch, compared{id: formatID(es[0].id), topics: Standing{State: v.state, Final: v.final, Run: v.run}, place: v.place})
	if len(a.batch) < compareBatchSize {
		return nil
	}
	return a.compareBatch(ctx)
}

// firstSeen returns the earliest time in the entries of a notification.
func firstSeen(es []entry) time.Time {
	var first time.Time
	for i := range es {
		at := time.UnixMilli(es[i].at)
		if es[i].kind == kindEvent || es[i].kind == kindRedrive || es[i].kind == kindUnknownNote {
			at = time.Unix(0, es[i].at)
		}
		if i == 0 || at.Before(first) {
			first = at
		}
	}
	return first
}

// compareBatch compares the batch with the store. The store may be ahead of the snapshot, because it continues to read.
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
		stored := Standing{s.State, s.Final, s.Run}
		if there && (s.Place > c.place || s.Place == c.place && stored == c.topics) {
			continue
		}
		*a.report.Differences++
		f := Finding{What: FoundDifference, ID: c.id, Run: c.topics.Run, Topics: &c.topics}
		if there {
			f.Store = &stored
		}
		if err := a.Found(f); err != nil {
			return err
		}
	}
	a.batch = a.batch[:0]
	return nil
}
