package worker

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// slow is a gateway with long calls. Each call waits for an answer from the test.
type slow struct {
	answer    chan error
	patiently int // calls that no other gateway could have taken
	quickly   int
	checks    int
	check     error
}

func newSlow() *slow { return &slow{answer: make(chan error)} }

func (s *slow) wait(ctx context.Context) (notify.Receipt, error) {
	select {
	case err := <-s.answer:
		return notify.Receipt{}, err
	case <-ctx.Done():
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Ambiguous, Err: ctx.Err()}
	}
}

func (s *slow) Send(ctx context.Context, _ *notify.Message) (notify.Receipt, error) {
	s.quickly++
	return s.wait(ctx)
}

func (s *slow) SendPatiently(ctx context.Context, _ *notify.Message) (notify.Receipt, error) {
	s.patiently++
	return s.wait(ctx)
}

func (s *slow) Check(context.Context) error { s.checks++; return s.check }
func (s *slow) Close() error                { return nil }

// callers is a worker whose calls run concurrently.
type callers struct {
	*Worker
	t     *testing.T
	n     int64
	freed atomic.Int32 // slots
	hold  bool
}

func newCallers(t *testing.T, change func(*Config), outlets ...*Outlet) *callers {
	return &callers{t: t, Worker: newWorker(nil, func(c *Config) {
		c.Route = &Route{Outlets: outlets}
		if change != nil {
			change(c)
		}
	})}
}

// send starts a call and returns a channel with its result.
func (l *callers) send(claimed context.Context, headers ...string) chan kafka.Result {
	l.n++
	value := mail
	if l.hold {
		value = mailWith(`"on_ambiguous":"hold"`)
	}
	r := record(strings.Replace(value, someID, notify.NewID(), 1), headers...)
	r.Offset = l.n
	out := make(chan kafka.Result, 1)
	go func() {
		out <- l.Handle(context.Background(), &kafka.Attempt{Record: r, Played: &kafka.Played{Claimed: claimed, FreeSlot: func() { l.freed.Add(1) }}})
	}()
	synctest.Wait()
	return out
}

func limited(name string, s gateway.Sender, slots int) *Outlet {
	o := outlet(name, s)
	o.Limiter = limiter.New(limiter.Config{Concurrency: slots})
	return o
}

// A relay that takes minutes for its final reply keeps its own gateway slots, and no handler slot. The lane's messages go to
// the other gateway, and lane urgent still gets a gateway slot.
func TestLongCall_OtherGatewaysAndLaneUrgentGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, backup := newSlow(), scripted(nil)
		mail := limited("mail", relay, 4)
		l := newCallers(t, nil, mail, outlet("backup", backup))
		var calls []chan kafka.Result
		for range 3 {
			calls = append(calls, l.send(t.Context()))
		}
		require.Zero(t, l.freed.Load())
		time.Sleep(longCallAfter)
		synctest.Wait()
		require.EqualValues(t, 3, l.freed.Load(), "no slot waits for the relay")
		require.True(t, mail.Limiter.BlockedByLongCalls(notify.LaneNormal))

		e := eventOf(t, <-l.send(t.Context()))
		require.Equal(t, []any{notify.StateSent, "backup"}, []any{e.State, e.Gateway}, "the fourth slot is lane urgent's")
		urgent := newCallers(t, func(c *Config) { c.Lane = notify.LaneUrgent }, mail)
		code := urgent.send(t.Context())
		require.Equal(t, 1, relay.patiently)
		relay.answer <- nil
		for range 3 {
			relay.answer <- nil
		}
		require.Equal(t, notify.StateSent, eventOf(t, <-code).State)
		for _, c := range calls {
			require.Equal(t, "mail", eventOf(t, <-c).Gateway)
		}
		require.False(t, mail.Limiter.BlockedByLongCalls(notify.LaneNormal))
		require.Zero(t, mail.Limiter.InFlight())
		require.Len(t, backup.received, 1)
		require.Equal(t, 3, relay.quickly)
	})
}

// Without another gateway the messages wait for a slot, and none is given up.
func TestLongCall_OnlyGatewayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newSlow()
		l := newCallers(t, nil, limited("mail", relay, 1))
		first := l.send(t.Context())
		time.Sleep(time.Hour)
		res := <-l.send(t.Context())
		require.False(t, res.Again.IsZero(), "it waits in its place")
		relay.answer <- nil
		require.Equal(t, notify.StateSent, eventOf(t, <-first).State)
		require.Equal(t, 1, relay.patiently)
	})
}

// With weights, a gateway without a free slot does not delay messages while the other one is free.
func TestLongCall_WeightedRouteDoesNotWaitForOneGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, other := newSlow(), scripted(nil)
		l := newCallers(t, func(c *Config) { c.Route.Weights = []int{1, 0} }, limited("mail", relay, 1), outlet("other", other))
		first := l.send(t.Context())
		second := l.send(t.Context()) // the first is not long yet
		time.Sleep(acquireTimeout)
		e := eventOf(t, <-second)
		require.Equal(t, "other", e.Gateway)
		relay.answer <- nil
		require.Equal(t, "mail", eventOf(t, <-first).Gateway)
	})
}

// If the breaker of the other gateway is open, the messages wait for the relay.
func TestLongCall_UnavailableGatewayIsNoAlternative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, backup := newSlow(), outlet("backup", scripted(unavailable))
		l := newCallers(t, nil, limited("mail", relay, 1), backup)
		pass, _ := backup.Breaker.Admit(time.Now())
		backup.Breaker.Record(pass, notify.Unavailable, time.Now())
		first := l.send(t.Context())
		require.Equal(t, 1, relay.patiently, "nobody else can be asked")
		time.Sleep(longCallAfter)
		res := l.send(t.Context())
		time.Sleep(acquireTimeout)
		require.False(t, (<-res).Again.IsZero())
		relay.answer <- nil
		require.Equal(t, "mail", eventOf(t, <-first).Gateway)
	})
}

// A rebalance or a shutdown ends the call as ambiguous; on_ambiguous of the message decides what follows.
func TestLongCall_EndsWithTheClaim(t *testing.T) {
	for _, hold := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			claimed, revoke := context.WithCancel(t.Context())
			l := newCallers(t, nil, limited("mail", newSlow(), 2))
			l.hold = hold
			call := l.send(claimed)
			time.Sleep(time.Hour)
			revoke()
			res := <-call
			want := notify.StateRetrying
			if hold {
				want = notify.StateHeld
			}
			require.Equal(t, want, eventOf(t, res).State)
		})
	}
}

// A message that the relay may have accepted is no probe: the relay is checked first, and gets the message once it works. The
// next steps of the job remember which gateways may have accepted it.
func TestLongCall_ProbeIsNoCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newSlow()
		o := limited("mail", relay, 2)
		o.Breaker = gateway.NewBreaker(gateway.BreakerConfig{Failures: 1})
		l := newCallers(t, nil, o)
		call := l.send(t.Context())
		relay.answer <- ambiguous
		res := <-call
		require.Equal(t, notify.StateRetrying, eventOf(t, res).State)
		require.Equal(t, "mail", headerOf(res.Follow[0], notify.HeaderInDoubt))
		require.Equal(t, gateway.BreakerOpen, o.Breaker.State())
		time.Sleep(time.Minute)

		relay.check = transient
		res = <-l.send(t.Context(), notify.HeaderInDoubt, "mail")
		require.False(t, res.Again.IsZero())
		require.Equal(t, []int{1, 1}, []int{relay.checks, relay.patiently}, "nothing was sent")
		require.Equal(t, gateway.BreakerOpen, o.Breaker.State())

		relay.check = nil
		time.Sleep(time.Minute)
		res = <-l.send(t.Context(), notify.HeaderInDoubt, "other,mail")
		require.Equal(t, []int{2, 1}, []int{relay.checks, relay.patiently})
		require.Equal(t, gateway.BreakerClosed, o.Breaker.State())
		require.False(t, res.Again.After(time.Now()), "it is sent now")
	})
}

// Another gateway gets the message before the gateway that may have accepted it is checked.
func TestLongCall_OtherGatewayComesBeforeTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newSlow()
		o := limited("mail", relay, 2)
		o.Breaker = gateway.NewBreaker(gateway.BreakerConfig{Failures: 1})
		pass, _ := o.Breaker.Admit(time.Now())
		o.Breaker.Record(pass, notify.Ambiguous, time.Now())
		time.Sleep(time.Minute)
		l := newCallers(t, nil, o, outlet("backup", scripted(nil)))
		e := eventOf(t, <-l.send(t.Context(), notify.HeaderInDoubt, "mail"))
		require.Equal(t, "backup", e.Gateway)
		require.Zero(t, relay.checks)
	})
}
