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
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

const mib = 1 << 20

// small has segments of 1 MiB and room for four of them; jobs is read by the group g, ledger by none. Of the topics recorded
// the group recorder tells how far the status store has read them.
func small(t *testing.T, dir string, recorded ...string) *embedded.Broker {
	b, _ := smallLogged(t, dir, recorded...)
	return b
}

func smallLogged(t *testing.T, dir string, recorded ...string) (*embedded.Broker, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	b, err := embedded.Open(embedded.Config{
		Dir: dir, Listen: "127.0.0.1:0", MaxBytes: 4 * mib, MinFree: 1,
		Topics: map[string][]string{"jobs": {"g"}, "ledger": nil},
		Ledger: embedded.Ledger{Topic: "ledger", Needed: func(p int32, metadata string) (int32, int64, bool) {
			offset, err := strconv.ParseInt(metadata, 10, 64)
			return p, offset, err == nil
		}},
		Recorder: embedded.Recorder{Group: "recorder", Topics: recorded}, Log: zap.New(core),
	})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b, logs
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
	commitBy(t, b, "g", topic, offset, metadata)
}

func commitBy(t *testing.T, b *embedded.Broker, group, topic string, offset int64, metadata string) {
	t.Helper()
	client, err := sarama.NewClient([]string{b.Addr()}, sarama.NewConfig())
	require.NoError(t, err)
	defer client.Close()
	broker, err := client.Coordinator(group)
	require.NoError(t, err)
	req := &sarama.OffsetCommitRequest{Version: 2, ConsumerGroup: group, ConsumerGroupGeneration: -1, RetentionTime: -1}
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

// What the status store has not read is kept like what is unfinished, whatever its age, as long as there is room.
func TestWhatIsNotRecordedIsKept(t *testing.T) {
	for _, topic := range []string{"jobs", "ledger"} {
		t.Run(topic, func(t *testing.T) {
			dir := t.TempDir()
			b, logs := smallLogged(t, dir, "jobs", "ledger")
			create(t, b, topic, "1")
			fill(t, b, topic, 26) // 3.25 MiB: over 70 %
			commit(t, b, topic, 26, "26")
			age(t, dir, topic+"-0", time.Hour)
			b.Check()
			oldest, _ := bounds(t, b, topic)
			require.Zero(t, oldest, "nobody has recorded anything")
			require.NoError(t, b.Full())

			commitBy(t, b, "recorder", topic, 10, "")
			b.Check()
			oldest, _ = bounds(t, b, topic)
			require.Positive(t, oldest)
			require.LessOrEqual(t, oldest, int64(10), "no further than it has been recorded")
			require.Zero(t, logs.Len())
		})
	}
}

// A status store that is away or full stops nothing: before admission would end, what only it needs goes, and no more of it
// than must.
func TestWhatIsNotRecordedGoesLast(t *testing.T) {
	dir := t.TempDir()
	b, logs := smallLogged(t, dir, "jobs")
	create(t, b, "jobs", "3600000")
	fill(t, b, "jobs", 40)
	commit(t, b, "jobs", 40, "")
	b.Check()
	require.Error(t, b.Full(), "a recorder that works reads what is young")
	oldest, _ := bounds(t, b, "jobs")
	require.Zero(t, oldest)

	age(t, dir, "jobs-0", time.Minute)
	b.Check()
	require.NoError(t, b.Full())
	oldest, _ = bounds(t, b, "jobs")
	require.Positive(t, oldest)
	require.Less(t, oldest, int64(20), "what there is room for stays")
	lost := logs.FilterMessageSnippet("kafka.embedded.max_bytes").FilterLevelExact(zap.ErrorLevel)
	require.Equal(t, 1, lost.FilterMessageSnippet("status store").Len())

	more := func() { // outage goes on
		fill(t, b, "jobs", 16)
		_, newest := bounds(t, b, "jobs")
		commit(t, b, "jobs", newest, "")
		age(t, dir, "jobs-0", time.Minute)
		b.Check()
		require.NoError(t, b.Full())
	}
	more()
	more()
	lossIsSaid := func() int {
		return logs.FilterMessageSnippet("the status store has not read").FilterLevelExact(zap.ErrorLevel).Len()
	}
	require.Equal(t, 1, lossIsSaid(), "it is said once")

	_, newest := bounds(t, b, "jobs")
	commitBy(t, b, "recorder", "jobs", newest, "")
	b.Check()
	more()
	more()
	require.Equal(t, 2, lossIsSaid(), "the next outage is another one")
}

// Unfinished notifications are not deleted for being unread besides.
func TestWhatIsNeitherRecordedNorFinishedStays(t *testing.T) {
	dir := t.TempDir()
	b := small(t, dir, "jobs")
	create(t, b, "jobs", "1")
	fill(t, b, "jobs", 40)
	commit(t, b, "jobs", 10, "")
	age(t, dir, "jobs-0", time.Hour)
	b.Check()
	oldest, _ := bounds(t, b, "jobs")
	require.LessOrEqual(t, oldest, int64(10))
	require.Error(t, b.Full())
}

func TestDiskAlmostFull(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", MinFree: 1 << 60})
	require.NoError(t, err)
	defer b.Close()
	require.ErrorContains(t, b.Full(), "free some space")
	topic := kafkatest.Topic(t, []string{b.Addr()}, 1)
	produce(t, b.Addr(), topic, "outcomes are still written")
}
