package status

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Store is where the recorder writes. An error that is none of this package's is trouble that may pass: it is tried again.
type Store interface {
	// Lease takes or renews the right to record, for ttl from now on; held is false while another process has it. With a
	// ttl of 0 it is given back.
	Lease(ctx context.Context, holder string, ttl time.Duration) (held bool, err error)
	// Cluster fails when the store is filled from another Kafka.
	Cluster(ctx context.Context, id string) error
	// Positions says how far each partition has been read; it leaves out those that have not been.
	Positions(ctx context.Context) ([]Position, error)
	// Record takes the whole batch or nothing of it: [ErrMoved], [ErrNotHeld].
	Record(ctx context.Context, holder string, b Batch) error
}

// Source reads the topics, see [kafka.Follower].
type Source interface {
	Run(ctx context.Context, from kafka.From, out chan<- []kafka.Chunk) error
}

// Config is what a [Recorder] works with.
type Config struct {
	Store   Store
	Source  Source
	Reading Reading
	Commit  func([]Position) error // tells the embedded broker, and those who watch consumer groups, how far it is; nil: nobody
	// Publish puts a gap that the recorder has found on the status topic; nil keeps it in the store alone.
	Publish func(ctx context.Context, g Gap) error
	Log     *zap.Logger
	Metrics prometheus.Registerer // nil: they are kept to themselves
}

// Recorder fills the store while it holds the lease.
type Recorder struct {
	cfg    Config
	holder string
	gauge  *gauge
	log    *seldom
	wake   chan struct{}
}

// How long the lease lasts, and how often it is renewed or asked for.
const (
	leaseFor   = 5 * time.Second
	leaseEvery = time.Second
)

// NewRecorder makes a recorder that does nothing before [Recorder.Run].
func NewRecorder(cfg Config) *Recorder {
	return &Recorder{
		cfg: cfg, holder: notify.NewID(), gauge: newGauge(cfg.Metrics), log: newSeldom(cfg.Log), wake: make(chan struct{}, 1),
	}
}

// Woken receives soon after something new is in the store; what came meanwhile counts once. It is for one reader.
func (r *Recorder) Woken() <-chan struct{} { return r.wake }

// Recording reports whether this process is the one that records.
func (r *Recorder) Recording() bool { return r.gauge.active.Load() }

// Identify is that of [Reading], once Run has begun.
func (r *Recorder) Identify(rec *kafka.Record) string { return r.cfg.Reading.Identify(rec) }

// Run records what the Kafka cluster of that id holds, until ctx ends. A store that is away is waited for, and so is the
// lease.
func (r *Recorder) Run(ctx context.Context, cluster string) error {
	r.cfg.Reading.Cluster = cluster
	defer r.release(ctx)
	for ctx.Err() == nil {
		err := r.turn(ctx)
		if errors.Is(err, ErrMoved) {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		if err != nil && ctx.Err() == nil {
			r.trouble("the status store is not being filled; trying again", err)
		}
		pause(ctx, leaseEvery)
	}
	return nil
}

// turn records while the lease is held. ErrNotHeld is no error: somebody else does it.
func (r *Recorder) turn(ctx context.Context) error {
	held, err := r.cfg.Store.Lease(ctx, r.holder, leaseFor)
	if err != nil || !held {
		return err
	}
	if err := r.cfg.Store.Cluster(ctx, r.cfg.Reading.Cluster); err != nil {
		return err
	}
	at, err := r.cfg.Store.Positions(ctx)
	if err != nil {
		return err
	}
	r.gauge.begin()
	defer r.gauge.end()
	err = r.tenure(ctx, at)
	if errors.Is(err, ErrNotHeld) {
		r.cfg.Log.Info("another process fills the status store now")
		return nil
	}
	return err
}

// tenure reads and writes until ctx or the lease ends, or the store is not where it is thought to be.
func (r *Recorder) tenure(ctx context.Context, at []Position) error {
	r.cfg.Log.Info("this process fills the status store", zap.Int("partitions", len(at)))
	w := &writer{Recorder: r, at: newPositions(at)}
	read := make(chan []kafka.Chunk)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.cfg.Source.Run(ctx, w.at.from, read) })
	group.Go(func() error { return w.run(ctx, read) })
	group.Go(func() error { return r.renew(ctx, w.at) })
	group.Go(func() error { return r.tell(ctx, w.at) })
	return group.Wait()
}

// renew keeps the lease, and notices that the store was emptied while nothing comes in. A store that is away does not end the
// tenure: what is in hand goes in when it is back, unless another process has been there first.
func (r *Recorder) renew(ctx context.Context, at *positions) error {
	for pause(ctx, leaseEvery) {
		if held, err := r.cfg.Store.Lease(ctx, r.holder, leaseFor); err == nil && !held {
			return ErrNotHeld
		}
		ours := at.all() // asked first: what it has, the store has had
		if theirs, err := r.cfg.Store.Positions(ctx); err == nil && !newPositions(theirs).have(ours) {
			return ErrMoved
		}
	}
	return nil
}

// release lets the next one begin at once.
func (r *Recorder) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = r.cfg.Store.Lease(ctx, r.holder, 0)
}

// tell commits the positions to a group that nobody reads by: every second when there is news, since the embedded broker
// keeps what has not been read, and every ten seconds all the same, since a real one forgets what it is not told again.
func (r *Recorder) tell(ctx context.Context, at *positions) error {
	for n := 1; r.cfg.Commit != nil && pause(ctx, time.Second); n++ {
		if !at.news() && n%10 != 0 {
			continue
		}
		if err := r.cfg.Commit(at.all()); err != nil {
			r.cfg.Log.Debug("positions of the recorder's group", zap.Error(err))
		}
	}
	return nil
}

func (r *Recorder) trouble(msg string, err error) {
	r.gauge.failures.Inc()
	r.log.warn(msg, err)
}

// pause gives false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
