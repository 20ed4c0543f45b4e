package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// followed is what a follower has given so far.
type followed struct {
	t        *testing.T
	mu       sync.Mutex
	values   []string
	at       map[string]int64
	restarts []kafka.Restart
}

// follow reads topics until the test ends, or stop is called.
func follow(t *testing.T, brokers, topics []string, from kafka.From) (f *followed, stop func()) {
	t.Helper()
	return followWith(t, kafka.Config{Brokers: brokers}, topics, from)
}

func followWith(t *testing.T, cfg kafka.Config, topics []string, from kafka.From) (f *followed, stop func()) {
	t.Helper()
	follower, err := kafka.NewFollower(cfg, topics, quiet())
	require.NoError(t, err)
	f = &followed{t: t, at: map[string]int64{}}
	ctx, cancel := context.WithCancel(context.Background())
	out, ended := make(chan []kafka.Chunk), make(chan error, 1)
	go func() { ended <- follower.Run(ctx, from, out); close(out) }()
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for chunks := range out {
			f.take(chunks)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); require.NoError(t, <-ended); <-taken })
	t.Cleanup(stop)
	return f, stop
}

func (f *followed) take(chunks []kafka.Chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range chunks {
		place := fmt.Sprintf("%s/%d", c.Topic, c.Partition)
		for _, r := range c.Records {
			if r.Offset < f.at[place] && c.Restart == kafka.NotRestarted {
				f.t.Errorf("%s: offset %d after %d", place, r.Offset, f.at[place])
			}
			f.at[place] = r.Offset + 1
			f.values = append(f.values, string(r.Value))
		}
		if c.Restart != kafka.NotRestarted {
			f.restarts = append(f.restarts, c.Restart)
		}
		f.at[place] = c.Next
		if c.Next > c.End {
			f.t.Errorf("%s: read to %d beyond the end %d", place, c.Next, c.End)
		}
	}
}

func (f *followed) await(what string, is func() bool) {
	f.t.Helper()
	eventually(f.t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return is() }, what)
}

func (f *followed) counts() map[string]int {
	all := map[string]int{}
	for _, v := range f.values {
		all[v]++
	}
	return all
}

func oldest(string, int32) (int64, kafka.TopicID) { return -1, kafka.TopicID{} }

// write puts values into a partition, each acknowledged.
func write(t *testing.T, brokers []string, topic string, partition int32, values ...string) {
	t.Helper()
	c := sarama.NewConfig()
	c.Producer.Return.Successes, c.Producer.Partitioner, c.Producer.MaxMessageBytes = true, sarama.NewManualPartitioner, 8<<20
	p, err := sarama.NewSyncProducer(brokers, c)
	require.NoError(t, err)
	defer p.Close()
	for _, v := range values {
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(v)})
		require.NoError(t, err)
	}
}

func TestAFollowerReadsAllPartitionsOnceAndGoesOn(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	one, two := kafkatest.Topic(t, brokers, 3, "max.message.bytes", "9000000"), kafkatest.Topic(t, brokers, 2)
	for p := range int32(3) {
		write(t, brokers, one, p, fmt.Sprint("one", p), "x")
	}
	write(t, brokers, two, 1, "two")
	f, stop := follow(t, brokers, []string{one, two}, func(topic string, p int32) (int64, kafka.TopicID) {
		if topic == one && p == 0 {
			return 1, kafka.TopicID{} // "one0" has been read before
		}
		return oldest(topic, p)
	})
	f.await("what is there", func() bool { return len(f.values) == 6 })
	large := strings.Repeat("l", 6<<20)
	write(t, brokers, one, 2, large, "after")
	write(t, brokers, two, 0, "later")
	f.await("what comes later, and what is larger than an answer", func() bool { return len(f.values) == 9 })
	stop()
	require.Equal(t, map[string]int{"x": 3, "one1": 1, "one2": 1, "two": 1, large: 1, "after": 1, "later": 1}, f.counts())
	require.Empty(t, f.restarts)

	r, err := kafka.NewReader(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	defer r.Close()
	ends, err := r.Ends([]string{one, two})
	require.NoError(t, err)
	require.ElementsMatch(t, []kafka.Place{{one, 0, 2}, {one, 1, 2}, {one, 2, 4}, {two, 0, 1}, {two, 1, 1}}, ends)
	_, err = r.Ends([]string{one, "nowhere"})
	require.ErrorIs(t, err, kafka.ErrNoTopic)
	group := kafkatest.Name(t)
	require.NoError(t, r.Commit(group, ends))
	at, err := r.Position(group, one, 2)
	require.NoError(t, err)
	require.EqualValues(t, 4, at.Offset)
}

// readTo is a position of a topic with that id.
func readTo(next int64, id kafka.TopicID) kafka.From {
	return func(string, int32) (int64, kafka.TopicID) { return next, id }
}

func idOf(t *testing.T, brokers []string, topic string) kafka.TopicID {
	t.Helper()
	r, err := kafka.NewReader(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	defer r.Close()
	ids, err := r.TopicIDs([]string{topic})
	require.NoError(t, err)
	require.False(t, ids[topic].IsZero())
	return ids[topic]
}

func TestFollower_PositionThatIsNotThere(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	write(t, brokers, topic, 0, "a", "b", "c")
	id := idOf(t, brokers, topic)
	other := id
	other[0] ^= 1

	short, _ := follow(t, brokers, []string{topic}, readTo(1000, id))
	unknown, _ := follow(t, brokers, []string{topic}, readTo(1000, kafka.TopicID{}))
	recreated, _ := follow(t, brokers, []string{topic}, readTo(2, other))
	recreated.await("another id makes the position void", func() bool { return len(recreated.values) == 3 })
	require.Equal(t, []kafka.Restart{kafka.Recreated}, recreated.restarts)
	unknown.await("where no id tells, everything is read", func() bool { return len(unknown.values) == 3 })
	require.Equal(t, []kafka.Restart{kafka.Recreated}, unknown.restarts)
	short.await("a truncation", func() bool { return len(short.restarts) == 1 })
	write(t, brokers, topic, 0, "d")
	short.await("what comes after the truncation", func() bool { return len(short.values) == 1 })
	require.Equal(t, []string{"d"}, short.values)
	require.Equal(t, []kafka.Restart{kafka.Truncated}, short.restarts)

	admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.DeleteRecords(topic, map[int32]int64{0: 2}))
	gone, _ := follow(t, brokers, []string{topic}, readTo(1, id))
	gone.await("what is left", func() bool { return len(gone.values) == 2 })
	require.Equal(t, []kafka.Restart{kafka.RecordsGone}, gone.restarts)
}

// A topic that is deleted and created again is as long as the position by the time that anybody looks: only its id tells.
func TestFollower_TopicIsCreatedAgainWhileItIsRead(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	write(t, brokers, topic, 0, "a", "b", "c")
	f, stop := follow(t, brokers, []string{topic}, oldest)
	f.await("the old topic", func() bool { return len(f.values) == 3 })
	admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.DeleteTopic(topic))
	eventually(t, func() bool {
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false) == nil
	}, "the topic is created again")
	write(t, brokers, topic, 0, "d", "e", "f", "g", "h")
	f.await("every record of the new topic", func() bool {
		c := f.counts()
		return c["d"] > 0 && c["e"] > 0 && c["f"] > 0 && c["g"] > 0 && c["h"] > 0
	})
	stop()
	require.Equal(t, []kafka.Restart{kafka.Recreated}, f.restarts)
}

func TestAFollowerSeesNothingOfATransactionThatCameToNothing(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	c.Producer.Return.Successes, c.Producer.Transaction.ID = true, kafkatest.Name(t)
	p, err := sarama.NewSyncProducer(brokers, c)
	require.NoError(t, err)
	defer p.Close()
	f, _ := follow(t, brokers, []string{topic}, oldest)
	within := func(end func() error, values ...string) {
		require.NoError(t, p.BeginTxn())
		for _, v := range values {
			_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)})
			require.NoError(t, err)
		}
		write(t, brokers, topic, 0, "beside "+values[0])
		require.NoError(t, end())
	}
	within(p.CommitTxn, "kept")
	within(p.AbortTxn, "dropped", "dropped too")
	within(p.CommitTxn, "kept again")
	within(p.AbortTxn, "last")
	write(t, brokers, topic, 0, "end")
	f.await("the last", func() bool { return f.counts()["end"] == 1 })
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, map[string]int{
		"kept": 1, "kept again": 1, "end": 1, "beside kept": 1, "beside dropped": 1, "beside kept again": 1, "beside last": 1,
	}, f.counts())
}

// A topic that is not there yet, a broker that is not there, and one that comes back: all are waited for.
func TestAFollowerWaitsForWhatIsAway(t *testing.T) {
	dir := t.TempDir()
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	brokers := []string{b.Addr()}
	f, _ := follow(t, brokers, []string{"late"}, oldest)
	_, err = kafka.Ensure(t.Context(), kafka.Config{Brokers: brokers}, []kafka.TopicSpec{{Name: "late", Partitions: 2}}, true)
	require.NoError(t, err)
	write(t, brokers, "late", 1, "first")
	f.await("a topic that was made later", func() bool { return len(f.values) == 1 })
	for i := range 2 {
		require.NoError(t, b.Close())
		b, err = embedded.Open(embedded.Config{Dir: dir, Listen: brokers[0]})
		require.NoError(t, err)
		write(t, brokers, "late", 0, fmt.Sprint("again", i))
		f.await("what came after the restart", func() bool { return len(f.values) == 2+i })
	}
	defer b.Close()
	require.Equal(t, []string{"first", "again0", "again1"}, f.values)
}

// What nobody takes is not read on: memory stays bounded.
func TestAFollowerWaitsForItsCaller(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	write(t, brokers, topic, 0, "a")
	follower, err := kafka.NewFollower(kafka.Config{Brokers: brokers}, []string{topic}, quiet())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	require.NoError(t, follower.Run(ctx, oldest, make(chan []kafka.Chunk)), "it ends although its answer is not taken")
}
