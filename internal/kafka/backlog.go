package kafka

import (
	"context"
	"math/bits"
	"time"
)

// Backlog is what waits in the partitions of one topic that this member holds.
type Backlog struct {
	Records int64     // not done, those in hand included
	Oldest  time.Time // of the oldest record that was fetched and is not done; zero without one
}

// backlogEvery is how often the brokers are asked how long the logs are.
const backlogEvery = 5 * time.Second

// measure keeps what [Runner.Backlog] says.
func (r *Runner) measure(ctx context.Context) {
	tick := time.NewTicker(backlogEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, tp := range r.takenOver() {
			_, newest, err := r.cfg.Ledger.bounds(tp)
			if err != nil {
				break
			}
			r.mu.Lock()
			if c := r.owner(tp); c != nil {
				c.newest = newest
			}
			r.mu.Unlock()
		}
		r.mu.Lock()
		r.waiting = r.weigh()
		r.mu.Unlock()
	}
}

// takenOver lists the partitions that were taken over.
func (r *Runner) takenOver() (tps []topicPartition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == nil {
		return nil
	}
	for _, c := range r.session.claims {
		if c.taken {
			tps = append(tps, c.topicPartition)
		}
	}
	return tps
}

// Backlog gives what waits, by topic, as it was known some seconds ago.
func (r *Runner) Backlog() map[string]Backlog {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// weigh makes what [Runner.Backlog] gives; nobody changes it later. The lock is held.
func (r *Runner) weigh() map[string]Backlog {
	all := map[string]Backlog{}
	for _, topic := range r.cfg.Topics {
		all[topic] = Backlog{}
	}
	if r.session == nil {
		return all
	}
	for _, c := range r.session.claims {
		b := all[c.topic]
		b.Records += max(0, max(c.newest, c.next)-c.low-c.ahead())
		if at := c.oldest(); !at.IsZero() && (b.Oldest.IsZero() || at.Before(b.Oldest)) {
			b.Oldest = at
		}
		all[c.topic] = b
	}
	return all
}

// oldest is the time of the oldest record in hand.
func (c *claim) oldest() (at time.Time) {
	for _, it := range c.items {
		if at.IsZero() || it.rec.Timestamp.Before(at) {
			at = it.rec.Timestamp
		}
	}
	return at
}

// ahead is how many records above low are done.
func (t *tracker) ahead() (n int64) {
	for i, w := range t.words {
		if i == 0 {
			w >>= uint(t.low - t.base)
		}
		n += int64(bits.OnesCount64(w))
	}
	return n
}
