package embedded_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

const mib = 1 << 20

// small has segments of 1 MiB and room for four of them; jobs is read by the group g, ledger by none.
func small(t *testing.T, dir string) *embedded.Broker {
	t.Helper()
	b, err := embedded.Open(embedded.Config{
		Dir: dir, Listen: "127.0.0.1:0", MaxBytes: 4 * mib, MinFree: 1,
		Topics: map[string][]string{"jobs": {"g"}, "ledger": nil},
		Ledger: embedded.Ledger{Topic: "ledger", Needed: func(p int32, metadata string) (int32, int64, bool) {
			offset, err := strconv.ParseInt(metadata, 10, 64)
			return p, offset, err == nil
		}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func create(t *testing.T, b *embedded.Broker, topic, retention string) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin([]string{b.Addr()}, sarama.NewConfig())
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: 1, ReplicationFactor: -1, ConfigEntries: map[string]*string{"retention.ms": &retention},
	}, false))
}

// fill writes records of 128 KiB that do not compress.
func fill(t *testing.T, b *embedded.Broker, topic string, records int) {
	t.Helper()
	for range records {
		v := make([]byte, 128<<10)
		_, _ = rand.Read(v)
		produce(t, b.Addr(), topic, string(v))
	}
}

func commit(t *testing.T, b *embedded.Broker, topic string, offset int64, metadata string) {
	t.Helper()
	client, err := sarama.NewClient([]string{b.Addr()}, sarama.NewConfig())
	require.NoError(t, err)
	defer client.Close()
	broker, err := client.Coordinator("g")
	require.NoError(t, err)
	req := &sarama.OffsetCommitRequest{Version: 2, ConsumerGroup: "g", ConsumerGroupGeneration: -1, RetentionTime: -1}
	req.AddBlock(topic, 0, offset, 0, metadata)
	res, err := broker.CommitOffset(req)
	require.NoError(t, err)
	require.Equal(t, sarama.ErrNoError, res.Errors[topic][0])
}

// bounds gives the first and the next offset.
func bounds(t *testing.T, b *embedded.Broker, topic string) (oldest, newest int64) {
	t.Helper()
	client, err := sarama.NewClient([]string{b.Addr()}, sarama.NewConfig())
	require.NoError(t, err)
	defer client.Close()
	oldest, err = client.GetOffset(topic, 0, sarama.OffsetOldest)
	require.NoError(t, err)
	newest, err = client.GetOffset(topic, 0, sarama.OffsetNewest)
	require.NoError(t, err)
	return oldest, newest
}

func TestFinishedGoesFirstThenAdmissionStops(t *testing.T) {
	dir := t.TempDir()
	b := small(t, dir)
	create(t, b, "jobs", "1")
	fill(t, b, "jobs", 40) // 5 MiB
	b.Check()
	var full *embedded.FullError
	require.ErrorAs(t, b.Full(), &full)
	require.ErrorContains(t, full, "kafka.embedded.max_bytes")
	oldest, _ := bounds(t, b, "jobs")
	require.Zero(t, oldest, "unfinished, whatever its age")

	commit(t, b, "jobs", 20, "")
	b.Check()
	require.NoError(t, b.Full())
	oldest, _ = bounds(t, b, "jobs")
	require.Positive(t, oldest)
	require.LessOrEqual(t, oldest, int64(20), "no further than the commit")

	commit(t, b, "jobs", 40, "")
	b.Check()
	oldest, newest := bounds(t, b, "jobs")
	require.Less(t, oldest, newest, "the last segment stays: a start after a crash counts on from it")
	require.Equal(t, int64(40), newest)
}

func TestOffsetsGoOnAfterRetentionAndKill(t *testing.T) {
	dir := t.TempDir()
	b := small(t, dir)
	create(t, b, "jobs", "1")
	fill(t, b, "jobs", 20)
	commit(t, b, "jobs", 20, "")
	b.Check()
	require.NoError(t, b.Close())
	for _, snapshot := range []string{"snapshot.json"} { // as after a kill, which writes none
		require.NoError(t, os.Remove(filepath.Join(dir, "partitions", "jobs-0", snapshot)))
	}
	b = small(t, dir)
	_, newest := bounds(t, b, "jobs")
	require.Equal(t, int64(20), newest)
}

func TestRoomyKeepsWhatIsYoung(t *testing.T) {
	b := small(t, t.TempDir())
	create(t, b, "jobs", "3600000")
	fill(t, b, "jobs", 16)
	commit(t, b, "jobs", 16, "")
	b.Check()
	oldest, _ := bounds(t, b, "jobs")
	require.Zero(t, oldest, "finished, but there is room")
}

// What no group reads goes by age alone, and never to make room.
func TestUnreadGoesByAge(t *testing.T) {
	dir := t.TempDir()
	b := small(t, dir)
	create(t, b, "jobs.dlq", "3600000")
	fill(t, b, "jobs.dlq", 40)
	b.Check()
	require.Error(t, b.Full())
	oldest, _ := bounds(t, b, "jobs.dlq")
	require.Zero(t, oldest)

	age(t, dir, "jobs.dlq-0", 2*time.Hour)
	b.Check()
	oldest, newest := bounds(t, b, "jobs.dlq")
	require.Positive(t, oldest)
	require.Less(t, oldest, newest)
	require.NoError(t, b.Full())
}

func age(t *testing.T, dir, partition string, by time.Duration) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "partitions", partition, "*.dat"))
	require.NoError(t, err)
	require.Greater(t, len(files), 1, "several segments")
	then := time.Now().Add(-by)
	for _, f := range files {
		require.NoError(t, os.Chtimes(f, then, then))
	}
}

func TestLedgerIsKeptAsFarAsCommitsNeedIt(t *testing.T) {
	b := small(t, t.TempDir())
	create(t, b, "jobs", "3600000")
	create(t, b, "ledger", "3600000")
	fill(t, b, "ledger", 40)
	produce(t, b.Addr(), "jobs", "a job without a commit: its group will read the whole ledger")
	b.Check()
	oldest, _ := bounds(t, b, "ledger")
	require.Zero(t, oldest)

	commit(t, b, "jobs", 1, "no word of the ledger")
	b.Check()
	oldest, _ = bounds(t, b, "ledger")
	require.Zero(t, oldest)

	commit(t, b, "jobs", 1, "20")
	b.Check()
	oldest, _ = bounds(t, b, "ledger")
	require.Positive(t, oldest)
	require.LessOrEqual(t, oldest, int64(20))
}

func TestDiskAlmostFull(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", MinFree: 1 << 60})
	require.NoError(t, err)
	defer b.Close()
	require.ErrorContains(t, b.Full(), "free some space")
	topic := kafkatest.Topic(t, []string{b.Addr()}, 1)
	produce(t, b.Addr(), topic, "outcomes are still written")
}
