package cmd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// The tests of these files are the cluster suite: the chaos suite's processes, provider and judge on an Apache Kafka of three
// nodes, with faults of single nodes and partitions under a steady load. For each fault they print how the partitions fared
// that had nothing to do with it, and how long the others stood still. LAUDSPEAKER_TEST_CLUSTER=short or long turns them on,
// LAUDSPEAKER_TEST_CLUSTER_PORT places the nodes.

// cluster is a run.
type cluster struct {
	*chaos
	nodes *nodes
	spans []span
	grown map[string]time.Time // topics that have got more partitions
}

const clusterPartitions = 6

// newCluster starts everything but the workers and the load.
func newCluster(t *testing.T, tls bool, m mix) *cluster {
	c := &cluster{chaos: newRun(t, m), grown: map[string]time.Time{}}
	c.nodes = newNodes(t, clusterPort(), tls)
	c.fleet = c.newFleet(t)
	api, url := c.serveAnywhere()
	c.api = api
	c.follow(url)
	return c
}

// steady starts the workers and a steady load.
func (c *cluster) steady() {
	t := c.t
	c.provider.delay = 200 * time.Millisecond
	c.load.plain = true
	for range 3 {
		c.workers = append(c.workers, c.work("sms"))
	}
	c.stop = c.load.stream(t)
	require.Eventually(t, func() bool { return c.events.ended() >= postKeys }, 2*time.Minute, 20*time.Millisecond, "hardly anything is delivered")
	c.nodes.assign(nil, c.spread()...)
	c.nodes.awaitWhole(c.prefix)
	t.Logf("%s begun", clock4(time.Now()))
}

// spread are the topics whose partitions are led by all nodes in turn.
func (c *cluster) spread() []string {
	return []string{c.topicOf(notify.LaneNormal), c.topicOf(notify.LaneUrgent), c.topicOf(notify.LaneBulk), c.prefix + "status_topic"}
}

func (c *cluster) newFleet(t *testing.T) *fleet {
	name := kafkatest.Name(t)
	f := &fleet{t: t, brokers: strings.Join(c.nodes.brokers(), ","), prefix: "cluster-" + name[len(name)-8:] + ".", dir: t.TempDir()}
	yaml := fmt.Sprintf(`
kafka: {%s, prefix: '%s', partitions: %d, session_timeout: 6s, delay_tiers: [200ms, 1s, 5s]}
admin: {listen: '127.0.0.1:0'}
data_dir: '%s/data'
%s
`, c.nodes.section(), f.prefix, clusterPartitions, f.dir, c.provider.section())
	require.NoError(t, os.WriteFile(f.dir+"/laudspeaker.yaml", []byte(yaml), 0o600))
	return f
}

// finishSteady waits until every promise has an end, ends all processes and judges.
func (c *cluster) finishSteady() {
	c.t.Helper()
	c.stop()
	c.awaitEnds(3 * time.Minute)
	for _, w := range c.workers {
		w.term()
	}
	c.api.term()
	c.report()
	c.judged("three nodes")
}

// all are the job partitions of the lanes.
func (c *cluster) all(lanes ...notify.Lane) (claims []string) {
	for _, lane := range lanes {
		for p := range clusterPartitions {
			claims = append(claims, fmt.Sprintf("%s/%d", c.topicOf(lane), p))
		}
	}
	return claims
}

// clusterFaults are all of them, in the order in which they strike.
var clusterFaults = []struct {
	name  string
	short bool // also in the short form
	times int  // in the long form
	do    func(c *cluster)
}{
	{"none", false, 1, (*cluster).calm},
	{"frozen", true, 5, (*cluster).freezeNode},
	{"killed", false, 1, (*cluster).killLeader},
	{"election", false, 1, (*cluster).electPreferred},
	{"job", false, 1, (*cluster).loseJobPartition},
	{"ledger", false, 1, (*cluster).loseLedgerPartition},
	{"dlq", false, 1, (*cluster).loseLettersPartition},
	{"delay", false, 1, (*cluster).loseDelayPartition},
	{"quorum", false, 1, (*cluster).loseQuorum},
	{"isolated", false, 1, (*cluster).isolateLeader},
	{"recreated", false, 1, (*cluster).recreateTopic},
	{"grown", false, 1, (*cluster).addPartitions},
}

// TestCluster takes all faults, once with TLS and once without; the short form takes those that tell the most in the time that a
// change is worth, with TLS. LAUDSPEAKER_TEST_CLUSTER_FAULTS names those of a run, as "frozen,job".
func TestCluster(t *testing.T) {
	form, chosen := clusterForm(t), os.Getenv(clusterEnv+"_FAULTS")
	if form == "chaos" {
		t.Skip("not in the form chaos")
	}
	for _, tls := range []bool{true, false} {
		if form == "short" && !tls {
			continue
		}
		t.Run(map[bool]string{false: "plain", true: "TLS"}[tls], func(t *testing.T) {
			c := newCluster(t, tls, mix{busy: 60, rejects: 20})
			c.steady()
			for _, f := range clusterFaults {
				if chosen == "" && (f.short || form == "long") || slices.Contains(strings.Split(chosen, ","), f.name) {
					for range map[string]int{"short": 1, "long": f.times}[form] {
						f.do(c)
					}
				}
			}
			c.finishSteady()
		})
	}
}
