package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

// nodes are an Apache Kafka of three nodes, the test's own. They reach each other through proxies: see scripts/kafka.sh.
type nodes struct {
	t     testing.TB
	port  int              // of node 1; the ports of the others follow
	tls   bool             // clients of the program come by TLS
	links map[string]*link // what leads into a node's listener for brokers ("2"), and from a node to a controller ("1>2")
}

const nodeCount = 3

// newNodes starts empty nodes.
func newNodes(t testing.TB, port int, tls bool) *nodes {
	n := &nodes{t: t, port: port, tls: tls, links: map[string]*link{}}
	_, _ = n.try("kill") // of a run that did not end well
	require.Eventually(t, func() bool { _, err := n.try("wipe"); return err == nil }, time.Minute, 100*time.Millisecond)
	for i := 1; i <= nodeCount; i++ {
		n.links[fmt.Sprint(i)] = newLink(t, n.address(i, 4), n.address(i, 2))
		for j := 1; j <= nodeCount; j++ {
			if i != j {
				n.links[fmt.Sprintf("%d>%d", i, j)] = newLink(t, n.address(i, 4+j), n.address(j, 1))
			}
		}
	}
	t.Cleanup(func() {
		_, _ = n.try("thaw")
		_, _ = n.try("kill") // they cannot end in order: their links end with the test
	})
	n.script("start")
	return n
}

// address of a port of node i.
func (n *nodes) address(i, offset int) string {
	return "127.0.0.1:" + strconv.Itoa(n.port+10*(i-1)+offset)
}

// brokers gives the addresses that the tests' own clients use.
func (n *nodes) brokers() (all []string) {
	for i := 1; i <= nodeCount; i++ {
		all = append(all, n.address(i, 0))
	}
	return all
}

// section is the part of the configuration by which the program reaches the nodes.
func (n *nodes) section() string {
	if !n.tls {
		return fmt.Sprintf("brokers: ['%s']", strings.Join(n.brokers(), "','"))
	}
	var all []string
	for i := 1; i <= nodeCount; i++ {
		all = append(all, n.address(i, 3))
	}
	ca, err := filepath.Abs(filepath.Join("..", ".kafka", strconv.Itoa(n.port), "tls", "ca.pem"))
	require.NoError(n.t, err)
	return fmt.Sprintf("brokers: ['%s'], tls: {ca_file: '%s'}", strings.Join(all, "','"), ca)
}

func (n *nodes) try(verb string) (string, error) {
	return script("kafka.sh", verb, "LAUDSPEAKER_KAFKA_PORT="+strconv.Itoa(n.port), "LAUDSPEAKER_KAFKA_NODES="+strconv.Itoa(nodeCount),
		"LAUDSPEAKER_KAFKA_CUT=1", "LAUDSPEAKER_KAFKA_TLS=1")
}

// script runs a verb for all nodes, or "verb N" for one.
func (n *nodes) script(verb string) {
	n.t.Helper()
	out, err := n.try(verb)
	require.NoError(n.t, err, out)
}

func (n *nodes) on(verb string, i int32) { n.t.Helper(); n.script(fmt.Sprintf("%s %d", verb, i)) }

// isolate cuts node i off from the other nodes, but from no client, until heal is called. It may still follow the others.
func (n *nodes) isolate(i int32) (heal func()) {
	var heals []func()
	for name, l := range n.links {
		if name == fmt.Sprint(i) || strings.HasPrefix(name, fmt.Sprintf("%d>", i)) || strings.HasSuffix(name, fmt.Sprintf(">%d", i)) {
			heals = append(heals, l.hurt(n.t, "cut"))
		}
	}
	return func() {
		for _, heal := range heals {
			heal()
		}
	}
}

// admin does something with an admin client, again and again until it succeeds: a cluster that has lost a node may take a while.
func (n *nodes) admin(do func(sarama.ClusterAdmin) error) {
	n.t.Helper()
	var err error
	if !eventually(2*time.Minute, func() bool { err = n.tryAdmin(do); return err == nil }) {
		require.NoError(n.t, err)
	}
}

func (n *nodes) tryAdmin(do func(sarama.ClusterAdmin) error) error {
	sc := sarama.NewConfig()
	sc.Net.ReadTimeout, sc.Net.DialTimeout, sc.Admin.Timeout = 10*time.Second, 2*time.Second, 8*time.Second
	sc.Metadata.Retry.Max = 1
	admin, err := sarama.NewClusterAdmin(n.brokers(), sc)
	if err != nil {
		return err
	}
	defer admin.Close()
	return do(admin)
}

// topics describes the topics with the prefix.
func (n *nodes) topics(prefix string) (all []*sarama.TopicMetadata) {
	n.t.Helper()
	n.admin(func(a sarama.ClusterAdmin) error {
		named, err := a.ListTopics()
		if err != nil {
			return err
		}
		var names []string
		for name := range named {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		all, err = a.DescribeTopics(names)
		return err
	})
	slices.SortFunc(all, func(a, b *sarama.TopicMetadata) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range all {
		slices.SortFunc(t.Partitions, func(a, b *sarama.PartitionMetadata) int { return int(a.ID - b.ID) })
	}
	return all
}

// leaders gives who leads each partition, by "topic/partition"; -1 is nobody.
func (n *nodes) leaders(prefix string) map[string]int32 {
	all := map[string]int32{}
	for _, t := range n.topics(prefix) {
		for _, p := range t.Partitions {
			all[fmt.Sprintf("%s/%d", t.Name, p.ID)] = p.Leader
		}
	}
	return all
}

// coordinator of a group.
func (n *nodes) coordinator(group string) (id int32) {
	n.t.Helper()
	n.admin(func(a sarama.ClusterAdmin) error {
		b, err := a.Coordinator(group)
		if err == nil {
			id = b.ID()
		}
		return err
	})
	return id
}

// assign puts each partition of the topics on the nodes given for it; what is not given takes all nodes. It returns once the
// partitions are there and led by the first of their nodes.
func (n *nodes) assign(of map[int][]int32, topics ...string) {
	n.t.Helper()
	want := map[string][][]int32{}
	for _, topic := range topics {
		for p := range n.topics(topic)[0].Partitions { // the shortest name comes first
			to := of[p]
			if to == nil {
				to = []int32{int32(p%nodeCount + 1), int32((p+1)%nodeCount + 1), int32((p+2)%nodeCount + 1)}
			}
			want[topic] = append(want[topic], to)
		}
		n.admin(func(a sarama.ClusterAdmin) error { return a.AlterPartitionReassignments(topic, want[topic]) })
	}
	require.Eventually(n.t, func() bool {
		for _, t := range n.topics(commonPrefix(topics)) {
			for _, p := range t.Partitions {
				if to := want[t.Name]; to != nil && (len(p.Replicas) != len(to[p.ID]) || len(p.Isr) != len(p.Replicas)) {
					return false
				}
			}
		}
		return true
	}, 2*time.Minute, 200*time.Millisecond, "the partitions of %v do not move", topics)
	n.elect(topics...)
}

func commonPrefix(names []string) string {
	prefix := names[0]
	for _, name := range names {
		for !strings.HasPrefix(name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}

// elect asks for the preferred leader of each partition of the topics, or of all that begin with the common part of their names.
func (n *nodes) elect(topics ...string) {
	n.t.Helper()
	all := map[string][]int32{}
	for _, t := range n.topics(commonPrefix(topics)) {
		for _, p := range t.Partitions {
			if len(p.Replicas) > 0 && p.Leader != p.Replicas[0] {
				all[t.Name] = append(all[t.Name], p.ID)
			}
		}
	}
	if len(all) > 0 {
		n.admin(func(a sarama.ClusterAdmin) error { _, err := a.ElectLeaders(sarama.PreferredElection, all); return err })
	}
}

// awaitWhole returns when each partition with the prefix, and of the groups' offsets, has a leader and all its replicas in sync.
func (n *nodes) awaitWhole(prefix string) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		for _, t := range slices.Concat(n.topics(prefix), n.topics("__consumer_offsets")) {
			for _, p := range t.Partitions {
				if p.Leader < 0 || len(p.Isr) < len(p.Replicas) {
					return false
				}
			}
		}
		return true
	}, 3*time.Minute, 200*time.Millisecond, "the cluster does not become whole again")
}

// clusterPort is the port of node 1.
func clusterPort() int { return numberOf(clusterEnv+"_PORT", 20192) }

// clusterEnv turns the suite on and begins the names of its variables.
const clusterEnv = "LAUDSPEAKER_TEST_CLUSTER"

// clusterForm is "short", "long" or "chaos"; without the variable the test is skipped.
func clusterForm(t testing.TB) string {
	form := os.Getenv(clusterEnv)
	if form != "short" && form != "long" && form != "chaos" {
		t.Skip("set " + clusterEnv + "=short, long or chaos to run this on three nodes of a real Kafka")
	}
	return form
}
