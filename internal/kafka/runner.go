package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Runner reads the topics of one group and gives their records to a handler: in order per key, at once otherwise, each
// done once unless something was killed in the middle of it.
type Runner struct {
	cfg     RunnerConfig
	log     *zap.Logger
	offsets *offsets
	reader  *partitionReader
	large   sync.Mutex // see cursor

	mu        sync.Mutex // guards all below and all state of sessions, claims and flights
	session   *session   // nil between sessions
	flights   map[topicPartition]map[int64]*flight
	busy      int         // slots taken
	long      int         // calls that go on without a slot
	room      room        // outcomes that wait without a slot
	acked     time.Time   // when an outcome was acknowledged last
	held      bool        // see Hold
	bytes     int64       // of the unfinished records of all claims
	cluster   string      // Kafka's cluster id, once known
	lastErr   error       // why there is no session
	rebuild   func(error) // ends the present group client; nil without one
	cut       func()      // closes the connections of the present group client; nil without one
	rebuilt   map[topicPartition]int64
	known     map[string]TopicID // ids of topics as this process has seen them last
	attempts  sync.WaitGroup
	waitlists map[topicPartition]*waitlist
	hands     hands
	wakeups   wakeups
	stats     Stats
	panics    panics
	waiting   map[string]Backlog // see Backlog
	life      context.Context    // ends when what is still running must end
}

// NewRunner checks cfg; [Runner.Run] connects.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Kafka.Validate(); err != nil {
		return nil, err
	}
	if rebalance := cfg.Kafka.withDefaults().Group.RebalanceTimeout; cfg.Drain >= rebalance {
		return nil, fmt.Errorf("the drain (%s) must end before the rebalance timeout (%s)", cfg.Drain, rebalance)
	}
	o, err := newOffsets(cfg.Kafka, cfg.Group)
	if err != nil {
		return nil, err
	}
	sc, err := cfg.Kafka.commits()
	if err != nil {
		return nil, err
	}
	return &Runner{
		cfg: cfg, log: cfg.Log.With(zap.String("group", cfg.Group)), offsets: o,
		reader:  newPartitionReader(newLazyClient(cfg.Kafka.Brokers, sc)),
		flights: map[topicPartition]map[int64]*flight{}, rebuilt: map[topicPartition]int64{},
		known:   map[string]TopicID{},
		lastErr: errors.New("not joined yet"),
	}, nil
}

// AddTopic makes [Runner.Run], which must not have begun, read one more topic.
func (r *Runner) AddTopic(topic string) { r.cfg.Topics = append(slices.Clone(r.cfg.Topics), topic) }

// afterDrain is how long Run goes on at most, once its ctx has ended and the drain is over: for the last commits, for
// leaving the group, and for attempts that have outlasted the drain.
const afterDrain = 5 * time.Second

// Run works until ctx ends, then drains and returns. Kafka being away is no reason to end.
func (r *Runner) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer r.hands.dismiss()
	defer end()
	defer r.offsets.conn.close()
	defer context.AfterFunc(life, r.offsets.conn.cut)()
	defer r.reader.close()
	r.life = life
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(r.cfg.Drain+afterDrain, end) })
	defer stop()

	var background sync.WaitGroup
	defer background.Wait()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	background.Go(func() { r.watch(watch) })
	background.Go(func() { r.measure(watch) })
	background.Go(func() { r.trim(watch) })

	log := newSeldom(r.log)
	for ctx.Err() == nil {
		err := r.join(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		r.failed(err)
		log.warn("no group session", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	r.await(&r.attempts, life.Done())
	return nil
}

func (r *Runner) await(wg *sync.WaitGroup, end <-chan struct{}) {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-end:
		if n := r.InFlight(); n > 0 {
			r.log.Warn("attempts are still running; their outcome is unknown", zap.Int("attempts", n))
		}
		select { // their deadlines are over with life
		case <-done:
		case <-time.After(2 * time.Second):
		}
	}
}

// join makes a group client and consumes with it, session after session, until it fails or is rebuilt.
func (r *Runner) join(ctx context.Context) error {
	if err := r.learnCluster(); err != nil {
		return err
	}
	sc, err := r.groupConfig()
	if err != nil {
		return err
	}
	life, cut := context.WithCancel(r.life)
	defer cut()
	bound(life, sc, r.cfg.Kafka.Brokers) // leaving the group must not wait for a frozen broker's answer
	client, err := newGroupClient(r.cfg.Kafka.Brokers, sc)
	if err != nil {
		return fmt.Errorf("join %s: %w", r.cfg.Group, err)
	}
	defer func() { _ = client.Close() }()
	group, err := sarama.NewConsumerGroupFromClient(r.cfg.Group, client)
	if err != nil {
		return fmt.Errorf("join %s: %w", r.cfg.Group, err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		for err := range group.Errors() {
			r.log.Debug("consumer group", zap.Error(err))
		}
	})
	defer reader.Wait()
	defer func() { _ = group.Close() }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	r.rebuild, r.cut = cancel, cut
	r.mu.Unlock()
	return r.consume(ctx, client, group)
}

// leaveFenced joins the group anew at once. Sarama would find out by its next heartbeat, which a frozen or former
// coordinator answers late, or as if nothing had happened. Its connections are cut, since there is nothing to leave. Another
// process with the same instance id keeps its place: to join again would only take it back. The lock is held.
func (r *Runner) leaveFenced(reason error) {
	if r.rebuild == nil || errors.Is(reason, sarama.ErrFencedInstancedId) {
		return
	}
	r.rebuild(reason)
	r.cut()
}

// loseHopeAfter is how long consuming may fail before the client is made anew.
const loseHopeAfter = time.Minute

// consume goes on with the same client while Kafka is away: it keeps its member id. A new member would have to wait until
// the old one, which could not leave, has been given up.
func (r *Runner) consume(ctx context.Context, client sarama.Client, group sarama.ConsumerGroup) error {
	log := newSeldom(r.log)
	worked := time.Now()
	for ctx.Err() == nil {
		err := group.Consume(ctx, r.cfg.Topics, &sessions{r: r, client: client, group: group})
		if err == nil {
			worked = time.Now()
			continue
		}
		if errors.Is(err, sarama.ErrInvalidSessionTimeout) {
			return r.refusedSession(err)
		}
		err = fmt.Errorf("consume %v: %w", r.cfg.Topics, joinFault(err))
		if errors.Is(err, sarama.ErrClosedConsumerGroup) || errors.Is(err, sarama.ErrClosedClient) || time.Since(worked) > loseHopeAfter {
			return err
		}
		r.failed(err)
		log.warn("no group session", err)
		pause(ctx, 250*time.Millisecond)
	}
	return context.Cause(ctx)
}

// failed keeps why there is no session.
func (r *Runner) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
}

func (r *Runner) learnCluster() error {
	r.mu.Lock()
	known := r.cluster != ""
	r.mu.Unlock()
	if known {
		return nil
	}
	id, err := r.offsets.conn.clusterID()
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.cluster = id
	r.mu.Unlock()
	return nil
}

// Ready says why the runner does no work: nil when it has joined its group, taken over what it was given,
// and neither its commits nor its outcomes wait for an answer.
func (r *Runner) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.session == nil:
		return fmt.Errorf("%s: no session: %w", r.cfg.Group, r.lastErr)
	case r.session.fenced:
		return fmt.Errorf("%s: %w", r.cfg.Group, errFenced)
	case r.session.opens > 0:
		return fmt.Errorf("%s: %d partitions are still to be taken over", r.cfg.Group, r.session.opens)
	}
	for _, c := range r.session.claims {
		if !c.taken {
			return fmt.Errorf("%s: taking over %s", r.cfg.Group, c.topicPartition)
		}
	}
	return r.stuck(time.Now())
}

// InFlight is how many attempts are running or wait for the acknowledgement of what they left behind.
func (r *Runner) InFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inFlight()
}
