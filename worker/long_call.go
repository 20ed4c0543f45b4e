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

// A gateway may be called for minutes: a mail relay may take ten of them for its final reply, and until then nobody else must
// send the message. A call that has lasted for longCall is long. It gives its slot in the lane back and keeps its place at
// the gateway, so long calls are bounded by the places of their own gateway. While they have all of them, a lane that has
// another gateway in its route does not wait for a place.

// longCall is when a call begins to be long.
const longCall = 5 * time.Second

// callsOf are the contexts of the calls of one attempt.
type callsOf struct {
	a     *kafka.Attempt
	life  context.Context //nolint:containedctx // the attempt's own
	short context.Context //nolint:containedctx // with the deadline that all short calls of the attempt share; nil before the first
	ends  []context.CancelFunc
}

// of returns the context for one call of o.
func (c *callsOf) of(o *Outlet) context.Context {
	if _, long := o.Sender.(gateway.LongSender); long {
		ctx, end := c.a.UntilDrained(c.life)
		c.ends = append(c.ends, end)
		return ctx
	}
	if c.short == nil {
		ctx, end := c.a.Timeout(c.life)
		c.short, c.ends = ctx, append(c.ends, end)
	}
	return c.short
}

func (c *callsOf) end() {
	for _, end := range c.ends {
		end()
	}
}

// whileLong makes a call of o long when its time has come. The call ends with the function that is returned.
func (w *Worker) whileLong(a *kafka.Attempt, o *Outlet) (end func()) {
	var mu sync.Mutex
	ended, counted := false, func() {}
	timer := time.AfterFunc(longCall, func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			counted = o.Limiter.Long(w.cfg.Lane)
			a.FreeSlot()
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		counted()
	}
}

// another reports whether one of the gateways would be asked for j now.
func (w *Worker) another(j *job, outlets []*Outlet) bool {
	for _, o := range outlets {
		if !w.blocked(j, o) && j.fits(o) && !w.cfg.Control.PausedGateway(o.Name) && o.Breaker.State() == gateway.BreakerClosed {
			return true
		}
	}
	return false
}

// copies reports whether a probe of o with j may send a copy of a message that o has accepted. Only a gateway of long calls is
// checked in its place: the check of another one tells little of whether it would accept a message.
func (j *job) copies(o *Outlet, pass gateway.Pass) bool {
	_, long := o.Sender.(gateway.LongSender)
	return long && pass.Probe() && j.mayHave(o.Name)
}

// mayHave reports whether the gateway may have accepted j before, in this step or in an earlier one.
func (j *job) mayHave(name string) bool {
	return slices.Contains(strings.Split(j.inDoubt, ","), name) ||
		slices.ContainsFunc(j.tries, func(t notify.Try) bool { return t.Gateway == name && t.Verdict == notify.Ambiguous })
}
