package cmd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// nodeBlows are the faults of the chaos suite on three nodes: instead of its only broker, one node of three is killed or frozen.
func (c *cluster) nodeBlows() []blow {
	return []blow{
		{"a worker killed", (*chaos).killWorker},
		{"the API killed", (*chaos).killAPI},
		{"a worker frozen", (*chaos).freezeWorker},
		{"workers restarted one by one", (*chaos).roll},
		{"workers that come and go", (*chaos).storm},
		{"a node killed", func(_ *chaos, r *rand.Rand) { c.hurtNode(r, "kill", "start", 3*time.Second) }},
		{"a node frozen", func(_ *chaos, r *rand.Rand) { c.hurtNode(r, "freeze", "thaw", 12*time.Second) }},
		{"a node killed, and a worker", func(_ *chaos, r *rand.Rand) { c.killNodeAndWorker(r) }},
	}
}

// hurtNode lets one node fail for a time, and returns when all replicas are in sync again.
func (c *cluster) hurtNode(r *rand.Rand, verb, undo string, long time.Duration) {
	node, from := int32(1+r.IntN(nodeCount)), time.Now()
	c.nodes.on(verb, node)
	during(long)
	c.nodes.on(undo, node)
	c.nodes.awaitWhole(c.prefix)
	c.struck(fmt.Sprintf("%s of node %d", verb, node), from)
}

func (c *cluster) killNodeAndWorker(r *rand.Rand) {
	node, from := int32(1+r.IntN(nodeCount)), time.Now()
	c.nodes.on("kill", node)
	i := r.IntN(len(c.workers))
	c.workers[i].kill()
	c.workers[i] = c.newWorker(i)
	during(3 * time.Second)
	c.nodes.on("start", node)
	c.nodes.awaitWhole(c.prefix)
	c.struck(fmt.Sprintf("kill of node %d and of a worker", node), from)
}

// TestClusterChaos is the chaos suite on three nodes, with a provider on a bad day. LAUDSPEAKER_TEST_CHAOS is how many letters it has at
// least, LAUDSPEAKER_TEST_CHAOS_KILLS how many faults.
func TestClusterChaos(t *testing.T) {
	if clusterForm(t) != "chaos" {
		t.Skip("only in the form chaos")
	}
	c := newCluster(t, false, badDay())
	c.begin()
	c.strikeAll(c.nodeBlows(), c.kills, 0)
	c.finish()
}
