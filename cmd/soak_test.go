package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soakEnv is how many minutes TestSoak runs.
const soakEnv = "LAUDSPEAKER_TEST_SOAK"

// soakRate is how many notifications a second are posted to each channel: so few that hours of them fit into memory. Other
// processes use up the CPU.
const soakRate = 60

// TestSoak runs the API and workers of three channels on a real Kafka with no CPU to spare. After the start no group
// rebalances, and in the end nothing is lost or repeated.
func TestSoak(t *testing.T) {
	minutes := numberOf(soakEnv, 0)
	if minutes == 0 {
		t.Skip("set " + soakEnv + "=30 and LAUDSPEAKER_TEST_BROKERS=host:port to run for 30 minutes (make soak)")
	}
	s := newSink(gatewayDelay)
	f := newFleet(t, realKafka(t), 6, s)
	push := []string{"--set", "gateways.none.type=sim", "--set", "gateways.none.latency=10ms", "--set", "channels.push.gateways=none"}
	url := "http://" + freeAddress("127.0.0.1")
	api := f.serve(url, push...)
	ws := make([]*child, 0, 4)
	admins := make([]string, 0, 4)
	for _, channel := range []string{"sms", "sms", "email", "push"} {
		admin := "http://" + freeAddress("127.0.0.1")
		ws = append(ws, f.work(channel, slices.Concat(push, []string{"--set", "admin.listen=" + strings.TrimPrefix(admin, "http://")})...))
		admins = append(admins, admin)
	}
	ready := func() bool {
		for _, admin := range admins {
			if statusOf(admin+"/readyz") != http.StatusOK {
				return false
			}
		}
		return true
	}
	require.Eventually(t, ready, 2*time.Minute, 100*time.Millisecond, "not all workers are ready")
	l := newLoad(s, url, func(key, number int) (string, string) {
		if key%2 == 0 {
			return sms(key, number)
		}
		return email(key, number)
	})
	stop, pushed, doubtful := l.steadily()
	require.Eventually(t, func() bool { n, _ := s.counts(); return n > keys/2 }, time.Minute, 100*time.Millisecond, "hardly anything is delivered")
	require.Eventually(t, ready, 2*time.Minute, 100*time.Millisecond, "not all workers are ready")
	sessions := sessionsOf(t, ws)
	saturate(t)

	began := time.Now()
	for time.Since(began) < time.Duration(minutes)*time.Minute {
		during(time.Second)
		require.Equal(t, sessions, sessionsOf(t, ws), "a group has rebalanced after %s", time.Since(began).Round(time.Second))
	}
	stop()
	l.awaitDelivery(t)
	accepted := func() int {
		return int(figure(admins[3], "laudspeaker_attempts_total", `channel="push"`, `verdict="accepted"`))
	}
	require.Eventually(t, func() bool { return accepted() >= int(pushed.Load()) }, time.Minute, 100*time.Millisecond, "not every push is delivered")
	require.LessOrEqual(t, accepted(), int(pushed.Load()+doubtful.Load()), "a push is repeated")
	require.Equal(t, sessions, sessionsOf(t, ws), "a group has rebalanced")
	distinct, repeated := s.counts()
	t.Logf("%d minutes: %d SMS and e-mails (%d refused, %d without an answer), %d pushes (%d not acknowledged); %d sessions, none of them after the start",
		minutes, distinct, len(l.refusals()), l.broken, pushed.Load(), doubtful.Load(), sessions)
	require.Zero(t, repeated, "%s", s.repetitions())
	for _, w := range ws {
		w.term()
	}
	api.term()
	f.audited(push)
}

// steadily posts SMS and e-mails, and pushes beside them, until stop is called, which waits for the last answers. Pushed is how
// many pushes were acknowledged; the doubtful ones were not, and may be delivered all the same.
func (l *load) steadily() (stop func(), pushed, doubtful *atomic.Int64) {
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}, Timeout: 30 * time.Second}
	pushed, doubtful = new(atomic.Int64), new(atomic.Int64)
	var calls sync.WaitGroup
	calls.Go(func() {
		tick := time.NewTicker(time.Second / soakRate)
		defer tick.Stop()
		room := make(chan struct{}, callers)
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, key := range []int{2 * n % keys, (2*n + 1) % keys} {
				calls.Go(func() {
					room <- struct{}{}
					defer func() { <-room }()
					l.post(client, key, 1+2*n/keys)
				})
			}
			calls.Go(func() {
				body := fmt.Sprintf(`{"channel":"push","recipient":"device-%d","payload":{"body":"%d"}}`, n%keys, n)
				response, err := client.Post(l.url+"/v1/notifications", "application/json", strings.NewReader(body))
				if err != nil {
					doubtful.Add(1)
					return
				}
				_ = response.Body.Close()
				if response.StatusCode == http.StatusAccepted {
					pushed.Add(1)
				} else {
					doubtful.Add(1)
				}
			})
		}
	})
	return func() { cancel(); calls.Wait(); client.CloseIdleConnections() }, pushed, doubtful
}

// saturate takes all CPU that others leave until the test ends.
func saturate(t *testing.T) {
	for range runtime.NumCPU() {
		burner := exec.Command("sh", "-c", "while :; do :; done")
		require.NoError(t, burner.Start())
		t.Cleanup(func() { _ = burner.Process.Kill(); _ = burner.Wait() })
	}
}

// sessionsOf counts the group sessions that the workers have begun.
func sessionsOf(t testing.TB, ws []*child) (n int) {
	for _, w := range ws {
		content, err := os.ReadFile(w.log)
		require.NoError(t, err)
		n += strings.Count(string(content), `"session begins"`)
	}
	return n
}

// audited lets the audit account for everything.
func (f *fleet) audited(args []string) {
	f.t.Helper()
	w := launch(f.t, f.dir, "audit", append([]string{"audit", "--json", "--config", f.dir + "/laudspeaker.yaml"}, args...)...)
	require.NoError(f.t, <-w.done, "the audit finds losses: see %s", w.log)
	content, err := os.ReadFile(w.log)
	require.NoError(f.t, err)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	var summary struct {
		What           string
		DuplicatesSent int64 `json:"duplicates_sent"`
	}
	require.NoError(f.t, json.Unmarshal([]byte(lines[len(lines)-1]), &summary))
	require.Equal(f.t, "summary", summary.What)
	require.Zero(f.t, summary.DuplicatesSent)
}
