package kafka

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offlineCluster is a broker of which single partitions can lose their leader.
type offlineCluster struct {
	*kfake.Cluster
	topics  map[string]int32 // with their partition counts
	mu      sync.Mutex
	offline map[topicPartition]*kfake.FaultHandle
	asked   int // metadata requests
}

func newOfflineCluster(t testing.TB, topics map[string]int32) *offlineCluster {
	opts := []kfake.Opt{kfake.NumBrokers(1)}
	for topic, n := range topics {
		opts = append(opts, kfake.SeedTopics(n, topic))
	}
	c, err := kfake.NewCluster(opts...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	o := &offlineCluster{Cluster: c, topics: topics, offline: map[topicPartition]*kfake.FaultHandle{}}
	host, port, err := net.SplitHostPort(c.ListenAddrs()[0])
	require.NoError(t, err)
	p, err := strconv.ParseInt(port, 10, 32)
	require.NoError(t, err)
	c.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return o.metadata(r.(*kmsg.MetadataRequest), host, int32(p)), nil, true
	})
	return o
}

// fail takes the leader from the partition until restore.
func (o *offlineCluster) fail(topic string, partition int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offline[topicPartition{topic, partition}] = o.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Fetch, kmsg.Produce, kmsg.ListOffsets}, Topic: topic, Partitions: []int32{partition},
		Err: kerr.NotLeaderForPartition, Count: -1,
	})
}

func (o *offlineCluster) restore(topic string, partition int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tp := topicPartition{topic, partition}
	o.offline[tp].Remove()
	delete(o.offline, tp)
}

func (o *offlineCluster) metadata(req *kmsg.MetadataRequest, host string, port int32) *kmsg.MetadataResponse {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	id := "cluster"
	resp.ClusterID = &id
	resp.ControllerID = 0
	b := kmsg.NewMetadataResponseBroker()
	b.Host, b.Port = host, port
	resp.Brokers = append(resp.Brokers, b)
	var names []string
	for _, t := range req.Topics {
		names = append(names, *t.Topic)
	}
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(o.topics))
	}
	for _, name := range names {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = &name
		n, known := o.topics[name]
		if !known {
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for i := range n {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.LeaderEpoch = i, 1
			p.Replicas, p.ISR = []int32{0}, []int32{0}
			if o.offline[topicPartition{name, i}] != nil {
				p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (o *offlineCluster) requests() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}
