package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// allInOne starts the role all in a folder, waits for its Ready line, and says how long that took.
func allInOne(t *testing.T, dir, name string, args ...string) (c *child, api string, took time.Duration) {
	began := time.Now()
	c = launch(t, t.TempDir(), name, append([]string{
		"all", "--data-dir", dir, "--set", "api.listen=127.0.0.1:0",
		"--set", "admin.listen=127.0.0.1:0", "--set", "kafka.embedded.listen=127.0.0.1:0",
	}, args...)...)
	ready := c.awaitLine("Ready. API http", patience)
	return c, strings.Fields(ready)[2], time.Since(began)
}

// The first command of the README on a fresh folder: ready, a message, and it is there; also after the power went.
func TestAllFromAFreshFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p, api, took := allInOne(t, dir, "first")
	began := time.Now()
	response, err := http.Post(api+"/v1/notifications", "application/json", strings.NewReader(hello))
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	require.Eventually(t, func() bool { return len(outboxOf(t, api)) == 1 }, patience, time.Millisecond)
	t.Logf("ready after %s, captured after another %s", took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	second := launch(t, t.TempDir(), "second", "all", "--data-dir", dir, "--set", "api.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0", "--set", "kafka.embedded.listen=127.0.0.1:0")
	require.Error(t, <-second.done)
	second.awaitLine("is in use by", patience)
	third := launch(t, t.TempDir(), "third", "all", "--data-dir", t.TempDir(), "--set", "api.listen="+strings.TrimPrefix(api, "http://"))
	require.Error(t, <-third.done)
	third.awaitLine("--set api.listen=127.0.0.1:", patience)

	kept := outboxOf(t, api)
	p.kill()
	p, api, _ = allInOne(t, dir, "again")
	require.Equal(t, kept, outboxOf(t, api))
	p.term()
	files, err := os.ReadDir(filepath.Join(dir, "outbox"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
}

func outboxOf(t *testing.T, api string) []notify.Captured {
	response, err := http.Get(api + "/v1/outbox")
	require.NoError(t, err)
	defer response.Body.Close()
	var page outboxPage
	require.NoError(t, json.NewDecoder(response.Body).Decode(&page))
	return page.Data
}

// kill -9 of the one process while it takes and delivers: what it has acknowledged is delivered after the restart.
func TestAllKilledUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := newSink(gatewayDelay)
	address := freeAddress("127.0.0.1")
	args := []string{
		"--set", "api.listen=" + address, "--set", "kafka.partitions=2",
		"--set", "gateways.texts.type=twilio", "--set", "gateways.texts.account_sid=AC00000000000000000000000000000000",
		"--set", "gateways.texts.auth_token=all", "--set", "gateways.texts.from=+14155550100", "--set", "gateways.texts.base_url=" + s.twilio(t),
		"--set", "channels.sms.gateways=texts",
	}
	p, url, _ := allInOne(t, dir, "all0", args...)
	l := newLoad(s, url, sms)
	stop := l.background(t)
	kills := 2 * scale()
	var slowest time.Duration
	for i := range kills {
		l.awaitBacklog(t, 300)
		require.Eventually(t, func() bool { return s.inFlight("all") >= slots/2 }, patience, time.Millisecond)
		p.kill()
		var took time.Duration
		p, _, took = allInOne(t, dir, fmt.Sprintf("all%d", i+1), args...)
		slowest = max(slowest, took)
	}
	stop()
	l.awaitDelivery(t)
	p.term()
	p, _, _ = allInOne(t, dir, "last", args...)
	marker := newLoad(s, url, func(key, _ int) (string, string) { return sms(key, 1_000_000) })
	marker.run(context.Background(), 1)
	marker.awaitDelivery(t)
	p.term()
	_, repeated := s.counts()
	t.Logf("%d acknowledged, %d without an answer, %d repeated, %d out of order; ready again within %s", l.count(), l.broken, repeated, s.disorder, slowest.Round(time.Millisecond))
	require.LessOrEqual(t, repeated, kills*(slots+mostWaiting), "%s", s.repetitions())
	require.Zero(t, s.disorder)
}
