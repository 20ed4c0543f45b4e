package kafkatest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

// Log is what has been read of a topic so far.
type Log struct {
	mu      sync.Mutex
	records []*sarama.ConsumerMessage
}

// Records gives what has been read, in order within a partition.
func (l *Log) Records() []*sarama.ConsumerMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// Follow reads the topic from its start until the end of the test, without barriers. The topic has to be there.
func Follow(t testing.TB, brokers []string, topic string) *Log {
	t.Helper()
	c, err := sarama.NewConsumer(brokers, config())
	require.NoError(t, err)
	partitions, err := c.Partitions(topic)
	require.NoError(t, err)
	l := &Log{}
	var readers sync.WaitGroup
	var open []sarama.PartitionConsumer
	t.Cleanup(func() {
		for _, pc := range open {
			pc.AsyncClose()
		}
		readers.Wait()
		_ = c.Close()
	})
	for _, p := range partitions {
		pc, err := c.ConsumePartition(topic, p, sarama.OffsetOldest)
		require.NoError(t, err)
		open = append(open, pc)
		readers.Go(func() {
			for m := range pc.Messages() {
				if IsBarrier(m) {
					continue
				}
				l.mu.Lock()
				l.records = append(l.records, m)
				l.mu.Unlock()
			}
		})
	}
	return l
}

// Forget deletes the topics and groups that begin with prefix, as far as they can be deleted.
func Forget(t testing.TB, brokers []string, prefix string) {
	admin := clusterAdmin(t, brokers)
	defer admin.Close()
	topics, _ := admin.ListTopics()
	for name := range topics {
		if strings.HasPrefix(name, prefix) {
			_ = admin.DeleteTopic(name)
		}
	}
	groups, _ := admin.ListConsumerGroups()
	for name := range groups {
		if strings.HasPrefix(name, prefix) {
			_ = admin.DeleteConsumerGroup(name)
		}
	}
}

// Recreate deletes a topic and creates it again under the same name, empty and with another id.
func Recreate(t testing.TB, brokers []string, topic string, partitions int, configs ...string) {
	t.Helper()
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: -1, ConfigEntries: map[string]*string{}}
	for i := 0; i+1 < len(configs); i += 2 {
		detail.ConfigEntries[configs[i]] = &configs[i+1]
	}
	admin := clusterAdmin(t, brokers)
	defer admin.Close()
	require.NoError(t, admin.DeleteTopic(topic))
	require.Eventually(t, func() bool { // a real broker deletes it in the background
		err := admin.CreateTopic(topic, detail, false)
		return err == nil
	}, patience, 50*time.Millisecond, "topic %s cannot be created again", topic)
	awaitLeaders(t, brokers, topic, partitions)
}
