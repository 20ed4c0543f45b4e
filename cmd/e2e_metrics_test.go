package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An operator sees what waits and how gateways are doing, and the page does not grow with what is sent to whom.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		settings := yaml(b, map[string]string{"sim": "type: sim, latency: 0s, rate: 500/s", "spare": "type: sim, latency: 0s"},
			map[string]string{"email": "gateways: [sim, spare], " + soonAgain, "sms": "gateways: [sim], " + soonAgain, "push": "gateways: [spare]"})
		p := boot(t, "all", settings)
		round := func(n int) {
			for i := range n {
				for _, word := range []string{"accepted", "soft-2x", "hard"} {
					for _, lane := range []string{"urgent", "normal", "bulk"} {
						p.post(fmt.Sprintf(`{"channel":"email","lane":"%s","tenant":"t%d","reference":"r%[2]d","recipient":"%[3]s+%[2]d@d%[2]d.example","payload":{"subject":"s","text":"t"}}`, lane, i, word))
					}
				}
				p.post(smsTo(fmt.Sprintf("+1500555%04d", 2000+i), "hard"))
			}
		}
		ended := func() float64 {
			return p.sum("laudspeaker_jobs_ended_total", `state="sent"`) + p.sum("laudspeaker_jobs_ended_total", `state="rejected"`)
		}
		round(1)
		require.Eventually(t, func() bool { return ended() == 10 }, patience, 20*time.Millisecond)
		before := seriesOf(t, p)
		for _, series := range []string{
			`laudspeaker_backlog{channel="email",lane="urgent"}`,
			`laudspeaker_oldest_waiting_seconds{channel="sms",lane="bulk"}`,
			`laudspeaker_waiting{channel="sms",tier="200ms"}`,
			`laudspeaker_waiting{channel="push",tier="5s"}`,
			`laudspeaker_circuit_state{gateway="sim"}`,
			`laudspeaker_circuit_state{gateway="spare"}`,
			`laudspeaker_in_flight{gateway="sim"}`,
			`laudspeaker_pace{gateway="sim"}`,
			`laudspeaker_duplicates_dropped_total{channel="email",lane="bulk"}`,
			`laudspeaker_dead_letters_total{channel="sms",lane="normal"}`,
			`laudspeaker_end_to_end_seconds_count{channel="email",lane="urgent"}`,
			`laudspeaker_attempts_total{channel="email",gateway="spare",verdict="transient"}`,
			`laudspeaker_runner_take_overs_total{channel="push",lane="normal"}`,
		} {
			require.Contains(t, before, series)
		}
		require.InDelta(t, 500, p.sum("laudspeaker_pace", `gateway="sim"`), 0.01, "one process has the whole rate")
		require.Equal(t, "+Inf", before[`laudspeaker_pace{gateway="spare"}`])
		require.Equal(t, "1", before[`laudspeaker_dead_letters_total{channel="sms",lane="normal"}`])
		require.Equal(t, "2", before[`laudspeaker_end_to_end_seconds_count{channel="email",lane="bulk"}`])

		round(20)
		require.Eventually(t, func() bool { return ended() == 210 }, patience, 20*time.Millisecond)
		after := seriesOf(t, p)
		for series := range after {
			require.Contains(t, before, series, "a series that has come with the messages")
		}
		require.Less(t, len(after), 1500)
		t.Logf("%d series for three channels and two gateways", len(after))
	})
}

// seriesOf reads the program's own series.
func seriesOf(t *testing.T, p *program) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(bodyOf(t, p.Admin+"/metrics")) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(series, "laudspeaker_") {
			all[series] = value
		}
	}
	return all
}
