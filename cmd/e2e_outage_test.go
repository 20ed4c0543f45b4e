package cmd

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// requireUnavailable: a caller hears within 5 s that Kafka does not take the notification, and when to come back.
func (p *program) requireUnavailable(body string) {
	p.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Post(p.API+"/v1/notifications", "application/json", strings.NewReader(body))
	require.NoError(p.t, err)
	defer response.Body.Close()
	var answer problem
	require.NoError(p.t, json.NewDecoder(response.Body).Decode(&answer))
	require.Equal(p.t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(p.t, "application/problem+json", response.Header.Get("Content-Type"))
	require.Regexp(p.t, `^\d+$`, response.Header.Get("Retry-After"))
	require.Contains(p.t, answer.Detail, "repeat it")
}

// requireWaiting: the process is alive and says what it waits for.
func (p *program) requireWaiting(what ...string) {
	p.t.Helper()
	require.Equal(p.t, http.StatusOK, statusOf(p.Admin+"/livez"))
	require.Equal(p.t, http.StatusServiceUnavailable, statusOf(p.Admin+"/readyz"))
	page := bodyOf(p.t, p.Admin+"/readyz")
	for _, name := range what {
		require.Contains(p.t, page, name)
	}
	require.NotContains(p.t, page, "%!", "a page that is well formed")
	require.NotContains(p.t, page, "<nil>")
}

func openBroker(t *testing.T, dir, address string) *embedded.Broker {
	t.Helper()
	broker, err := embedded.Open(embedded.Config{Dir: dir, Listen: address})
	require.NoError(t, err)
	t.Cleanup(func() { broker.Close() })
	return broker
}

// Kafka comes last, whatever was started before it; and nothing has to be started again.
func TestEveryOrderOfStart(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"serve-api", "work --channel email"}, {"work --channel email", "serve-api"}, {"all"}} {
		t.Run(strings.Join(order, " then "), func(t *testing.T) {
			address := freeAddress("127.0.0.1")
			yaml := "kafka: {brokers: ['" + address + "']}\ngateways: {kept: {type: capture, dir: '" + t.TempDir() + "'}}\nchannels: {email: {gateways: [kept]}}\n"
			var api *program
			var all []*program
			for _, role := range order {
				p := start(t, role, yaml)
				all = append(all, p)
				if p.API != "" {
					api = p
				}
			}
			for _, p := range all {
				require.Contains(t, fmt.Sprint(p.awaitLog("the topics are not there yet; waiting")), address)
				p.requireWaiting("topics: waiting for Kafka", "publisher")
				if p != api || len(all) == 1 {
					p.requireWaiting("worker of email")
				}
			}
			api.requireUnavailable(hello)
			require.Equal(t, http.StatusServiceUnavailable, statusOf(api.API+"/readyz"))

			openBroker(t, t.TempDir(), address)
			for _, p := range all {
				p.awaitReady()
			}
			id := api.post(hello)
			require.Equal(t, id, api.captured(1)[0].ID)
			for _, p := range all {
				require.Zero(t, p.stop()) // before the broker: an outcome in hand would be waited for
			}
		})
	}
}

// Something answers the phone and says nothing: that is no reason to keep callers waiting, nor whoever ends the process.
func TestAKafkaThatIsSilent(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	for _, role := range []string{"serve-api", "work --channel email"} {
		p := start(t, role, "kafka: {brokers: ['"+silent.Addr().String()+"']}\ngateways: {kept: {type: sim}}\nchannels: {email: {gateways: [kept]}}\n")
		if p.API != "" {
			p.requireUnavailable(hello)
		}
		p.requireWaiting("topics: waiting for Kafka", "publisher")
		require.Zero(t, p.stop())
	}
}

// Kafka goes away while a message is with its provider, and comes back: the message is not sent again, its outcome is
// written then, and what was accepted before is delivered.
func TestKafkaGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	dir, address := t.TempDir(), freeAddress("127.0.0.1")
	broker := openBroker(t, dir, address)
	provider := newSlowProvider(t)
	yaml := "kafka: {brokers: ['" + address + "'], partitions: 2}\ngateways: {texts: {" + texts(provider.URL) + "}}\nchannels: {sms: {gateways: [texts], concurrency: 1}}\n"
	api, worker := boot(t, "serve-api", yaml), boot(t, "work --channel sms", yaml)
	first := api.post(samples["sms"])
	<-provider.begun
	second := api.post(samples["sms"])
	broker.Close()
	provider.release()

	api.requireUnavailable(samples["sms"])
	for p, what := range map[*program]string{api: "publisher: ", worker: "publisher of outcomes: "} {
		require.Eventually(t, func() bool { return statusOf(p.Admin+"/readyz") == http.StatusServiceUnavailable }, patience, 20*time.Millisecond)
		require.Eventually(t, func() bool { return strings.Contains(bodyOf(t, p.Admin+"/readyz"), what) }, patience, 20*time.Millisecond)
		p.requireWaiting(what)
	}

	openBroker(t, dir, address)
	api.awaitReady()
	third := api.post(samples["sms"])
	status := kafkatest.Follow(t, []string{address}, "status_topic")
	ended := map[string]int{}
	require.Eventually(t, func() bool {
		clear(ended)
		for _, m := range status.Records() {
			ended[string(m.Key)]++
		}
		return ended[first] > 0 && ended[second] > 0 && ended[third] > 0
	}, patience, 50*time.Millisecond, "%v", ended)
	worker.awaitReady()
	require.Equal(t, 1, ended[first])
	require.LessOrEqual(t, int(provider.calls.Load()), 4, "the one that was not acknowledged may be on the log")
	require.Contains(t, bodyOf(t, worker.Admin+"/metrics"), fmt.Sprintf(`laudspeaker_attempts_total{channel="sms",gateway="texts",verdict="accepted"} %d`, len(ended)))
	require.Equal(t, len(ended), int(provider.calls.Load()), "each was sent once")
}
