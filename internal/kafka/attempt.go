package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"
)

// flight is an attempt that is running. It may outlive the session that started it: until it ends its offset is neither
// done nor free to be started again in this process.
type flight struct {
	topicPartition
	offset          int64
	claim           *claim // that started it
	rec             *Record
	publishing      time.Time // since when its records wait to be acknowledged; zero before
	ledgerPartition int32
	pinned          bool
	pin             int64 // the ledger's end as known at the first hand-off
}

// afterPanic is when a record is called again whose handler has panicked.
const afterPanic = 10 * time.Second

// afterTooLarge is when a record is published again that its topic has refused without its value.
const afterTooLarge = 30 * time.Second

// start takes a slot for it and runs it. The lock is held.
func (r *Runner) start(c *claim, it *item) {
	f := &flight{topicPartition: c.topicPartition, offset: it.rec.Offset, claim: c, rec: it.rec, ledgerPartition: c.ledgerPartition}
	of := r.flights[c.topicPartition]
	if of == nil {
		of = map[int64]*flight{}
		r.flights[c.topicPartition] = of
	}
	of[f.offset] = f
	r.busy++
	c.running++
	r.attempts.Add(1)
	r.hands.give(func() {
		defer r.attempts.Done()
		r.run(f, it)
	})
}

// run is one attempt: provider → follow-ons acknowledged → outcome acknowledged → done.
func (r *Runner) run(f *flight, it *item) {
	if !r.mayStart(f) { // this goroutine may have slept since the slot was taken
		r.land(f, Result{Again: time.Now(), Carry: it.carry})
		return
	}
	a := &Attempt{Record: it.rec, Carry: it.carry, runner: r, flight: f, intent: it.intent}
	res := r.call(r.life, a)
	if res.Again.IsZero() {
		if o, err := r.publish(f, it.rec, res); err != nil {
			r.log.Warn("an attempt ends with its outcome unpublished", zap.Stringer("claim", f.topicPartition),
				zap.Int64("offset", f.offset), zap.Error(err))
			res = Result{Again: time.Now()} // life is over: not done, whatever comes next
		} else if res.Ended != nil {
			res.Ended(o)
		}
	}
	r.land(f, res)
}

func (r *Runner) call(ctx context.Context, a *Attempt) (res Result) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("handler panicked", zap.String("topic", a.Topic), zap.Int32("partition", a.Partition),
				zap.Int64("offset", a.Offset), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			res = Result{Again: time.Now().Add(afterPanic), Carry: a.Carry}
		}
	}()
	return r.cfg.Handler.Handle(ctx, a)
}

// publish ends only with acknowledgements, or with life. It gives the outcome that it has published.
func (r *Runner) publish(f *flight, rec *Record, res Result) (*Outcome, error) {
	r.mu.Lock()
	f.publishing = time.Now()
	r.mu.Unlock()
	o, err := r.follow(rec, res)
	if err != nil || o == nil {
		return nil, err
	}
	r.handOff(f)
	m := Message{
		Topic: r.cfg.Ledger.topic, Partition: f.ledgerPartition, Key: o.Key, Value: o.Value,
		Headers: append(r.entry(f, rec, KindOutcome, o.ID), o.Headers...),
	}
	partition, offset, err := r.surely(m)
	if err != nil {
		return nil, err
	}
	r.cfg.Ledger.raise(partition, offset)
	return o, nil
}

// follow publishes the follow-ons, or what takes the place of one that is too large, and gives the outcome that comes after
// them.
func (r *Runner) follow(rec *Record, res Result) (*Outcome, error) {
	res.Follow = slices.Clone(res.Follow)
	for len(res.Follow) > 0 {
		m := res.Follow[0]
		if m.Value != nil {
			_, _, err := r.cfg.Publisher.PublishForever(r.life, m)
			if errors.Is(err, ErrTooLarge) {
				r.log.Error("a record is too large for its topic; another takes its place", zap.String("topic", m.Topic), zap.Int("bytes", len(m.Value)))
				res = r.cfg.Shrink(rec, res)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("publish to %s: %w", m.Topic, err)
			}
		} else if _, _, err := r.surely(m); err != nil {
			return nil, err
		}
		res.Follow = res.Follow[1:]
	}
	return res.Outcome, nil
}

// surely publishes m, without its value when it is too large with it.
func (r *Runner) surely(m Message) (partition int32, offset int64, err error) {
	partition, offset, err = r.cfg.Publisher.PublishForever(r.life, m)
	for errors.Is(err, ErrTooLarge) && r.life.Err() == nil { // to give up would repeat the attempt, again and again
		if m.Value == nil {
			r.log.Error("a record is too large even without its value; it waits until its topic takes it: raise max.message.bytes", zap.String("topic", m.Topic))
			pause(r.life, afterTooLarge)
		}
		m.Value = nil
		partition, offset, err = r.cfg.Publisher.PublishForever(r.life, m)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("publish to %s: %w", m.Topic, err)
	}
	return partition, offset, nil
}

func (r *Runner) entry(f *flight, rec *Record, kind, id string) []Header {
	if id == "" {
		id = r.cfg.Handler.Identify(rec)
	}
	return entry{kind: kind, group: r.cfg.Group, job: f.topicPartition, jobOffset: f.offset, id: id}.headers()
}

// handOff pins L, here and on the claim that owns the partition now, before anything of f goes to the ledger.
func (r *Runner) handOff(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !f.pinned {
		f.pinned, f.pin = true, r.cfg.Ledger.known(f.ledgerPartition)
	}
	if c := r.owner(f.topicPartition); c != nil {
		c.handOff(f.offset, f.pin)
	}
}

func (r *Runner) mayStart(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !f.claim.over && r.session == f.claim.session && f.claim.session.mayStart()
}

func (r *Runner) owns(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := f.claim.session
	return !f.claim.over && !s.fenced && s.leaseHolds()
}

// land ends a flight: its memory and the done bit, or its next call, change in one step.
func (r *Runner) land(f *flight, res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights[f.topicPartition], f.offset)
	r.busy--
	f.claim.running--
	f.claim.notice()
	if c := r.owner(f.topicPartition); c != nil {
		if !res.Again.IsZero() {
			c.again(f, res)
		} else if c == f.claim {
			c.ended(f.offset)
		} else {
			c.inherit(f)
		}
	}
	r.dispatch()
}

// inherit takes the end of an attempt that an earlier claim has started. What is at its offset now may be another job,
// for the topic may have been made anew meanwhile. The lock is held.
func (c *claim) inherit(f *flight) {
	it := c.items[f.offset]
	switch {
	case it == nil: // not fetched yet
		id := c.r.cfg.Handler.Identify(f.rec)
		if !f.pinned {
			f.pin = c.r.cfg.Ledger.known(c.ledgerPartition)
		}
		c.early = append(c.early, entry{jobOffset: f.offset, at: f.pin, id: id})
		c.readOutcome(f.offset, f.pin, id)
	case c.sameJob(f, it):
		c.ended(f.offset)
	default:
		c.unlike(f.offset)
		c.startAnew(it)
	}
}

// sameJob reports whether it is what f attempts. Of its own claim it always is.
func (c *claim) sameJob(f *flight, it *item) bool {
	return f.claim == c || c.r.cfg.Handler.Identify(it.rec) == c.r.cfg.Handler.Identify(f.rec)
}

// startAnew lets a job begin that an attempt of another one, at the same offset, has kept waiting.
func (c *claim) startAnew(it *item) {
	delete(c.pins, it.rec.Offset)
	if c.lines.first(it) {
		c.enqueue(it, &c.queued)
	}
}

func (c *claim) unlike(offset int64) {
	c.r.stats.Mismatches++
	c.r.log.Warn("another job is said to be done at this offset; the topic was made anew?",
		zap.Stringer("claim", c.topicPartition), zap.Int64("offset", offset))
}

// again calls f's record again at the time that its handler asked for. What is at its offset now may be another job, as
// for inherit: that one must not go on with what was read of the first. The lock is held.
func (c *claim) again(f *flight, res Result) {
	it := c.items[f.offset]
	if it == nil {
		return // not fetched yet; then it is called from the start
	}
	if !c.sameJob(f, it) {
		c.startAnew(it)
		return
	}
	it.carry = res.Carry
	if !c.lines.first(it) { // begun in an earlier session; in this one, others of its key come first
		return
	}
	wait := time.Until(res.Again)
	if wait <= 0 {
		c.enqueue(it, &c.called)
		return
	}
	it.timer = time.AfterFunc(wait, func() {
		c.r.mu.Lock()
		defer c.r.mu.Unlock()
		if c.over {
			return
		}
		c.enqueue(it, &c.called)
		c.r.dispatch()
	})
}
