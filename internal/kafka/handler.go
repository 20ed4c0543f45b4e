package kafka

import (
	"context"
	"time"
)

// Handler does the work of a [Runner], record by record. Records of one key come one after the other, others at once.
type Handler interface {
	// Identify names what r is about. It is pure: asked before a record is skipped because the ledger says that it is
	// done, and compared with what the ledger says. A follow-on that a take-over has found comes without key and value: its
	// headers have to tell.
	Identify(r *Record) string
	// Handle runs one attempt. ctx lives longer than the session: what has begun to call a provider ends by its own
	// deadline, [Attempt.Timeout], and not by a rebalance. A Handle that waits before it calls one ends its waiting with
	// [Attempt.Claimed] and asks [Attempt.MayStart] once more. It keeps its slot until it returns, or calls [Attempt.FreeSlot].
	Handle(ctx context.Context, a *Attempt) Result
}

// Result is what becomes of an attempt. The zero value is done without an outcome.
type Result struct {
	// Again, when not zero, asks for another call at that time: the key is kept, the slot is freed, nothing is
	// published, and at a revoke the record is left uncommitted. The fields below are ignored.
	Again time.Time
	// Carry is given to the next call as Attempt.Carry.
	Carry any

	// Follow are records that must be acknowledged before the outcome is published.
	// Those that go to one of [RunnerConfig.FollowTopics] get [HeaderSource].
	Follow []Message
	// Intended says that an intent of this job is on the ledger: a later owner waits for what becomes of the job, so its
	// follow-ons count however late they come.
	Intended bool
	// Outcome is the event that ends the job; nil publishes none.
	Outcome *Outcome
	// Ended, when not nil, is called once all of it is acknowledged, before the next record of the key starts; never when
	// the process ends first. It does not block, and asks nothing of the runner, whose lock is held. published is Outcome, or what [RunnerConfig.Shrink] put in its place.
	Ended func(published *Outcome)
	// Void, when not nil, is called in its place when what the attempt has left behind does not count, or when nobody here
	// knows: the partition has another owner, for which the job is undone.
	Void func()

	// Panicked says that the handler has recovered from a panic by itself. A runner whose handler panics for many records
	// stops.
	Panicked bool

	cut bool // the value of the one follow-on is cut to what its topic takes
}

// Outcome is the event that a job leaves on the ledger topic. The runner adds the ledger headers (ls-kind, ls-group,
// ls-job-topic, ls-job-topic-id, ls-job-partition, ls-job-offset, ls-id) and chooses the partition.
type Outcome struct {
	ID      string // what Identify says of the record; asked for when empty
	Key     []byte
	Value   []byte
	Headers []Header // ls-run and ls-step
}

// Attempt is one call of a handler.
type Attempt struct {
	*Record
	Carry  any     // what the call before left in Result.Carry; nil at the first
	Played *Played // in place of a runner; nil in all that a runner makes
	runner *Runner // nil in what a test makes
	flight *flight
	intent *intent
	left   *Record // see Left
	begun  bool    // see MayRepeat

	crowded bool // see Crowded
}

// Timeout is ctx with the deadline of one attempt, counted from now.
func (a *Attempt) Timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.runner == nil {
		return a.Played.timeout(ctx)
	}
	return context.WithTimeout(ctx, a.runner.cfg.AttemptTimeout)
}

// Claimed ends when the partition is revoked or the process ends: whoever has not called a provider by then must not.
func (a *Attempt) Claimed() context.Context {
	if a.runner == nil {
		return a.Played.claimed()
	}
	return a.flight.claim.claimed
}

// MayStart reports whether the lease on the partition still holds; without it no provider may be called.
func (a *Attempt) MayStart() bool {
	if a.runner == nil {
		return a.Played.mayStart()
	}
	return a.runner.mayStart(a.flight)
}

// Owned reports whether the partition is known to be ours still, also while it drains. Whoever was frozen may have lost it to
// somebody who does the job anew: then nothing but the job's end may be published.
func (a *Attempt) Owned() bool {
	if a.runner == nil {
		return a.Played.owned()
	}
	return a.runner.owns(a.flight)
}

// Blocks reports whether the partition stands still for this record: its window is full, and all in it waits for records
// that ask to be called again.
func (a *Attempt) Blocks() bool {
	if a.runner == nil {
		return a.Played.blocks()
	}
	r := a.runner
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.owner(a.flight.topicPartition)
	return c != nil && c.full() && c.running <= 1 && c.queued.empty() && c.called.empty()
}

// Pause stops the record's partition: nothing more is fetched and nothing that is queued is started, until [Claim.Resume].
// Calls that were asked for with Result.Again still come. It ends with the claim. An attempt that has outlived its own
// claim holds the next one only when the record's turn has come there: else nobody would be called again to resume it.
func (a *Attempt) Pause() *Claim {
	if a.runner == nil {
		return a.Played.pause()
	}
	h := &Claim{runner: a.runner, tp: a.flight.topicPartition}
	h.hold(a.Offset)
	return h
}
