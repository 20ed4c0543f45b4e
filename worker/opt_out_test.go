package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

const (
	text     = `{"id":"` + someID + `","channel":"sms","recipient":"+14155550100","payload":{"body":"your code is 1234"}}`
	textFrom = `{"id":"` + someID + `","channel":"sms","recipient":"+14155550100","payload":{"body":"your code is 1234","from":"ACME"}}`
)

var optedOut = &notify.Failure{Verdict: notify.Permanent, Code: "21610", Reason: notify.ReasonOptedOut, Gone: true}

// phone is a gateway for text messages. It has its own sender, or an empty one if only its provider knows the sender.
type phone struct {
	*scriptedGateway
	own string
}

func (p phone) Originator(m *notify.Message) string {
	if m.SMS.From != "" {
		return m.SMS.From
	}
	return p.own
}

// texting returns a worker of an sms lane whose route has these gateways, named a, b, c. Its suppressions have the sender in
// their key.
func texting(lane notify.Lane, control *fakeControl, gateways ...phone) *Worker {
	return newWorker(nil, func(c *Config) {
		c.Channel = notify.ChannelSMS
		c.Lane = lane
		c.Control = control
		c.Route = &Route{}
		c.Rules = validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}}
		for i, g := range gateways {
			o := outlet(string(rune('a'+i)), g)
			o.Breaker = patientBreaker()
			c.Route.Outlets = append(c.Route.Outlets, o)
		}
		c.Suppress = func(m *notify.Message, sender, gateway string, f *notify.Failure) []kafka.Message {
			return []kafka.Message{{Topic: "control_topic", Key: []byte(f.Reason + " of " + sender + " by " + gateway)}}
		}
	})
}

// suppressions returns the keys of the records that res publishes to the control topic.
func suppressions(res kafka.Result) []string {
	var keys []string
	for _, m := range res.Follow {
		if m.Topic == "control_topic" {
			keys = append(keys, string(m.Key))
		}
	}
	return keys
}

// TestOptOut_EachSenderCountsAlone, in every lane.
func TestOptOut_EachSenderCountsAlone(t *testing.T) {
	const one, two = "+15005550006", "MG0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		value    string
		blocked  []string
		a, b     error
		owns     [2]string
		state    notify.State
		reason   string
		asked    string
		suppress []string
	}{
		"nobody has opted out":        {value: text, owns: [2]string{one, two}, state: notify.StateSent, asked: "a"},
		"the first sender is blocked": {value: text, blocked: []string{one}, owns: [2]string{one, two}, state: notify.StateSent, asked: "b"},
		"the other one is":            {value: text, blocked: []string{two}, owns: [2]string{one, two}, state: notify.StateSent, asked: "a"},
		"both are":                    {value: text, blocked: []string{one, two}, owns: [2]string{one, two}, state: notify.StateSuppressed, reason: notify.ReasonOptedOut},
		"both gateways have the blocked sender": {
			value: text, blocked: []string{one}, owns: [2]string{one, one}, state: notify.StateSuppressed, reason: notify.ReasonOptedOut,
		},
		"the message has a sender of its own": {value: textFrom, blocked: []string{one, two}, owns: [2]string{one, two}, state: notify.StateSent, asked: "a"},
		"which is blocked":                    {value: textFrom, blocked: []string{"ACME"}, owns: [2]string{one, two}, state: notify.StateSuppressed, reason: notify.ReasonOptedOut},
		"the first provider says so": {
			value: text, owns: [2]string{one, two}, a: optedOut, state: notify.StateSent, asked: "ab", suppress: []string{"opted_out of " + one + " by a"},
		},
		"both say so": {
			value: text, owns: [2]string{one, two}, a: optedOut, b: optedOut, state: notify.StateRejected, reason: notify.ReasonOptedOut, asked: "ab",
			suppress: []string{"opted_out of " + one + " by a", "opted_out of " + two + " by b"},
		},
		"the other gateway has the same sender": {
			value: text, owns: [2]string{one, one}, a: optedOut, state: notify.StateRejected, reason: notify.ReasonOptedOut, asked: "a",
			suppress: []string{"opted_out of " + one + " by a"},
		},
		"the provider says so of the message's own sender": {
			value: textFrom, owns: [2]string{one, two}, a: optedOut, state: notify.StateRejected, reason: notify.ReasonOptedOut, asked: "a",
			suppress: []string{"opted_out of ACME by a"},
		},
		"the second sender is blocked, and the first provider says so": {
			value: text, blocked: []string{two}, owns: [2]string{one, two}, a: optedOut, state: notify.StateRejected, reason: notify.ReasonOptedOut, asked: "a",
			suppress: []string{"opted_out of " + one + " by a"},
		},
		"the second fails for now": {
			value: text, owns: [2]string{one, two}, a: optedOut, b: transient, state: notify.StateRetrying, reason: transient.Reason, asked: "ab",
			suppress: []string{"opted_out of " + one + " by a"},
		},
		"the second finds no such number": {
			value: text, owns: [2]string{one, two}, a: optedOut, b: gone, state: notify.StateRejected, reason: gone.Reason, asked: "ab",
			suppress: []string{"opted_out of " + one + " by a", "recipient_gone of  by b"},
		},
		"only the providers know their senders": {
			value: text, a: optedOut, state: notify.StateSent, asked: "ab", suppress: []string{"opted_out of gateway:a by a"},
		},
		"one of which is blocked": {value: text, blocked: []string{"gateway:a"}, state: notify.StateSent, asked: "b"},
	} {
		for _, lane := range notify.Lanes() {
			t.Run(name+"/"+string(lane), func(t *testing.T) {
				blocked := map[string]bool{}
				for _, sender := range c.blocked {
					blocked[sender] = true
				}
				w := texting(lane, &fakeControl{blocked: blocked}, phone{scripted(c.a), c.owns[0]}, phone{scripted(c.b), c.owns[1]})
				res := w.Handle(t.Context(), newAttempt(record(c.value)))
				e := eventOf(t, res)
				require.Equal(t, []any{c.state, c.reason, c.asked}, []any{e.State, e.Reason, gatewaysOf(e)})
				require.Equal(t, c.suppress, suppressions(res))
			})
		}
	}
}

// TestOptOut_OnlyForTextMessages: an opt-out from an e-mail holds for all senders.
func TestOptOut_OnlyForTextMessages(t *testing.T) {
	w := newRouteWorker(func(c *Config) {
		c.Control = &fakeControl{blocked: map[string]bool{"": true, "gateway:a": true}}
		c.Suppress = func(_ *notify.Message, sender, gateway string, f *notify.Failure) []kafka.Message {
			return []kafka.Message{{Topic: "control_topic", Key: []byte(f.Reason + " of " + sender + " by " + gateway)}}
		}
	}, scripted(optedOut), scripted(nil))
	res := w.Handle(t.Context(), newAttempt(record(mail)))
	e := eventOf(t, res)
	require.Equal(t, notify.StateRejected, e.State)
	require.Equal(t, "a", gatewaysOf(e))
	require.Equal(t, []string{"opted_out of  by a"}, suppressions(res))
}

// TestOptOut_WithoutSuppressNextSenderIsCalled: no suppression is published, and the next sender is still called.
func TestOptOut_WithoutSuppressNextSenderIsCalled(t *testing.T) {
	w := texting(notify.LaneUrgent, &fakeControl{}, phone{scripted(optedOut), "1234"}, phone{scripted(nil), "5678"})
	w.cfg.Suppress = nil
	res := w.Handle(t.Context(), newAttempt(record(text)))
	require.Equal(t, "ab", gatewaysOf(eventOf(t, res)))
	require.Empty(t, res.Follow)
}

// TestOptOut_WhileOtherGatewayIsUnavailable: the text is delayed and the opt-out is published at once. The next step waits for
// the other gateway and does not call the first one again.
func TestOptOut_WhileOtherGatewayIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := phone{scripted(optedOut), "1234"}, phone{scripted(unavailable, unavailable, nil), "5678"}
		control := &fakeControl{}
		w := texting(notify.LaneUrgent, control, a, b)
		r := record(text)
		e, res := handleToEnd(t, w, newAttempt(r))
		require.Equal(t, []any{notify.StateRetrying, "ab"}, []any{e.State, gatewaysOf(e)})
		require.Equal(t, []string{"opted_out of 1234 by a"}, suppressions(res))
		require.Equal(t, "control_topic", res.Follow[0].Topic, "before the next step")
		control.blocked = map[string]bool{"1234": true}
		res.Follow = res.Follow[1:]
		r = nextRecord(t, r, res)
		time.Sleep(time.Until(dispatcher.NotBefore(r)))
		e, res = handleToEnd(t, w, newAttempt(r))
		require.Equal(t, []any{notify.StateSent, "bb"}, []any{e.State, gatewaysOf(e)})
		require.Empty(t, res.Follow)
		require.Len(t, a.received, 1)
	})
}

// TestOptOut_Property: for any senders, blocked senders and answers, no blocked sender is used, no sender is used again after
// its provider has reported an opt-out, and every reported opt-out is published.
func TestOptOut_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		senders := []string{"1234", "5678", "+15005550006", ""}
		drawn := rapid.SliceOfN(rapid.SampledFrom(senders), 1, 4).Draw(t, "senders")
		blocked := map[string]bool{}
		for _, s := range []string{"1234", "5678", "+15005550006", "gateway:a", "gateway:b"} {
			blocked[s] = rapid.Bool().Draw(t, "blocked "+s)
		}
		spoken := map[string]bool{} // of which a provider has said so
		var calls, want []string
		w := newWorker(nil, func(c *Config) {
			c.Channel = notify.ChannelSMS
			c.Lane = rapid.SampledFrom(notify.Lanes()).Draw(t, "lane")
			c.Control = &fakeControl{blocked: blocked}
			c.Route = &Route{}
			c.Rules = validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}}
			c.Suppress = func(_ *notify.Message, sender, _ string, _ *notify.Failure) []kafka.Message {
				return []kafka.Message{{Topic: "control_topic", Key: []byte(sender)}}
			}
		})
		names := make([]string, len(drawn))
		for i, own := range drawn {
			name := string(rune('a' + i))
			names[i] = own
			if own == "" {
				names[i] = notify.GatewaySender(name)
			}
			answer := rapid.SampledFrom([]error{nil, optedOut, transient, refusedHere}).Draw(t, "answer of "+name)
			w.cfg.Route.Outlets = append(w.cfg.Route.Outlets, outlet(name, saying{own, func() error {
				calls = append(calls, names[i])
				if blocked[names[i]] || spoken[names[i]] {
					t.Fatalf("blocked sender %s was used: %v", names[i], calls)
				}
				if errors.Is(answer, optedOut) {
					spoken[names[i]] = true
					want = append(want, names[i])
				}
				return answer
			}}))
		}
		w.metrics = w.cfg.Metrics.of(notify.ChannelSMS, w.cfg.Lane, w.cfg.Route)
		res := w.Handle(context.Background(), newAttempt(record(text)))
		e := eventOf(t, res)
		open := slices.ContainsFunc(names, func(n string) bool { return !blocked[n] })
		if open == (e.State == notify.StateSuppressed) || open != (len(calls) > 0) {
			t.Fatalf("open %v, state %s, calls %v", open, e.State, calls)
		}
		require.Equal(t, strings.Join(want, " "), strings.Join(suppressions(res), " "))
	})
}

// saying is a gateway with its own sender that answers by a function.
type saying struct {
	own    string
	answer func() error
}

func (s saying) Originator(*notify.Message) string { return s.own }
func (s saying) Check(context.Context) error       { return nil }
func (s saying) Close() error                      { return nil }
func (s saying) Send(context.Context, *notify.Message) (notify.Receipt, error) {
	return notify.Receipt{ProviderID: fmt.Sprint(time.Now().UnixNano())}, s.answer()
}
