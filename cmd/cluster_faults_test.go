package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// strike lets a fault happen, for as long as it takes, and returns when all works again: letters of every partition that were
// posted afterwards are delivered, and all replicas are in sync.
func (c *cluster) strike(s span, fault func()) {
	c.t.Helper()
	c.t.Logf("%s %s", clock4(time.Now()), s.name)
	s.from = time.Now()
	fault()
	lifted := time.Now()
	s.lifted = lifted.Sub(s.from)
	c.awaitAllServed(lifted)
	s.until = time.Now()
	c.struck(s.name, s.from)
	c.faults[len(c.faults)-1].until = s.until
	c.spans = append(c.spans, s)
	c.nodes.awaitWhole(c.prefix)
	c.t.Logf("%s lifted after %s, all served after %s", clock4(time.Now()), s.lifted.Round(time.Second), s.until.Sub(s.from).Round(time.Second))
}

// awaitAllServed returns when a letter that was posted since then has reached the provider, of each partition.
func (c *cluster) awaitAllServed(since time.Time) {
	c.t.Helper()
	waiting := map[string]bool{}
	for _, claim := range c.all(notify.Lanes()...) {
		waiting[claim] = true
	}
	ok := eventually(2*time.Minute, func() bool {
		seen := c.provider.requests()
		for claim, letters := range c.lettersOf(span{from: since, until: time.Now()}) {
			if slices.ContainsFunc(letters, func(l *letter) bool { return len(seen[l.number]) > 0 }) {
				delete(waiting, claim)
			}
		}
		return len(waiting) == 0
	})
	require.True(c.t, ok, "nothing is delivered from %v", waiting)
}

// harmed are the job partitions that need the node: it leads them or their ledger partition, or coordinates their group.
func (c *cluster) harmed(node int32) map[string]bool {
	leaders, harmed := c.nodes.leaders(c.prefix), map[string]bool{}
	for _, lane := range notify.Lanes() {
		coordinator := c.nodes.coordinator(c.groupOf(lane))
		for _, claim := range c.all(lane) {
			ledger := fmt.Sprintf("%sstatus_topic/%d", c.prefix, partitionOf(claim)%clusterPartitions)
			if coordinator == node || leaders[claim] == node || leaders[ledger] == node {
				harmed[claim] = true
			}
		}
	}
	return harmed
}

// led is a node that leads a partition of the normal lane; each call gives the leader of another one.
func (c *cluster) led() int32 {
	return c.nodes.leaders(c.prefix)[fmt.Sprintf("%s/%d", c.topicOf(notify.LaneNormal), len(c.spans)%clusterPartitions)]
}

// calm is no fault: what the others' p99 is to be compared with.
func (c *cluster) calm() {
	c.strike(span{name: "no fault"}, func() { during(20 * time.Second) })
}

func (c *cluster) killLeader() {
	node := c.led()
	c.strike(span{name: "leader killed", affected: c.harmed(node), heals: true}, func() {
		c.nodes.on("kill", node)
		during(25 * time.Second)
		c.nodes.on("start", node)
	})
}

func (c *cluster) freezeNode() {
	node := c.led()
	c.strike(span{name: "broker frozen for 30 s", affected: c.harmed(node), heals: true}, func() {
		c.nodes.on("freeze", node)
		during(30 * time.Second)
		c.nodes.on("thaw", node)
	})
	c.nodes.elect(c.prefix)
}

// electPreferred moves the leadership of all partitions twice. Nothing but that happens.
func (c *cluster) electPreferred() {
	affected := map[string]bool{}
	for _, claim := range c.all(notify.Lanes()...) {
		affected[claim] = true
	}
	c.strike(span{name: "preferred leaders elected", affected: affected}, func() {
		for turn := range 2 {
			of := map[int][]int32{}
			for p := range 2 * clusterPartitions {
				first := int32((p + 1 - turn) % nodeCount)
				of[p] = []int32{first + 1, (first+1)%nodeCount + 1, (first+2)%nodeCount + 1}
			}
			c.nodes.assign(of, c.spread()...)
		}
	})
}

// lose keeps one partition of a topic on one node alone, and stops that node. All other partitions have two more. The node is
// not killed: Kafka elects no leader for a partition whose only replica has lost its place in the ISR by an unclean shutdown.
func (c *cluster) lose(what, topic string, partition int, affected map[string]bool) {
	const node = 3
	c.nodes.assign(map[int][]int32{partition: {node}}, topic)
	c.strike(span{name: what + " partition without a leader", affected: affected}, func() {
		c.nodes.on("stop", node)
		during(25 * time.Second)
		c.nodes.on("start", node)
	})
	c.nodes.assign(nil, topic)
}

func (c *cluster) loseJobPartition() {
	topic := c.topicOf(notify.LaneNormal)
	c.lose("job", topic, 4, map[string]bool{topic + "/4": true})
}

func (c *cluster) loseLedgerPartition() {
	affected := map[string]bool{}
	for _, lane := range notify.Lanes() {
		affected[c.topicOf(lane)+"/4"] = true
	}
	c.lose("ledger", c.prefix+"status_topic", 4, affected)
}

// loseLettersPartition: jobs that end in a dead letter are few; those of the partitions whose dead letters go there wait.
func (c *cluster) loseLettersPartition() {
	c.lose("dead letter", c.prefix+"sms_topic.dlq", 1, c.modulo(3, 1))
}

func (c *cluster) loseDelayPartition() {
	c.lose("delay", c.prefix+"sms_topic.delay.200ms", 1, c.modulo(3, 1))
}

// modulo are the job partitions whose number leaves that remainder.
func (c *cluster) modulo(n, remainder int) map[string]bool {
	some := map[string]bool{}
	for _, claim := range c.all(notify.Lanes()...) {
		if partitionOf(claim)%n == remainder {
			some[claim] = true
		}
	}
	return some
}

func (c *cluster) loseQuorum() {
	affected := map[string]bool{}
	for _, claim := range c.all(notify.Lanes()...) {
		affected[claim] = true
	}
	c.strike(span{name: "quorum lost", affected: affected}, func() {
		c.nodes.on("kill", 2)
		c.nodes.on("kill", 3)
		during(20 * time.Second)
		c.nodes.on("start", 2)
		c.nodes.on("start", 3)
	})
	c.nodes.elect(c.prefix)
}

// isolateLeader cuts a node off from the others, not from the processes: it goes on as if it led its partitions.
func (c *cluster) isolateLeader() {
	node := c.led()
	c.strike(span{name: "leader cut off from the other nodes, not from clients", affected: c.harmed(node), heals: true}, func() {
		heal := c.nodes.isolate(node)
		during(40 * time.Second)
		heal()
	})
	c.nodes.elect(c.prefix)
}

// addPartitions doubles the partitions of a lane and of the ledger, and returns when the new ones are worked on.
func (c *cluster) addPartitions() {
	topic := c.topicOf(notify.LaneNormal)
	c.strike(span{name: "partitions added"}, func() {
		began := time.Now()
		c.load.mu.Lock()
		c.grown[topic] = began
		c.load.mu.Unlock()
		for _, name := range []string{topic, c.prefix + "status_topic"} {
			c.nodes.admin(func(a sarama.ClusterAdmin) error { return a.CreatePartitions(name, 2*clusterPartitions, nil, false) })
		}
		waiting := map[string]bool{}
		for p := clusterPartitions; p < 2*clusterPartitions; p++ {
			waiting[fmt.Sprintf("%s/%d", topic, p)] = true
		}
		ok := eventually(2*time.Minute, func() bool {
			c.events.mu.Lock()
			defer c.events.mu.Unlock()
			for _, claim := range c.events.claims {
				delete(waiting, claim)
			}
			return len(waiting) == 0
		})
		require.True(c.t, ok, "nothing is delivered from new partitions: %v", waiting)
		c.t.Logf("all new partitions were worked on after %s", time.Since(began).Round(100*time.Millisecond))
	})
}

// recreateTopic deletes the topic of a lane that is at rest and makes it anew, under live processes. The offsets of its records
// begin at 0 again.
func (c *cluster) recreateTopic() {
	topic, affected := c.topicOf(notify.LaneBulk), map[string]bool{}
	for _, claim := range c.all(notify.LaneBulk) {
		affected[claim] = true
	}
	c.stop()
	c.awaitEnds(2 * time.Minute)
	c.strike(span{name: "topic deleted and created again", affected: affected}, func() {
		var detail sarama.TopicDetail
		c.nodes.admin(func(a sarama.ClusterAdmin) error {
			all, err := a.ListTopics()
			detail = all[topic]
			return err
		})
		c.nodes.admin(func(a sarama.ClusterAdmin) error {
			if err := a.DeleteTopic(topic); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
				return cmp.Or(err, errors.New("not deleted yet"))
			}
			return nil
		})
		detail.ReplicaAssignment = nil
		c.nodes.admin(func(a sarama.ClusterAdmin) error {
			if err := a.CreateTopic(topic, &detail, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
				return err
			}
			return nil
		})
		c.stop = c.load.stream(c.t)
	})
}
