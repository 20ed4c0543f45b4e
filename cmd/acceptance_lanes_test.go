package cmd

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// urgentGateway is how long the provider takes for a message.
const urgentGateway = 200 * time.Millisecond

// What a one-time password waits, from its POST to the provider, with and without a campaign that fills the gateway. Both
// figures are printed; how fast a machine is, no test can ask.
func TestUrgentBesideACampaign(t *testing.T) {
	brokers := realKafka(t)
	gate := newTurnstile(t, "", after(urgentGateway, taken))
	f := newFleet(t, brokers, 12, newSink(0))
	api, url := f.serveAnywhere()
	w := f.behind(gate, "w1")
	codes := 200 * scale()

	f.urgents(gate, url, "first", 1) // the worker has begun
	alone := f.urgents(gate, url, "alone", codes)
	campaign := 10_000 * scale() // at 64 in 200 ms more than a minute's worth
	f.spread("sms_topic.bulk", 12, campaign, sms)
	require.Eventually(t, func() bool { return len(gate.arrivals()) > codes+501 }, patience, 20*time.Millisecond, "the campaign is under way")
	beside := f.urgents(gate, url, "beside", codes)
	left := campaign + 2*codes + 1 - len(gate.arrivals())
	w.term()
	api.term()
	t.Logf("of %d urgent messages, half and 99%% came within: alone %s and %s, beside a campaign of %d %s and %s, %.2f times as long",
		codes, quantile(alone, 0.5), quantile(alone, 0.99), campaign, quantile(beside, 0.5), quantile(beside, 0.99), float64(quantile(beside, 0.99))/float64(quantile(alone, 0.99)))
	require.Greater(t, left, campaign/10, "the campaign has ended before, and proves nothing")
	require.Less(t, quantile(beside, 0.99), time.Duration(left)*urgentGateway/slots+urgentGateway, "it did not wait behind the campaign")
}

// urgents posts so many urgent messages, twenty a second, each to a recipient of its own, and gives how long each took to
// its provider.
func (f *fleet) urgents(gate *turnstile, url, mark string, n int) (took []time.Duration) {
	f.t.Helper()
	l := newLoad(f.sink, url, func(key, _ int) (string, string) {
		to := fmt.Sprintf("+1416555%04d", key)
		return smsTo(to, mark, `"lane":"urgent"`), to + "/" + mark
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var posts sync.WaitGroup
	posted := map[string]time.Time{}
	for i := range n {
		during(50 * time.Millisecond)
		posts.Go(func() {
			mu.Lock()
			posted[fmt.Sprintf("+1416555%04d", i)] = time.Now()
			mu.Unlock()
			l.post(client, i, 1)
		})
	}
	posts.Wait()
	require.Equal(f.t, n, l.count(), "all were acknowledged")
	came := map[string]time.Time{}
	require.Eventually(f.t, func() bool {
		for _, a := range gate.arrivals() {
			if _, known := came[a.to]; a.body == mark && !known {
				came[a.to] = a.at
			}
		}
		return len(came) == n
	}, patience, 50*time.Millisecond, "urgent messages are missing")
	for to, when := range came {
		took = append(took, when.Sub(posted[to]))
	}
	slices.Sort(took)
	return took
}

// quantile is the time within which that part of them came.
func quantile(sorted []time.Duration, part float64) time.Duration {
	return sorted[int(math.Ceil(part*float64(len(sorted))))-1].Round(time.Millisecond)
}
