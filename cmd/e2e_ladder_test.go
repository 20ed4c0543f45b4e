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

// Jobs that wait in a tier which the configuration has no more are moved on and sent, in time.
func TestLadder_RemovedTierIsDrained(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		s := newTurnstile(t, "", nil)
		settings := func(tiers string) string {
			return strings.Replace(yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"}),
				"partitions: 3", "partitions: 3, delay_tiers: ["+tiers+"]", 1)
		}
		before := settings("200ms, 1s, 5s")
		api, worker := boot(t, "serve-api", before), boot(t, "work --channel sms", before)
		waits := func(lane notify.Lane, ahead time.Duration, tier string) (id string, due time.Time) {
			for { // a machine that is slow for a moment puts it into a shorter tier
				due = time.Now().Add(ahead).UTC().Truncate(time.Millisecond)
				id = api.post(smsTo("+14155550100", string(lane), `"lane":"`+string(lane)+`"`, `"send_at":"`+due.Format(time.RFC3339Nano)+`"`))
				b.event(id, func(e notify.Event) bool { return e.State == notify.StateScheduled })
				for _, r := range b.records(tier) {
					if headersOf(r)[notify.HeaderID] == id {
						return id, due
					}
				}
			}
		}
		normal, dueNormal := waits(notify.LaneNormal, 8*time.Second, "sms_topic.delay.5s")
		urgent, dueUrgent := waits(notify.LaneUrgent, 8*time.Second, "sms_topic.urgent.delay.5s")
		require.Zero(t, worker.stop())

		after := settings("200ms, 1s")
		worker = boot(t, "work --channel sms", after)
		worker.awaitLog("a tier of the delay ladder is no longer in kafka.delay_tiers; its jobs are still moved, and nothing new is written to it: " +
			"delete the topic once laudspeaker_waiting is 0 for it")
		for id, due := range map[string]time.Time{normal: dueNormal, urgent: dueUrgent} {
			o := b.outcome(id)
			require.Equal(t, notify.StateSent, o.State)
			require.False(t, o.At.Before(due), "never early")
		}
		for _, topic := range []string{"sms_topic.delay.5s", "sms_topic.urgent.delay.5s"} {
			require.Contains(t, worker.Log.String(), `"topic":"`+b.prefix+topic+`"`)
		}
		short, _ := waits(notify.LaneNormal, 3*time.Second, "sms_topic.delay.1s") // there is something to delete below
		require.Equal(t, notify.StateSent, b.outcome(short).State)
		eventually(time.Minute, func() bool { return worker.sum("laudspeaker_waiting", `channel="sms"`) == 0 })
		require.Zero(t, worker.stop())
		b.requireDeletionsAreAudited(api, after)
	})
}

// requireDeletionsAreAudited deletes the records of a tier that were moved on, which nobody misses, and then one that waits. No
// worker runs.
func (b *bus) requireDeletionsAreAudited(api *program, config string) {
	t := b.t
	file := write(t, config)
	moved := b.bounds("sms_topic.delay.1s")
	b.remove("sms_topic.delay.1s")
	require.NotEqual(t, moved, b.bounds("sms_topic.delay.1s"))
	a := auditOf(t, file)
	require.Zero(t, a.code, a.said)
	require.Zero(t, a.MissingRecords)

	worker := boot(t, "work --channel sms", config)
	id := api.post(smsTo("+14155550100", "later", `"send_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"`))
	b.event(id, func(e notify.Event) bool { return e.State == notify.StateScheduled })
	require.Zero(t, worker.stop())
	a = auditOf(t, file)
	require.Zero(t, a.code, a.said)
	require.EqualValues(t, 1, a.Waiting)
	b.remove("sms_topic.delay.1s")
	a = auditOf(t, file)
	require.Equal(t, 1, a.code)
	require.EqualValues(t, 1, a.MissingRecords)
	require.EqualValues(t, 1, a.Unaccounted)
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
