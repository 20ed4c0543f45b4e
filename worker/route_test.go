package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// newRouteWorker returns an e-mail worker whose route has these gateways, named a, b, c.
func newRouteWorker(change func(*Config), senders ...*scriptedGateway) *Worker {
	return newWorker(nil, func(c *Config) {
		c.Route = &Route{}
		for i, s := range senders {
			c.Route.Outlets = append(c.Route.Outlets, outlet(string(rune('a'+i)), s))
		}
		if change != nil {
			change(c)
		}
	})
}

// gatewaysOf returns the names of the gateways in e's tries.
func gatewaysOf(e notify.Event) string {
	names := make([]string, len(e.Tries))
	for i, t := range e.Tries {
		names[i] = t.Gateway
	}
	return strings.Join(names, "")
}

var (
	refusedHere = &notify.Failure{Verdict: notify.Permanent, Code: "553 5.7.1", Reason: "from", Next: true}
	closing     = &notify.Failure{Verdict: notify.Throttled, Code: "421 4.3.2", Next: true}
)

// A refusal that is about one gateway is final only after every gateway of the route has refused.
func TestFailover_ClosedGatewayKeepsRefusedMessage(t *testing.T) {
	a, b := scripted(refusedHere), scripted(unavailable, nil)
	w := newRouteWorker(nil, a, b)
	r := record(mail)
	e := eventOf(t, w.Handle(t.Context(), newAttempt(r)))
	require.Equal(t, notify.StateRetrying, e.State)
	other := record(strings.Replace(mail, someID, notify.NewID(), 1))
	other.Offset++
	e = eventOf(t, w.Handle(t.Context(), newAttempt(other)))
	require.Equal(t, notify.StateRetrying, e.State, "b is not asked now, and a's refusal is not final without it")
	require.Equal(t, "a", gatewaysOf(e))
	require.Zero(t, e.Attempt)
	require.Len(t, b.received, 1)
}

func TestFailover_Verdicts(t *testing.T) {
	for _, c := range []struct {
		name    string
		a, b    error
		state   notify.State // empty: it waits in place
		asked   string
		attempt int
		code    string
	}{
		{"the first takes it", nil, nil, notify.StateSent, "a", 1, ""},
		{"the first fails", transient, nil, notify.StateSent, "ab", 1, ""},
		{"the first refuses us", unavailable, nil, notify.StateSent, "ab", 1, ""},
		{"the first asks to slow down", throttled, nil, notify.StateRetrying, "a", 0, "429"},
		{"the first may have sent it", ambiguous, nil, notify.StateRetrying, "a", 1, ""},
		{"the first finds it wrong", permanent, nil, notify.StateRejected, "a", 1, "554 5.7.1"},
		{"both fail", transient, transient, notify.StateRetrying, "ab", 1, "451 4.3.0"},
		{"one fails, one refuses us", transient, unavailable, notify.StateRetrying, "ab", 1, "451 4.3.0"},
		{"one refuses us, one fails", unavailable, transient, notify.StateRetrying, "ab", 1, "451 4.3.0"},
		{"one fails, one asks to slow down", transient, throttled, notify.StateRetrying, "ab", 0, "429"},
		{"both refuse us", unavailable, unavailable, "", "", 0, ""},
		{"the first refuses it, not for the message", refusedHere, nil, notify.StateSent, "ab", 1, ""},
		{"both refuse it", refusedHere, refusedHere, notify.StateRejected, "ab", 1, "553 5.7.1"},
		{"one refuses it, one finds it wrong", refusedHere, permanent, notify.StateRejected, "ab", 1, "554 5.7.1"},
		{"one refuses it, one refuses us", refusedHere, unavailable, notify.StateRetrying, "ab", 0, "553 5.7.1"},
		{"one refuses us, one refuses it", unavailable, refusedHere, notify.StateRetrying, "ab", 0, "553 5.7.1"},
		{"one refuses it, one fails", refusedHere, transient, notify.StateRetrying, "ab", 1, "451 4.3.0"},
		{"one refuses it, one asks to slow down", refusedHere, throttled, notify.StateRetrying, "ab", 0, "429"},
		{"the first serves nobody now", closing, nil, notify.StateSent, "ab", 1, ""},
		{"both serve nobody now", closing, closing, notify.StateRetrying, "ab", 0, "421 4.3.2"},
		{"one serves nobody now, one fails", closing, transient, notify.StateRetrying, "ab", 0, "421 4.3.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newRouteWorker(nil, scripted(c.a), scripted(c.b))
			res := w.Handle(t.Context(), newAttempt(record(mail)))
			if c.state == "" {
				require.Nil(t, res.Outcome)
				require.False(t, res.Again.IsZero())
				return
			}
			e := eventOf(t, res)
			require.Equal(t, c.state, e.State)
			require.Equal(t, c.asked, gatewaysOf(e))
			require.Equal(t, c.attempt, e.Attempt)
			require.Equal(t, c.code, e.Code)
		})
	}
}

func TestRoute_WeightedDrawDependsOnStepOnly(t *testing.T) {
	r := &Route{Weights: []int{3, 1, 0}}
	for _, name := range []string{"a", "b", "c"} {
		r.Outlets = append(r.Outlets, &Outlet{Name: name})
	}
	names := func(j *job) string {
		var s string
		for _, o := range r.order(j) {
			s += o.Name
		}
		return s
	}
	first := map[string]int{}
	const jobs = 4000
	for i := range jobs {
		j := &job{id: fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i), message: &notify.Message{}}
		order := names(j)
		require.Equal(t, order, names(j), "the same wherever it is drawn")
		require.Contains(t, []string{"abc", "bac"}, order, "the drawn one, then the others as they stand")
		first[order]++
	}
	require.InDelta(t, jobs*3/4, first["abc"], jobs/40)

	steps := map[string]bool{}
	for step := range 40 {
		steps[names(&job{id: someID, step: step, message: &notify.Message{}})] = true
	}
	require.Len(t, steps, 2, "a retry may begin refusedHere")
}

func TestRoute_RecipientTypesChooseGateways(t *testing.T) {
	to := func(kind string) string { return strings.Replace(push, "{", `{"recipient_type":"`+kind+`",`, 1) }
	for _, c := range []struct {
		value string
		asked string // empty: it is rejected
	}{
		{push, "a"}, {to("fcm"), "a"}, {to("topic"), "ac"}, {to("webpush"), ""},
	} {
		w := newRouteWorker(func(c *Config) {
			c.Channel = notify.ChannelPush
			for i, kinds := range [][]string{{"fcm", "topic"}, {"apns"}, {"topic"}} {
				c.Route.Outlets[i].RecipientTypes = kinds
			}
		}, scripted(transient), scripted(nil), scripted(transient))
		r := record(c.value)
		r.Topic = "push_topic"
		e := eventOf(t, w.Handle(t.Context(), newAttempt(r)))
		require.Equal(t, c.asked, gatewaysOf(e), c.value)
		if c.asked == "" {
			require.Equal(t, notify.StateRejected, e.State)
			require.Contains(t, e.Reason, "#/recipient_type")
		}
	}
}

func TestRoute_UnsuitableGatewayIsNotDrawn(t *testing.T) {
	r := &Route{Weights: []int{100, 1, 1}, Outlets: []*Outlet{
		{Name: "a", RecipientTypes: []string{"apns"}}, {Name: "b", RecipientTypes: []string{"fcm"}}, {Name: "c"},
	}}
	first := map[string]int{}
	for step := range 400 {
		order := r.order(&job{id: someID, step: step, message: &notify.Message{Notification: notify.Notification{RecipientType: "fcm"}}})
		require.Len(t, order, 2)
		first[order[0].Name]++
	}
	require.InDelta(t, 200, first["b"], 60)
	require.InDelta(t, 200, first["c"], 60)
}

// One deadline covers an attempt, failover included.
func TestFailover_OneDeadlineForRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		slow := sendFunc(func(ctx context.Context, _ *notify.Message) (notify.Receipt, error) {
			calls++
			select {
			case <-ctx.Done():
				return notify.Receipt{}, ctx.Err()
			case <-time.After(6 * time.Second):
				return notify.Receipt{}, transient
			}
		})
		w := newWorker(nil, func(c *Config) {
			c.Route = &Route{Outlets: []*Outlet{outlet("a", slow), outlet("b", slow), outlet("c", slow)}}
		})
		a := newAttempt(record(mail))
		a.Played = &kafka.Played{Timeout: 8 * time.Second}
		e := eventOf(t, w.Handle(t.Context(), a))
		require.Equal(t, 8*time.Second, time.Since(began))
		require.Equal(t, 2, calls)
		require.Equal(t, notify.StateRetrying, e.State)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, "the attempt's time ran out before the message was handed over", e.Reason)
	})
}

// Gateway, code and reason of an event are those of the try that counts, whichever gateway was called last.
func TestFailover_EventNamesGatewayThatCounts(t *testing.T) {
	for _, attempts := range []int{1, 2} {
		w := newRouteWorker(func(c *Config) { c.Retries.MaxAttempts = attempts }, scripted(transient), scripted(unavailable))
		res := w.Handle(t.Context(), newAttempt(record(mail)))
		e := eventOf(t, res)
		require.Equal(t, transient.Code, e.Code)
		require.Equal(t, "a", e.Gateway)
		if attempts == 1 {
			require.Equal(t, "a", headerOf(res.Follow[0], notify.HeaderDeadGateway))
		}
	}
}

// A gateway without a free slot says nothing about the job, but the try before has used an attempt.
func TestFailover_FailureCountsWhenNextGatewayIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := scripted(transient), scripted(nil)
		full := limiter.New(limiter.Config{Concurrency: 1})
		w := newRouteWorker(func(c *Config) { c.Route.Outlets[1].Limiter = full }, a, b)
		release, err := full.Acquire(t.Context(), notify.LaneNormal, acquireTimeout)
		require.NoError(t, err)
		e := eventOf(t, w.Handle(t.Context(), newAttempt(record(mail))))
		require.Equal(t, notify.StateRetrying, e.State)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, "a", gatewaysOf(e))
		release()
	})
}

// Without a slot, or if the lease ended during the wait for one, the gateway is not called: the job checks again and no attempt
// counts.
func TestPermit_NoSlotOrLeaseNoCall(t *testing.T) {
	for name, c := range map[string]struct {
		full   bool
		played *kafka.Played
	}{
		"no slot":      {true, nil},
		"no lease":     {false, &kafka.Played{MayStart: func() bool { return false }}},
		"revoked":      {true, &kafka.Played{Claimed: endedClaim()}},
		"revoked free": {false, &kafka.Played{Claimed: endedClaim()}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, limit := scripted(nil), limiter.New(limiter.Config{Concurrency: 1})
				w := newRouteWorker(func(c *Config) { c.Route.Outlets[0].Limiter = limit }, s)
				var release func()
				if c.full {
					release, _ = limit.Acquire(t.Context(), notify.LaneNormal, acquireTimeout)
				}
				a := newAttempt(record(mail))
				a.Played = c.played
				res := w.Handle(t.Context(), a)
				require.Equal(t, time.Now(), res.Again)
				require.Empty(t, s.received)
				if release != nil {
					release()
				}
				require.Zero(t, limit.InFlight())

				a.Carry, a.Played = res.Carry, nil
				e := eventOf(t, w.Handle(t.Context(), a))
				require.Equal(t, notify.StateSent, e.State)
				require.Equal(t, 1, e.Attempt)
			})
		})
	}
}

// After any panic on the way to a gateway the slot is free and the breaker may probe again.
func TestPermit_PanicReleasesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, limit := scripted(unavailable, nil), limiter.New(limiter.Config{Concurrency: 1})
		w := newWorker(s, func(c *Config) { c.Route.Outlets[0].Limiter = limit })
		w.Handle(t.Context(), newAttempt(record(mail))) // the breaker is open
		time.Sleep(time.Minute)
		probe := record(held)
		probe.Offset, probe.Value = 7, []byte(strings.Replace(held, someID, "018f4e9a-0000-7000-8000-000000000007", 1))
		a := newAttempt(probe)
		a.Played = &kafka.Played{Record: func(string, []kafka.Header) error { panic("out of order") }}
		require.Panics(t, func() { w.Handle(t.Context(), a) })
		require.Zero(t, limit.InFlight())
		a.Played = nil
		require.Equal(t, notify.StateSent, eventOf(t, w.Handle(t.Context(), a)).State)
	})
}

// endedClaim returns the context of a claim that has ended.
func endedClaim() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
