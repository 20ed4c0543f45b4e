package cmd

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// inHand is how many attempts each lane of the worker has in flight: their requests have begun, and no outcome is on the ledger.
func (c *chaos) inHand(worker string) map[notify.Lane]int {
	of := map[notify.Lane]int{}
	for message, qs := range c.provider.requests() {
		c.events.settle(message, qs)
		for _, q := range qs {
			if q.worker == worker && q.settled.IsZero() {
				for _, lane := range notify.Lanes() {
					if strings.HasPrefix(c.lineOf(message), string(lane)) {
						of[lane]++
					}
				}
			}
		}
	}
	return of
}

// requireBounded fails the test when a lane of a worker has more in flight than it may, and returns the most that one has.
func (c *chaos) requireBounded() (most int) {
	c.t.Helper()
	for _, w := range c.workers {
		for lane, n := range c.inHand(w.name) {
			require.LessOrEqual(c.t, n, slots+mostWaiting, "in flight of %s, lane %s", w.name, lane)
			most = max(most, n)
		}
	}
	return most
}

// refusals is a run on a broker that can be told to refuse what is written to the ledger. On a single node of Apache Kafka
// no topic can have too few replicas.
type refusals struct {
	*chaos
	cluster *kfake.Cluster
}

func newRefusals(t *testing.T) *refusals {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	c := newRun(t, mix{})
	c.broker = &victim{t: t, addr: cluster.ListenAddrs()[0]}
	c.fleet = c.newFleet(t)
	api, url := c.serveAnywhere()
	c.api = api
	c.follow(url)
	c.load.most.Store(6000) // more than there may be in every lane
	c.begin()
	return &refusals{c, cluster}
}

// stopLedger lets every partition of the ledger refuse what is written for want of replicas, until the function that it
// returns is called.
func (c *refusals) stopLedger() (restore func()) {
	return c.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: c.prefix + "status_topic", Err: kerr.NotEnoughReplicas, Count: -1,
	}).Remove
}

// awaitStandstill returns once no worker has begun anything for two seconds.
func (c *chaos) awaitStandstill() {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return len(c.provider.since(time.Now().Add(-2*time.Second))) == 0 }, time.Minute, 50*time.Millisecond,
		"the workers go on although no outcome is acknowledged")
}

// While the ledger refuses what is written, the workers stop at the bound; then they go on, and nothing is lost or repeated.
func TestChaosLedgerRefusesWrites(t *testing.T) {
	c := newRefusals(t)
	restore := c.stopLedger()
	c.awaitStandstill()
	before, _ := c.provider.counts()
	during(time.Minute)
	after, _ := c.provider.counts()
	require.Equal(t, before, after, "nothing more starts")
	most := c.requireBounded()
	restore()
	c.awaitBusy()
	v := c.finish()
	t.Logf("a lane of a worker had at most %d in flight, of which %d may wait", most, mostWaiting)
	require.Zero(t, v.duplicated, "nobody was killed")
}

// A worker that is killed with as many waiting outcomes as it may have repeats at most those, once each.
func TestChaosKillAtTheLimitOfWaitingOutcomes(t *testing.T) {
	c := newRefusals(t)
	restore := c.stopLedger()
	c.awaitStandstill()
	require.Positive(t, c.requireBounded())
	from := time.Now()
	w := c.workers[0]
	hand := c.inHand(w.name)
	w.kill()
	c.workers[0] = c.newWorker(0)
	restore()
	c.struck("kill "+w.name, from, w.name)
	c.awaitBusy()
	v := c.finish()
	t.Logf("in flight at the kill: %v; repeated %d", hand, v.duplicated)
}

// Kafka away under full load: no worker has more in flight than the bound, and nothing else is repeated.
func TestChaosKafkaDownUnderFullLoad(t *testing.T) {
	c := newChaos(t, badDay())
	c.load.most.Store(6000)
	c.begin()
	from := time.Now()
	c.broker.kill()
	c.awaitStandstill()
	most := c.requireBounded()
	c.broker.start()
	c.struck("kill of the broker", from)
	c.awaitService()
	c.awaitBusy()
	c.finish()
	t.Logf("a lane of a worker had at most %d in flight", most)
}
