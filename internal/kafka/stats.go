package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Stats are a runner's counts since it was made.
type Stats struct {
	TakeOvers   uint64 // claims that were taken over
	Skipped     uint64 // records that were fetched and already done
	Adopted     uint64 // jobs that ended with the outcome which a former owner had not published
	Void        uint64 // records that a former owner left for jobs that began anew; they were dropped
	Mismatches  uint64 // records at whose offset another job is said to be done; they were processed
	LeaseWaits  uint64 // how often something was ready and the lease had run out
	Rebuilds    uint64 // group clients made anew because a partition stood still
	Lost        uint64 // offsets without a known result that Kafka removed before they were processed
	Recreated   uint64 // topics that were deleted and created again under the group's positions
	Truncated   uint64 // logs that ended before what was read of them
	Panics      uint64 // calls of the handler that panicked
	Undecodable uint64 // record batches that cannot be decoded, and became dead letters
}

// Stats gives the counts as they are now.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// silentFor is how long a lease or an acknowledgement may be waited for until Ready says so.
const silentFor = 5 * time.Second

var (
	errNoLease  = errors.New("nothing is started, for no commit is confirmed")
	errNoAnswer = errors.New("no answer yet")
)

// stuck says what keeps a runner that has joined from working. The lock is held.
func (r *Runner) stuck(now time.Time) error {
	if s := r.session; !s.wanted.IsZero() && now.Sub(s.wanted) > silentFor {
		return fmt.Errorf("%s: %w: %w", r.cfg.Group, errNoLease, cmp.Or(s.lastErr, errNoAnswer))
	}
	if r.panics.stopped() {
		return fmt.Errorf("%s: nothing is started, for the handler panics for record after record; the next try is at %s",
			r.cfg.Group, r.panics.until.Format(time.TimeOnly))
	}
	for _, c := range r.session.claims {
		if c.trouble != nil && now.Sub(c.troubledAt) > silentFor {
			return fmt.Errorf("%s: %s is not read: %w", r.cfg.Group, c.topicPartition, c.trouble)
		}
	}
	if now.Sub(r.acked) <= silentFor {
		return nil // others are acknowledged: the publisher logs what is not, and [Runner.Waiting] counts it
	}
	waiting, oldest := 0, now
	for _, of := range r.flights {
		for _, f := range of {
			if !f.publishing.IsZero() && now.Sub(f.publishing) > silentFor {
				waiting++
				if f.publishing.Before(oldest) {
					oldest = f.publishing
				}
			}
		}
	}
	if waiting > 0 {
		return fmt.Errorf("%s: %w: the outcomes of %d attempts wait to be published, the first for %s",
			r.cfg.Group, ErrUnavailable, waiting, now.Sub(oldest).Round(time.Second))
	}
	return nil
}
