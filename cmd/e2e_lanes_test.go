package cmd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// What is urgent does not wait behind a campaign that was there first.
func TestUrgentOvertakesABulkBacklog(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		const campaign, codes = 200, 10
		s := newTurnstile(t, "", after(50*time.Millisecond, taken))
		settings := yaml(b, map[string]string{"texts": s.gateway() + ", concurrency: 4"}, map[string]string{"sms": "gateways: [texts]"})
		api := boot(t, "serve-api", settings)
		for i := range campaign {
			api.post(smsTo(fmt.Sprintf("+1415555%04d", i), "bulk", `"lane":"bulk"`))
		}
		worker := boot(t, "work --channel sms", settings)
		require.Eventually(t, func() bool { return len(s.arrivals()) > 5 }, patience, 5*time.Millisecond)
		before := len(s.arrivals())
		var ids []string
		for i := range codes {
			ids = append(ids, api.post(smsTo(fmt.Sprintf("+1415555%04d", i), "urgent", `"lane":"urgent"`)))
		}
		for _, id := range ids {
			o := b.outcome(id)
			b.requireOutcome(o, notify.StateSent, notify.ChannelSMS, b.job("sms_topic.urgent", id))
		}
		require.Eventually(t, func() bool { return len(s.arrivals()) == campaign+codes }, patience, 10*time.Millisecond)
		bodies := s.bodies()
		last := len(bodies) - 1 - slices.Index(reversed(bodies), "urgent")
		t.Logf("%d of the campaign had been sent; the last urgent one was number %d of %d", before, last, len(bodies))
		require.Less(t, last, campaign*3/4, "most of the campaign came later, though it was there first")
		require.InDelta(t, 0, worker.sum("laudspeaker_in_flight"), 4)
	})
}

func reversed(all []string) []string {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// A process may work on some lanes only. The others are left to whoever works on them.
func TestALaneOfItsOwn(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		s := newTurnstile(t, "", nil)
		settings := yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"})
		api := boot(t, "serve-api", settings)
		others := []string{api.post(smsTo("+14155550101", "normal")), api.post(smsTo("+14155550102", "bulk", `"lane":"bulk"`))}
		urgent := boot(t, "work --channel sms --lane urgent", settings)
		for range 3 {
			o := b.outcome(api.post(smsTo("+14155550100", "urgent", `"lane":"urgent"`)))
			require.Equal(t, []any{notify.StateSent, notify.LaneUrgent}, []any{o.State, o.Lane})
		}
		require.Equal(t, []string{"urgent", "urgent", "urgent"}, s.bodies())
		becomes(t, func() bool {
			return strings.Contains(bodyOf(t, urgent.Admin+"/metrics"), `laudspeaker_backlog{channel="sms",lane="urgent"} 0`)
		}, "it is measured now and then")
		require.NotContains(t, bodyOf(t, urgent.Admin+"/metrics"), `lane="bulk"`)
		require.NotContains(t, strings.ReplaceAll(bodyOf(t, urgent.Admin+"/readyz"), "lane urgent", ""), "lane ")

		boot(t, "work --channel sms --lane bulk,normal", settings)
		for i, lane := range []notify.Lane{notify.LaneNormal, notify.LaneBulk} {
			o := b.outcome(others[i])
			require.Equal(t, []any{notify.StateSent, lane}, []any{o.State, o.Lane})
		}
		require.Len(t, s.arrivals(), 5)
	})
}
