package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// claim is one partition while this member owns it. Its goroutine (own) feeds it; attempts and commits reach into it
// under the runner's lock.
type claim struct {
	r       *Runner
	session *session
	topicPartition
	progress
	ledgerCount, ledgerPartition int32
	jobID, ledgerID              TopicID     // as they were at the take-over; what is committed is about these topics
	epoch                        leaderEpoch // the newest that was read; what is committed is about this log

	worked    bool // it has started something
	by        generation
	fences    fences
	fenceText string              // of fences, for commits
	follows   map[int64]*followOn // what the take-over has found, by the offset of the job; until the job ends
	since     time.Time           // from when on the take-over has looked for them
	lastEnd   time.Time           // when an outcome was handed over last

	items   map[int64]*item // all that was fetched and is not done, by offset
	lines   lines
	called  fifo[*item]     // to be called again: their handlers have seen them, so a held claim starts them too
	queued  fifo[*item]     // first of their line, not started
	parked  fifo[*item]     // beyond the span that a commit can describe
	backlog []arrivedRecord // fetched from beyond what the ledger was read for
	early   []entry         // done before progress was restored, by attempts of earlier claims

	taken    bool // the take-over is complete
	over     bool // revoked
	held     bool // paused by its handler
	paused   bool // left out of fetches
	draining bool
	overflow bool // the done bits do not fit a commit
	last     draft
	running  int       // attempts, until what they left behind is acknowledged
	calling  int       // of them, those whose handler runs
	waiting  *waitlist // see waits
	bytes    int64
	moved    time.Time     // when a record arrived last, or the claim began
	takenAt  time.Time     // when the take-over was complete
	newest   int64         // the log's end when it was asked for last
	short    shortfall     // of the log, while it ends before what was read
	void     error         // the claim must end: what its position means has ended
	losing   sync.Mutex    // one gap is published at a time; guards gapTo
	gapTo    int64         // gaps below are published
	kick     chan struct{} // something changed that the owner acts on
	room     chan struct{} // something changed that the one who reads acts on

	trouble    error     // why reading makes no progress
	troubledAt time.Time // since when
	log        *seldom   // of the one who reads

	claimed context.Context // ends when the claim does: whoever waits before it calls a provider waits no longer
	unclaim context.CancelFunc
}

// open begins a claim. From here on whatever this process still has in flight of the partition, from earlier sessions,
// pins L and reports to this claim.
func (r *Runner) open(s *session, in sarama.ConsumerGroupClaim) *claim {
	c := &claim{
		r: r, session: s, paused: true, topicPartition: topicPartition{in.Topic(), in.Partition()}, progress: newProgress(0),
		items: map[int64]*item{}, lines: lines{}, moved: time.Now(), kick: make(chan struct{}, 1), room: make(chan struct{}, 1),
		log: newSeldom(r.log),
	}
	c.claimed, c.unclaim = context.WithCancel(context.Background())
	r.mu.Lock()
	defer r.mu.Unlock()
	s.claims = append(s.claims, c)
	s.opens--
	return c
}

// patience is how long a drain goes on waiting from now on: for ever while a handler runs. The lock is held.
func (c *claim) patience(now time.Time) time.Duration {
	if c.calling > 0 {
		return c.r.cfg.Drain
	}
	return drainSilence - c.waits().quiet(now)
}

// close ends a claim: what it had not started is left to the next owner.
func (r *Runner) close(c *claim) {
	c.unclaim()
	r.mu.Lock()
	defer r.mu.Unlock()
	c.over = true
	for _, it := range c.items {
		r.wakeups.remove(it)
	}
	c.release(c.bytes)
	for i, x := range c.session.claims {
		if x == c {
			c.session.claims = append(c.session.claims[:i:i], c.session.claims[i+1:]...)
			break
		}
	}
}

// owner gives the claim that holds tp now, if this process does. The lock is held.
func (r *Runner) owner(tp topicPartition) *claim {
	if r.session == nil {
		return nil
	}
	for _, c := range r.session.claims {
		if c.topicPartition == tp && !c.over {
			return c
		}
	}
	return nil
}

// own takes the claim over and reads it until it is revoked, then drains. Sarama's own consumer of the partition stays paused
// for good: see [groupClient].
func (c *claim) own(ctx context.Context) error {
	c.session.group.Pause(map[string][]int32{c.topic: {c.partition}})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	taken := make(chan error, 1)
	go func() { taken <- c.takeOver(ctx) }()
	var reading sync.WaitGroup
	defer reading.Wait()
	reads := false
	var failed error
	for over := false; !over; {
		select {
		case <-c.kick:
			failed = c.voidError()
			over = failed != nil
		case failed = <-taken:
			taken, over = nil, failed != nil
			if !reads && !over {
				reads = true
				reading.Go(func() { c.consume(ctx) })
			}
		case <-ctx.Done():
			over = true
		}
		if taken == nil && !over && c.readFurther() {
			again := make(chan error, 1)
			taken = again
			go func() { again <- c.takeOverAgain(ctx) }()
		}
		c.wakeReader()
	}
	cancel()
	c.drain()
	if taken != nil {
		<-taken //nolint:errcheck // the claim is over: what became of its take-over no longer matters
	}
	return failed
}

// wakeReader wakes the goroutine that reads, see awaitRoom.
func (c *claim) wakeReader() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// notice wakes the owner when there is something for it to do. The lock is held.
func (c *claim) notice() {
	if c.wantPause() != c.paused || c.exhausted() || c.draining && c.calling == 0 {
		c.wake()
	}
}

func (c *claim) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// drainSilence is for how long a drain waits for an acknowledgement when nothing else is left and none comes.
const drainSilence = 2 * time.Second

// drain starts nothing more, waits for what has been started and commits. What outlives it stays in flight: its outcome
// goes to the ledger, and to the partition's next claim if that is ours. With no call left it does not wait for a Kafka
// that is away: the sooner the member joins again, the sooner its partitions are served.
func (c *claim) drain() {
	r := c.r
	c.unclaim()
	r.mu.Lock()
	first, inFlight := !c.session.over, r.inFlight()
	c.session.over = true
	c.draining = true
	r.mu.Unlock()
	if first {
		r.log.Info("session ends", zap.Int("in_flight", inFlight))
	}
	limit := time.NewTimer(r.cfg.Drain)
	defer limit.Stop()
	for {
		r.mu.Lock()
		idle, patience := c.running == 0, c.patience(time.Now())
		r.mu.Unlock()
		if idle {
			break
		}
		if patience <= 0 {
			r.log.Warn("Kafka acknowledges no outcomes; the drain ends without them", zap.Stringer("claim", c.topicPartition))
			break
		}
		select {
		case <-c.kick:
			continue
		case <-time.After(patience):
			continue
		case <-limit.C:
			r.log.Warn("attempts outlast the drain", zap.Stringer("claim", c.topicPartition))
		}
		break
	}
	mine := func() []*claim {
		if c.taken && (c.hasNews() || c.worked && !c.last.orderly) {
			return []*claim{c}
		}
		return nil
	}
	if err := c.session.commit(mine); err != nil && !errors.Is(err, errFenced) {
		r.log.Warn("last commit of a claim", zap.Stringer("claim", c.topicPartition), zap.Error(err))
	}
}
