package kafka

import (
	"context"
	"time"
)

// A call of the handler may last for minutes: a mail relay may take ten of them for its final reply. Such a call must not use
// up the slots of its lane, whose other records go to other gateways. Its handler frees the slot, and the call goes on: it
// keeps its key and its place in the window, counts as in flight, and is waited for by a drain. The handler bounds these
// calls itself, since the runner cannot tell one gateway from another.

// publishMargin is how much of a drain is left for the outcome of a call that the drain ends, at most; a quarter of a
// short drain.
const publishMargin = 2 * time.Second

// FreeSlot gives the slot of the attempt back while its call goes on. More than once has no effect.
func (a *Attempt) FreeSlot() {
	if a.runner == nil {
		a.Played.freeSlot()
		return
	}
	r, f := a.runner, a.flight
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.long || !f.publishing.IsZero() || r.flights[f.topicPartition][f.offset] != f {
		return // or the handler has returned meanwhile
	}
	f.long = true
	r.busy--
	r.long++
	r.dispatch()
}

// UntilDrained returns a context for a call that may last longer than [Attempt.Timeout] allows. It ends with ctx. Once the
// partition is revoked or the process ends, it ends early enough in the drain for the outcome to be published.
func (a *Attempt) UntilDrained(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if a.runner == nil {
		stop := context.AfterFunc(a.Played.claimed(), cancel)
		return ctx, func() { stop(); cancel() }
	}
	drain := a.runner.cfg.Drain
	stop := context.AfterFunc(a.Claimed(), func() {
		select {
		case <-ctx.Done():
		case <-time.After(drain - min(publishMargin, drain/4)):
			cancel()
		}
	})
	return ctx, func() { stop(); cancel() }
}

// freeSlot gives back the slot of f, unless [Attempt.FreeSlot] has. The lock is held.
func (r *Runner) freeSlot(f *flight) {
	if f.long {
		r.long--
	} else {
		r.busy--
	}
}
