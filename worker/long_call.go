package worker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A gateway call may take minutes: a mail relay may take ten minutes for its final reply, and until then nobody else must send
// the message. A call that has lasted for longCallAfter is a long call. It releases its handler slot in the runner, and keeps
// its slot in the limiter of the gateway. So the long calls are bounded by the slots of their own gateway. While they hold all
// of these slots, a lane with another gateway in its route does not wait for a slot.

// longCallAfter is the duration after which a call is a long call.
const longCallAfter = 5 * time.Second

// callContexts creates the contexts for the calls of one attempt.
type callContexts struct {
	attempt *kafka.Attempt
	parent  context.Context //nolint:containedctx // the attempt's own
	short   context.Context //nolint:containedctx // with the deadline that all short calls of the attempt share; nil before the first
	last    context.Context //nolint:containedctx // of the call that began last; the parent before the first
	cancels []context.CancelFunc
}

// forGateway returns the context for one call of o.
func (c *callContexts) forGateway(o *Outlet) context.Context {
	if _, long := o.Sender.(gateway.LongSender); long {
		ctx, cancel := c.attempt.UntilDrained(c.parent)
		c.cancels = append(c.cancels, cancel)
		c.last = ctx
		return ctx
	}
	if c.short == nil {
		ctx, cancel := c.attempt.Timeout(c.parent)
		c.short = ctx
		c.cancels = append(c.cancels, cancel)
	}
	c.last = c.short
	return c.short
}

func (c *callContexts) cancel() {
	for _, cancel := range c.cancels {
		cancel()
	}
}

// markLongCall starts the timer that makes a call of o a long call. Call end when the call has ended.
func (w *Worker) markLongCall(a *kafka.Attempt, o *Outlet) (end func()) {
	var mu sync.Mutex
	ended, unmark := false, func() {}
	timer := time.AfterFunc(longCallAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			unmark = o.Limiter.MarkLong(w.cfg.Lane)
			a.FreeSlot()
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		unmark()
	}
}

// anyAvailable reports whether one of the gateways would be called for j now.
func (w *Worker) anyAvailable(j *job, outlets []*Outlet) bool {
	for _, o := range outlets {
		if !w.senderBlocked(j, o) && j.canContinueAt(o) && !w.cfg.Control.PausedGateway(o.Name) && o.Breaker.State() == gateway.BreakerClosed {
			return true
		}
	}
	return false
}

// probeMayDuplicate reports whether a probe of o with j may send a second copy of a message that o has accepted. It is true only
// for gateways with long calls: for the others a check without a message would tell too little about whether they accept one.
func (j *job) probeMayDuplicate(o *Outlet, pass gateway.Pass) bool {
	_, long := o.Sender.(gateway.LongSender)
	return long && pass.Probe() && j.mayHaveAccepted(o.Name)
}

// mayHaveAccepted reports whether the gateway may have accepted j, in this step or in an earlier one.
func (j *job) mayHaveAccepted(name string) bool {
	return slices.Contains(strings.Split(j.doubtfulGateways, ","), name) ||
		slices.ContainsFunc(j.tries, func(t notify.Try) bool { return t.Gateway == name && t.Verdict == notify.Ambiguous })
}
