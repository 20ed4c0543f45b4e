package cmd

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// smsTo is a text message with more members of the envelope, such as `"lane":"urgent"`.
func smsTo(recipient, body string, members ...string) string {
	all := append([]string{`"channel":"sms"`, `"recipient":"` + recipient + `"`, `"payload":{"body":"` + body + `"}`}, members...)
	return "{" + strings.Join(all, ",") + "}"
}

// What waits to be tried again is in Kafka, not in a worker: the next one goes on where the last one has stopped.
func TestARetrySurvivesARestart(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		var well atomic.Bool
		s := newTurnstile(t, "", func(w http.ResponseWriter, _ arrival) {
			if well.Load() {
				taken(w)
				return
			}
			failing(w)
		})
		settings := yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts], retries: {normal: {first: 4s}}"})
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel sms", settings)
		var ids []string
		for i := range 8 { // fewer than it takes to leave the gateway alone
			ids = append(ids, api.post(smsTo("+1415555010"+fmt.Sprint(i), "hi")))
		}
		for _, id := range ids {
			b.event(id, func(e notify.Event) bool { return e.State == notify.StateRetrying })
		}
		require.Zero(t, worker.stop())
		tried := len(s.arrivals())
		well.Store(true)
		boot(t, "work --channel sms", settings)
		for _, id := range ids {
			require.Equal(t, notify.StateSent, b.outcome(id).State)
			all := b.events(id)
			for n, o := range all {
				require.Equal(t, []int{n, n + 1}, []int{o.Step, o.Attempt}, "the count goes on, too")
				require.True(t, n == 0 || !o.At.Before(*all[n-1].NextAt), "never early")
			}
		}
		require.Len(t, s.arrivals(), tried+len(ids), "each was sent once")
		b.noDeadLetters("sms_topic")
	})
}

// What is to be sent later is accepted now, seen as scheduled, and sent at its time: never early, and soon after.
func TestSendAt(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		s := newTurnstile(t, "", nil)
		p := boot(t, "all", yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"}))
		due := map[string]time.Time{} // by the body
		ids := map[string]string{}
		for i, lane := range slices.Repeat(notify.Lanes(), 3) {
			at, body := time.Now().Add(2*time.Second+time.Duration(i)*400*time.Millisecond).UTC().Truncate(time.Millisecond), fmt.Sprint(i)
			due[body] = at
			ids[body] = p.post(smsTo("+14155550100", body, `"lane":"`+string(lane)+`"`, `"send_at":"`+at.Format(time.RFC3339Nano)+`"`))
		}
		soonest, latest := time.Hour, time.Duration(0)
		for body, id := range ids {
			require.Equal(t, []any{notify.StateSent, 1, 1}, []any{b.outcome(id).State, b.outcome(id).Step, b.outcome(id).Attempt})
			all := b.events(id)
			require.Len(t, all, 2)
			require.Equal(t, notify.StateScheduled, all[0].State)
			require.Equal(t, 0, all[0].Attempt)
			require.True(t, all[0].NextAt.Equal(due[body]))
			require.Less(t, all[0].At, due[body], "it is said before")
		}
		for _, a := range s.arrivals() {
			late := a.at.Sub(due[a.body])
			require.GreaterOrEqual(t, late, time.Duration(0), "never early")
			soonest, latest = min(soonest, late), max(latest, late)
		}
		require.Len(t, s.arrivals(), len(ids))
		t.Logf("sent between %s and %s after the time that was asked for", soonest, latest)
		require.Less(t, soonest, time.Second, "a busy machine may delay some, the ladder none")
	})
}

// A cancelled one does not wait for its time.
func TestACancelledOneIsNotSent(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		s := newTurnstile(t, "", nil)
		p := boot(t, "all", yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"}))
		later := `"send_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`
		id := p.post(smsTo("+14155550100", "no", later))
		b.event(id, func(e notify.Event) bool { return e.State == notify.StateScheduled })
		code, _, errs := run(t, "cancel", id, "--server", p.API)
		require.Zero(t, code, errs)
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateCancelled, notify.ChannelSMS, b.step("sms_topic", id, 1))
		require.Equal(t, notify.ReasonCancelled, o.Reason)
		require.Empty(t, s.arrivals())
		b.noDeadLetters("sms_topic")
	})
}
