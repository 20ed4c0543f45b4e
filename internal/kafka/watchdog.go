package kafka

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// watch rebuilds the group client when a partition stands still although records wait and we have not paused it:
// consumers have been seen to stall for good. Once per position, or a log that ends in markers would never let it rest.
func (r *Runner) watch(ctx context.Context) {
	tick := time.NewTicker(r.cfg.StallAfter / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for tp, next := range r.still() {
			_, newest, err := r.cfg.Ledger.bounds(tp)
			if err != nil || newest <= next || !r.firstAt(tp, next) {
				continue
			}
			r.log.Warn("a partition stands still; the client is made anew", zap.Stringer("claim", tp), zap.Int64("offset", next))
			r.mu.Lock()
			rebuild := r.rebuild
			r.stats.Rebuilds++
			r.mu.Unlock()
			rebuild(fmt.Errorf("%s stands still at offset %d", tp, next))
			break
		}
	}
}

// still lists the partitions from which nothing has come for a while, with the offset that is expected next.
func (r *Runner) still() map[topicPartition]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[topicPartition]int64{}
	if r.session == nil {
		return out
	}
	for _, c := range r.session.claims {
		if c.taken && !c.paused && time.Since(c.moved) > r.cfg.StallAfter {
			out[c.topicPartition] = c.next
		}
	}
	return out
}

func (r *Runner) firstAt(tp topicPartition, next int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.rebuilt[tp]; ok && at == next {
		return false
	}
	r.rebuilt[tp] = next
	return true
}
