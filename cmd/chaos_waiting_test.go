package cmd

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
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
	c := refusalsOf(t, mix{})
	c.begin()
	return c
}

// refusalsOf is newRefusals without workers and load.
func refusalsOf(t *testing.T, m mix) *refusals {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	c := newRun(t, m)
	c.broker = &victim{t: t, addr: cluster.ListenAddrs()[0]}
	c.fleet = c.newFleet(t)
	api, url := c.serveAnywhere()
	c.api = api
	c.follow(url)
	c.load.most.Store(6000) // more than there may be in every lane
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
	during(sessionTimeout + 4*time.Second) // a group that still takes in a worker moves partitions, and repeats what waits in them
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

// A worker is killed with as many waiting outcomes as it may have, in each of its lanes. It repeats at most its calls and these,
// once each. The provider answers nothing before all slots of all lanes are taken: a lane whose outcomes wait starts too little
// to reach the limit by itself.
func TestChaosKillAtTheLimitOfWaitingOutcomes(t *testing.T) {
	const concurrency = mostWaiting + slots
	c := refusalsOf(t, mix{})
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	c.provider.gate.Store(&gate)
	admin := freeAddress("127.0.0.1")
	w := c.work("sms", "--set", "gateways.texts.timeout=2m", "--set", "gateways.texts.concurrency=4096", "--set", fmt.Sprintf("channels.sms.concurrency=%d", concurrency), "--set", "admin.listen="+admin)
	c.workers = []*child{w}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("in flight of %s: %v", w.name, c.inHand(w.name))
		}
	})
	c.stop = c.load.background(t)
	full := func(of map[notify.Lane]int) bool {
		for _, lane := range notify.Lanes() {
			if of[lane] < concurrency {
				return false
			}
		}
		return true
	}
	require.Eventually(t, func() bool { return full(c.inHand(w.name)) }, 2*time.Minute, 100*time.Millisecond, "not all slots are taken")
	waiting := func() map[notify.Lane]int {
		of := map[notify.Lane]int{}
		for _, lane := range notify.Lanes() {
			of[lane] = int(figure("http://"+admin, "laudspeaker_outcomes_waiting", fmt.Sprintf("lane=%q", lane)))
		}
		return of
	}
	restore := c.stopLedger()
	open()
	require.Eventually(t, func() bool { return full(waiting()) }, time.Minute, 50*time.Millisecond,
		"the outcomes do not come to the limit")
	hand := c.inHand(w.name)
	for lane, n := range hand {
		require.LessOrEqual(t, n, concurrency+mostWaiting, lane)
	}
	from := time.Now()
	w.kill()
	c.workers[0] = c.work("sms")
	restore()
	c.struck("kill "+w.name, from, w.name)
	c.awaitBusy()
	v := c.finish()
	t.Logf("in flight at the kill: %v; repeated %d", hand, v.duplicated)
	require.LessOrEqual(t, v.duplicated, len(notify.Lanes())*(concurrency+mostWaiting))
}

// A worker is killed while Kafka has the next steps of its jobs, and not their outcomes. Its successor gives the jobs the
// outcomes that are missing, and no provider is called again for them.
func TestChaosNextStepsWithoutAnOutcomeAreAdopted(t *testing.T) {
	c := refusalsOf(t, mix{busy: 1000})
	c.load.plain = true
	admin := freeAddress("127.0.0.1")
	first := c.work("sms", "--set", "kafka.instance_id=w", "--set", "admin.listen="+admin)
	require.Eventually(t, func() bool { return statusOf("http://"+admin+"/readyz") == http.StatusOK }, time.Minute, 50*time.Millisecond, "the worker is not ready")
	restore := c.stopLedger()
	client := &http.Client{}
	defer client.CloseIdleConnections()
	const letters = 8 // so few failures do not make the worker leave the provider alone
	for caller := range letters {
		l := c.load.draw(caller)
		l.lane = notify.LaneNormal
		c.load.write(client, l)
	}
	steps := func() (n int) {
		for _, tier := range []string{"200ms", "1s"} {
			n += len(kafkatest.All(t, []string{c.brokers}, c.prefix+"sms_topic.delay."+tier))
		}
		return n
	}
	for until := time.Now().Add(time.Minute); ; during(100 * time.Millisecond) {
		require.True(t, time.Now().Before(until), "the next steps are not on the ladder")
		if called, _ := c.provider.counts(); called > 0 && c.provider.inFlight(first.name) == 0 && steps() >= called {
			break
		}
	}
	first.kill()
	before := c.provider.requests()
	restore()
	c.provider.mix.Store(&mix{})
	second := c.work("sms", "--set", "kafka.instance_id=w", "--set", "admin.listen="+admin)
	c.stop = func() {}
	c.awaitEnds(time.Minute)
	adopted := int(figure("http://"+admin, "laudspeaker_runner_adopted_total"))
	second.term()
	t.Logf("%d of %d letters were tried before the kill; %d next steps were adopted", len(before), letters, adopted)
	require.Equal(t, len(before), adopted)
	for message, qs := range c.provider.requests() {
		require.Len(t, qs, len(before[message])+1, "calls for message %d", message)
	}
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
