// Package kafkatest gives tests a Kafka: the brokers of LAUDSPEAKER_TEST_BROKERS, or an embedded one for the test alone.
//
// Topics and groups get names of their own, so that tests may share a broker and repeat.
package kafkatest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
)

// Brokers gives the addresses of a Kafka that lives as long as the test.
func Brokers(t testing.TB) []string {
	t.Helper()
	if env := os.Getenv("LAUDSPEAKER_TEST_BROKERS"); env != "" {
		return strings.Split(env, ",")
	}
	return []string{Embedded(t).Addr()}
}

// Embedded opens an embedded broker for the test, also when LAUDSPEAKER_TEST_BROKERS is set.
func Embedded(t testing.TB) *embedded.Broker {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// Name makes a name that no other test uses, for topics and groups.
func Name(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '.'
	}, t.Name())
	return name[:min(len(name), 100)] + "." + uuid.NewString()[:8]
}

// Topic makes a topic of that many partitions, named by [Name], that is deleted after the test. Configs are pairs such
// as "max.message.bytes", "1000".
func Topic(t testing.TB, brokers []string, partitions int, configs ...string) string {
	t.Helper()
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: -1, ConfigEntries: map[string]*string{}}
	for i := 0; i+1 < len(configs); i += 2 {
		detail.ConfigEntries[configs[i]] = &configs[i+1]
	}
	name := Name(t)
	admin := clusterAdmin(t, brokers)
	defer admin.Close()
	require.NoError(t, admin.CreateTopic(name, detail, false))
	t.Cleanup(func() {
		admin, err := sarama.NewClusterAdmin(brokers, config())
		if err != nil {
			return // a test's own broker may have gone before
		}
		defer admin.Close()
		_ = admin.DeleteTopic(name)
	})
	awaitLeaders(t, brokers, name, partitions)
	return name
}

// Drop deletes the topics with the prefix, if the brokers can be reached: for tests whose program makes its topics.
func Drop(brokers []string, prefix string) {
	admin, err := sarama.NewClusterAdmin(brokers, config())
	if err != nil {
		return
	}
	defer admin.Close()
	topics, _ := admin.ListTopics()
	for name := range topics {
		if strings.HasPrefix(name, prefix) {
			_ = admin.DeleteTopic(name)
		}
	}
}

// patience bounds every wait for a broker. It is long, because only a test that fails waits for all of it.
const patience = 2 * time.Minute

// awaitLeaders waits until the leader of each partition answers for it: a real broker announces a topic, and names the leaders
// in its metadata, before these accept requests.
func awaitLeaders(t testing.TB, brokers []string, topic string, partitions int) {
	t.Helper()
	c, err := sarama.NewClient(brokers, config())
	require.NoError(t, err)
	defer c.Close()
	retry(t, func() error {
		if err := c.RefreshMetadata(topic); err != nil {
			return err
		}
		ps, err := c.WritablePartitions(topic)
		if err != nil {
			return err
		}
		if len(ps) != partitions {
			return fmt.Errorf("%d of %d partitions of %s have a leader", len(ps), partitions, topic)
		}
		for _, p := range ps {
			if _, err := c.GetOffset(topic, p, sarama.OffsetOldest); err != nil {
				return err
			}
		}
		return nil
	})
}

// retry calls do until it succeeds. It fails the test with the last error when that takes too long.
func retry(t testing.TB, do func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	require.NoError(t, err)
}

// consume reads a partition from its start, once its leader answers: leadership may just have moved.
func consume(t testing.TB, c sarama.Consumer, topic string, partition int32) (pc sarama.PartitionConsumer) {
	t.Helper()
	retry(t, func() (err error) {
		pc, err = c.ConsumePartition(topic, partition, sarama.OffsetOldest)
		return err
	})
	return pc
}

// Records reads n records of the topic from its start, in order within a partition. Barriers do not count. It fails the
// test when fewer come.
func Records(t testing.TB, brokers []string, topic string, n int) []*sarama.ConsumerMessage {
	t.Helper()
	c, err := sarama.NewConsumer(brokers, config())
	require.NoError(t, err)
	defer c.Close()
	partitions, err := c.Partitions(topic)
	require.NoError(t, err)
	all := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	for _, p := range partitions {
		pc := consume(t, c, topic, p)
		defer pc.Close()
		go forward(pc, all, done)
	}
	return take(t, all, n, IsBarrier)
}

// IsBarrier reports whether a take-over has written the record to a ledger: it says nothing about any job.
func IsBarrier(m *sarama.ConsumerMessage) bool {
	return slices.ContainsFunc(m.Headers, func(h *sarama.RecordHeader) bool {
		return string(h.Key) == "ls-kind" && string(h.Value) == "barrier"
	})
}

// All reads what the topic holds now, without barriers.
func All(t testing.TB, brokers []string, topic string) []*sarama.ConsumerMessage {
	t.Helper()
	c, err := sarama.NewClient(brokers, config())
	require.NoError(t, err)
	defer c.Close()
	partitions, err := c.Partitions(topic)
	require.NoError(t, err)
	all := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	consumer, err := sarama.NewConsumerFromClient(c)
	require.NoError(t, err)
	defer consumer.Close()
	n := int64(0)
	for _, p := range partitions {
		oldest, newest := offset(t, c, topic, p, sarama.OffsetOldest), offset(t, c, topic, p, sarama.OffsetNewest)
		n += newest - oldest
		pc := consume(t, consumer, topic, p)
		defer pc.Close()
		go forward(pc, all, done)
	}
	nothing := func(*sarama.ConsumerMessage) bool { return false }
	return slices.DeleteFunc(take(t, all, int(n), nothing), IsBarrier)
}

func offset(t testing.TB, c sarama.Client, topic string, partition int32, at int64) (offset int64) {
	t.Helper()
	retry(t, func() (err error) {
		offset, err = c.GetOffset(topic, partition, at)
		return err
	})
	return offset
}

func forward(pc sarama.PartitionConsumer, all chan<- *sarama.ConsumerMessage, done <-chan struct{}) {
	for m := range pc.Messages() {
		select {
		case all <- m:
		case <-done:
		}
	}
}

func take(t testing.TB, all <-chan *sarama.ConsumerMessage, n int, skip func(*sarama.ConsumerMessage) bool) []*sarama.ConsumerMessage {
	t.Helper()
	var got []*sarama.ConsumerMessage
	enough := time.After(patience)
	for len(got) < n {
		select {
		case m := <-all:
			if !skip(m) {
				got = append(got, m)
			}
		case <-enough:
			require.Failf(t, "records are missing", "%d of %d came", len(got), n)
		}
	}
	return got
}

func clusterAdmin(t testing.TB, brokers []string) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(brokers, config())
	require.NoError(t, err)
	return admin
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "kafkatest"
	c.Version = sarama.V2_8_0_0
	c.Metadata.AllowAutoTopicCreation = false
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

// Set changes a setting of a topic that is there, such as max.message.bytes.
func Set(t testing.TB, brokers []string, topic, name, value string) {
	t.Helper()
	admin := clusterAdmin(t, brokers)
	defer admin.Close()
	require.NoError(t, admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
	}, false))
}
