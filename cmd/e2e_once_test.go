package cmd

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// One id is one notification, however often it is written, and whoever works on it.
func TestTheSameIDTwiceIsSentOnce(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		s := newTurnstile(t, "", nil)
		settings := yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"})
		api, first := boot(t, "serve-api", settings), boot(t, "work --channel sms", settings)
		body := smsTo("+14155550100", "once", `"id":"`+directID+`"`)
		for range 3 {
			require.Equal(t, directID, api.post(body))
		}
		b.publish(kafka.Message{Topic: b.prefix + "sms_topic", Partition: kafka.Hashed, Key: []byte("+14155550100"), Value: []byte(body)})
		require.Eventually(t, func() bool {
			return first.sum("laudspeaker_duplicates_dropped_total", `channel="sms"`, `lane="normal"`) == 3
		}, patience, 20*time.Millisecond)
		require.Equal(t, notify.StateSent, b.outcome(directID).State)
		require.Zero(t, first.stop())

		second := boot(t, "work --channel sms", settings) // it knows from the ledger
		api.post(body)
		require.Equal(t, notify.StateSent, b.outcome(api.post(smsTo("+14155550100", "another"))).State, "behind it, on its key")
		require.Equal(t, 1.0, second.sum("laudspeaker_duplicates_dropped_total"))
		require.Equal(t, []string{"once", "another"}, s.bodies())
		require.Len(t, b.events(directID), 1)
		b.noDeadLetters("sms_topic")
	})
}

// Where the order is strict, a message that fails keeps those of its key waiting, and no others.
func TestStrictOrder(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		s := newTurnstile(t, "", func(w http.ResponseWriter, a arrival) {
			if a.body == "1" && a.try <= 2 {
				failing(w)
				return
			}
			taken(w)
		})
		p := boot(t, "all", yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts], ordering: strict, " + soonAgain}))
		var ids []string
		for _, body := range []string{"1", "2", "3"} {
			ids = append(ids, p.post(smsTo("+14155550100", body)))
		}
		other := b.outcome(p.post(smsTo("+14155550101", "other")))
		require.Equal(t, notify.StateSent, other.State)
		for i, id := range ids {
			o := b.outcome(id)
			b.requireOutcome(o, notify.StateSent, notify.ChannelSMS, b.job("sms_topic", id))
			require.Len(t, b.events(id), 1, "it never left its place")
			if i == 0 {
				require.Equal(t, []notify.Verdict{notify.Transient, notify.Transient, notify.Accepted}, verdicts(o.Event))
				require.Equal(t, 3, o.Attempt)
			}
		}
		var order []string
		for _, a := range s.arrivals() {
			if a.to == "+14155550100" {
				order = append(order, a.body)
			}
		}
		require.Equal(t, []string{"1", "1", "1", "2", "3"}, order)
	})
}

// When the answer was lost nobody knows whether the message was taken. Whoever would rather have it once too seldom than
// once too often says so, and it is held for a person; by default it is sent again.
func TestAnAmbiguousOneIsHeldOnRequest(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		fake := twiliotest.New(t, false)
		// enough attempts for a machine that is slow to show the held one
		p := boot(t, "all", yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts], retries: {normal: {attempts: 50, first: 300ms, longest: 5s}}"}))
		fake.Lose(gatewaytest.AtRequest)
		hold, resend := p.post(smsTo("+14155550100", "hold", `"on_ambiguous":"hold"`)), p.post(smsTo("+14155550101", "resend"))
		b.event(resend, func(e notify.Event) bool { return e.State == notify.StateRetrying })
		held, job := b.outcome(hold), b.job("sms_topic", hold)
		b.requireOutcome(held, notify.StateHeld, notify.ChannelSMS, job)
		require.False(t, held.Final)
		require.Equal(t, []notify.Verdict{notify.Ambiguous}, verdicts(held.Event))
		require.True(t, strings.HasPrefix(held.Reason, notify.ReasonAmbiguous), held.Reason)
		b.requireDeadLetter(b.deadLetter("sms_topic", hold), job, held, notify.ReasonAmbiguous)

		fake.Accept()
		require.Equal(t, notify.StateSent, b.outcome(resend).State)
		times := map[string]int{}
		for _, m := range fake.Accepted() {
			times[m.Get("Body")]++
		}
		require.Equal(t, 1, times["hold"])
		require.GreaterOrEqual(t, times["resend"], 2)
		intents := 0
		for _, r := range b.records("status_topic") {
			if headersOf(r)[kafka.HeaderKind] == kafka.KindIntent {
				require.Equal(t, hold, headersOf(r)[kafka.HeaderJobID], "the other one has none")
				intents++
			}
		}
		require.Equal(t, 1, intents)

		// and one whose fate is known is like any other
		o := b.outcome(p.post(smsTo("+14155550100", "well", `"on_ambiguous":"hold"`)))
		require.Equal(t, notify.StateSent, o.State)
	})
}

// Whoever a provider calls gone gets nothing more, until somebody lifts that.
func TestAGoneRecipientIsSuppressed(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"})
		p := boot(t, "all", settings)
		fake.Fail(http.StatusBadRequest, 21610, nil)
		o := b.outcome(p.post(samples["sms"]))
		require.Equal(t, []any{notify.StateRejected, notify.ReasonOptedOut}, []any{o.State, o.Reason})
		fake.Accept()
		becomes(t, func() bool { o = b.outcome(p.post(samples["sms"])); return o.State == notify.StateSuppressed }, "suppressed")
		require.Empty(t, o.Tries)
		require.Equal(t, []any{0, notify.ReasonOptedOut, true}, []any{o.Attempt, o.Reason, o.Final})
		sent := len(fake.Accepted())
		for members, state := range map[string]notify.State{`"lane":"urgent"`: notify.StateSuppressed, `"tenant":"another"`: notify.StateSent} {
			require.Equal(t, state, b.outcome(p.post(smsTo("+14155550100", "hi", members))).State, members)
		}
		require.Equal(t, notify.StateSent, b.outcome(p.post(smsTo("+14155550101", "hi"))).State, "others are not")
		require.Len(t, fake.Accepted(), sent+2)

		code, _, errs := run(t, "unsuppress", "--channel", "sms", "+14155550100", "--config", write(t, settings))
		require.Zero(t, code, errs)
		becomes(t, func() bool { return b.outcome(p.post(samples["sms"])).State == notify.StateSent }, "sent again")
		b.noDeadLetters("sms_topic")
	})
}
