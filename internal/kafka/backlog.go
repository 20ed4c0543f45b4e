package kafka

import (
	"context"
	"math/bits"
	"time"

	"go.uber.org/zap"
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
		r.inspect(ctx)
	}
}

// inspect compares each claim with its log and keeps what [Runner.Backlog] says.
func (r *Runner) inspect(ctx context.Context) {
	for _, at := range r.positions() {
		oldest, newest, err := r.cfg.Ledger.bounds(at.claim.topicPartition)
		if err == nil { // a partition without a leader must not keep the others from being looked at
			r.check(ctx, at, oldest, newest)
			err = r.verifyAtLeader(at.claim, oldest)
		}
		if err != nil {
			r.log.Debug("log not inspected", zap.Stringer("claim", at.claim.topicPartition), zap.Error(err))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = r.weigh()
}

// positions lists how far the claims that were taken over have fetched.
func (r *Runner) positions() (all []position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == nil {
		return nil
	}
	for _, c := range r.session.claims {
		if c.taken {
			all = append(all, position{c, c.next})
		}
	}
	return all
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
	for _, s := range t.wide {
		n += s.to - max(s.from, t.low)
	}
	return n
}
