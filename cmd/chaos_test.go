package cmd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// The tests of these files are the chaos suite: real processes, a real Kafka of their own, a proxy on the way of each
// worker to it, a provider with bad manners that remembers every request, and faults that strike while all workers are
// busy. From the promises of the API, the requests at the provider and the events on status_topic alone a judge says what
// was lost, repeated, early, late or out of order.
//
// What is drawn is drawn from a seed, which is printed: LAUDSPEAKER_TEST_CHAOS_SEED gives the same faults, letters and moods of
// the provider again. LAUDSPEAKER_TEST_CHAOS is how many letters a run has at least, LAUDSPEAKER_TEST_CHAOS_KILLS how many faults.

// The ports of the suite's broker, beside victimPort. The broker's proxied listeners follow its controller's port.
const chaosPort = "19892"

var chaosProxies = []string{"19992", "19993", "19994"}

// chaos is a run.
type chaos struct {
	*fleet
	seed    uint64
	letters int // as many at least
	kills   int
	longest int // seconds that a freeze may last beyond 9

	broker   *victim
	links    []*link
	provider *provider
	events   *events
	load     *post
	stop     func()
	finished func() // the events are read to their end
	api      *child
	workers  []*child // each with the link of its number

	faults    []fault
	takeOvers []time.Duration // after a worker was killed, until all its partitions were served again
	services  []time.Duration // after the broker served again, until the first delivery
}

// chaosEnv begins the names of the suite's variables.
const chaosEnv = "LAUDSPEAKER_TEST_CHAOS"

// numberOf reads a variable of the environment.
func numberOf(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// newRun draws the seed and opens the provider.
func newRun(t *testing.T, m mix) *chaos {
	seed := uint64(numberOf(chaosEnv+"_SEED", int(time.Now().UnixNano()%1_000_000_000)))
	t.Logf("%s_SEED=%d", chaosEnv, seed)
	c := &chaos{seed: seed, longest: 1, provider: newProvider(t, seed, m)}
	c.letters, c.kills = numberOf(chaosEnv, 4000*scale()), numberOf(chaosEnv+"_KILLS", 3*scale())
	if c.kills > 50 {
		c.longest = 21
	}
	return c
}

// newChaos starts everything but the workers and the load.
func newChaos(t *testing.T, m mix) *chaos {
	realKafka(t)
	c := newRun(t, m)
	c.broker = victimAt(t, chaosPort, strings.Join(chaosProxies, " "))
	controller, _ := strconv.Atoi(chaosPort)
	for i, port := range chaosProxies {
		c.links = append(c.links, newLink(t, "127.0.0.1:"+port, net.JoinHostPort("127.0.0.1", strconv.Itoa(controller+2+i))))
	}
	c.fleet = c.newFleet(t)
	api, url := c.serveAnywhere()
	c.api = api
	c.follow(url)
	return c
}

// follow prepares the load and reads the events.
func (c *chaos) follow(url string) {
	c.events, c.finished = follow(c.t, strings.Split(c.brokers, ","), c.prefix+"status_topic")
	c.load = newPost(url, c.seed, c.events)
	c.load.most.Store(int64(max(3000, c.letters/100))) // a long run would take hours by a short one's load
}

// newFleet configures SMS with short steps of the ladder and retries that come soon.
func (c *chaos) newFleet(t *testing.T) *fleet {
	name := kafkatest.Name(t)
	f := &fleet{t: t, brokers: c.broker.addr, prefix: "chaos-" + name[len(name)-8:] + ".", dir: t.TempDir()}
	yaml := fmt.Sprintf(`
kafka: {brokers: ['%s'], prefix: '%s', partitions: 6, session_timeout: 6s, delay_tiers: [200ms, 1s, 5s]}
admin: {listen: '127.0.0.1:0'}
data_dir: '%s/data'
%s
`, f.brokers, f.prefix, f.dir, c.provider.section())
	require.NoError(t, os.WriteFile(f.dir+"/laudspeaker.yaml", []byte(yaml), 0o600))
	t.Cleanup(func() { kafkatest.Drop([]string{f.brokers}, f.prefix) })
	return f
}

// sessionTimeout is the one above.
const sessionTimeout = 6 * time.Second

// providerTimeout is how long a worker waits for an answer.
const providerTimeout = 3 * time.Second

// section configures the provider as the way out of SMS.
func (p *provider) section() string {
	return fmt.Sprintf(`gateways:
  texts: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: nobody, from: '+14155550100', base_url: 'http://%s', timeout: %s}
channels:
  sms:
    gateways: [texts]
    concurrency: %d
    retries:
      urgent: {attempts: 0, first: 200ms, longest: 2s}
      normal: {attempts: 20, first: 200ms, longest: 3s}
      bulk: {attempts: 20, first: 400ms, longest: 5s}`, p.addr, providerTimeout, slots)
}

// newWorker starts a worker behind the link of that number, if there are links.
func (c *chaos) newWorker(i int, args ...string) *child {
	if len(c.links) == 0 {
		return c.work("sms", args...)
	}
	return c.work("sms", append(args, "--set", "kafka.brokers=127.0.0.1:"+chaosProxies[i])...)
}

// begin starts the workers and the load, and returns when all are busy and most keys have had a letter.
func (c *chaos) begin() {
	for i := range chaosProxies {
		c.workers = append(c.workers, c.newWorker(i))
	}
	c.stop = c.load.background(c.t)
	require.Eventually(c.t, func() bool { return c.events.ended() >= 2*postKeys }, 2*time.Minute, 20*time.Millisecond, "hardly anything is delivered")
	c.awaitBusy()
}

// awaitBusy returns when every worker has messages in flight.
func (c *chaos) awaitBusy() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		for _, w := range c.workers {
			if c.provider.inFlight(w.name) < slots/8 {
				return false
			}
		}
		return true
	}, 2*time.Minute, time.Millisecond, "not all workers are busy")
}
