package cmd

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startsEach is how many starts a median is made of.
const startsEach = 11

// BenchmarkFirstStart is how long a worker takes from the start of its process to its first call at the gateway, and until it
// is ready, on a real Kafka with an empty ledger and with as much in it as a take-over reads at most.
func BenchmarkFirstStart(b *testing.B) {
	brokers := realKafka(b)
	for _, records := range []int{0, 25_000} {
		b.Run(fmt.Sprintf("ledger-%d", records), func(b *testing.B) {
			for b.Loop() {
				s := newSink(0)
				f := newFleet(b, brokers, 1, s)
				api, _ := f.serveAnywhere() // makes the topics
				api.term()
				number := 1_000_000
				if records > 0 {
					f.fill("sms_topic", records, sms)
					w := f.work("sms")
					require.Eventually(b, func() bool { n, _ := s.counts(); return n == records }, 5*time.Minute, 10*time.Millisecond)
					w.term()
				}
				var calls, readies []time.Duration
				for range startsEach {
					number++
					f.fill("sms_topic", 1, func(key, _ int) (string, string) { return sms(key, number) })
					_, id := sms(0, number)
					admin := freeAddress("127.0.0.1")
					began := time.Now()
					w := f.work("sms", "--set", "admin.listen="+admin)
					require.Eventually(b, func() bool { return s.has(id) }, time.Minute, time.Millisecond)
					calls = append(calls, time.Since(began))
					require.Eventually(b, func() bool { return statusOf("http://"+admin+"/readyz") == http.StatusOK }, time.Minute, time.Millisecond)
					readies = append(readies, time.Since(began))
					w.term()
				}
				_, repeated := s.counts()
				require.Zero(b, repeated)
				slices.Sort(calls)
				slices.Sort(readies)
				b.ReportMetric(float64(quantile(calls, 0.5).Milliseconds()), "p50-ms-first-call")
				b.ReportMetric(float64(calls[len(calls)-1].Milliseconds()), "max-ms-first-call")
				b.ReportMetric(float64(quantile(readies, 0.5).Milliseconds()), "p50-ms-ready")
			}
		})
	}
}

// takeOversEnv is how many workers TestTakeOverTime kills.
const takeOversEnv = "LAUDSPEAKER_TEST_TAKEOVERS"

// TestTakeOverTime kills workers under load, one after the other, and measures the time until all of their partitions are served
// again: 1.5 s after the session timeout in the median.
func TestTakeOverTime(t *testing.T) {
	kills := numberOf(takeOversEnv, 0)
	if kills == 0 {
		t.Skip("set " + takeOversEnv + "=7 and LAUDSPEAKER_TEST_BROKERS to measure it")
	}
	c := newChaos(t, mix{})
	c.load.plain = true
	c.begin()
	for range kills {
		c.awaitBusy()
		c.killFor(c.awaitTakeOver)
	}
	c.awaitBusy()
	c.finish()
	slices.Sort(c.takeOvers)
	t.Logf("take-overs after the kill: %v; session timeout %s", c.takeOvers, sessionTimeout)
	require.LessOrEqual(t, quantile(c.takeOvers, 0.5), sessionTimeout+1500*time.Millisecond)
}
