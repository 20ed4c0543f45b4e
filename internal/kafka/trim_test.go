package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

func TestTrimmer_DeletesWhatWasCommittedLongEnoughAgo(t *testing.T) {
	tp, other := topicPartition{"t", 0}, topicPartition{"t", 1}
	tr := &trimmer{r: &Runner{cfg: RunnerConfig{DeleteAfter: time.Hour}}, marks: map[topicPartition][]mark{}, deleted: map[topicPartition]int64{}, refused: map[string]bool{}}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int, committed map[topicPartition]int64) map[topicPartition]int64 {
		return tr.due(committed, now.Add(time.Duration(minutes)*time.Minute))
	}
	of := func(a, b int64) map[topicPartition]int64 { return map[topicPartition]int64{tp: a, other: b} }
	require.Empty(t, at(0, of(0, 10)))
	require.Empty(t, at(5, of(7, 10)))
	require.Empty(t, at(59, of(9, 10)))
	require.Equal(t, map[topicPartition]int64{other: 10}, at(60, of(9, 10)))
	require.Equal(t, map[topicPartition]int64{tp: 7}, at(65, of(9, 10)))
	require.Empty(t, at(70, of(9, 10)), "once")
	require.Empty(t, at(71, of(3, 10)), "an operator has set it back")
	require.Empty(t, at(130, of(8, 10)), "what was known of 9 is void")
	require.Empty(t, at(132, map[topicPartition]int64{tp: 8}))
	require.Equal(t, map[topicPartition]int64{tp: 8}, at(191, of(8, 10)))
	tr.refused["t"] = true
	require.Empty(t, at(300, of(8, 10)))
	require.LessOrEqual(t, len(tr.marks[tp]), 2)
}

// The records that a runner has done are deleted from their topic; never beyond what is committed. A refusal is said once.
func TestRunner_DeletesRecordsThatAreDone(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused %v", refused), func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "jobs", "ledger"))
			require.NoError(t, err)
			defer c.Close()
			asked := make(chan int64, 1000)
			c.ControlKey(kmsg.DeleteRecords.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				req := r.(*kmsg.DeleteRecordsRequest)
				asked <- req.Topics[0].Partitions[0].Offset
				if !refused {
					return nil, nil, false
				}
				resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
				topic, p := kmsg.NewDeleteRecordsResponseTopic(), kmsg.NewDeleteRecordsResponseTopicPartition()
				topic.Topic, p.ErrorCode = req.Topics[0].Topic, kerr.TopicAuthorizationFailed.Code
				topic.Partitions = append(topic.Partitions, p)
				resp.Topics = append(resp.Topics, topic)
				return resp, nil, true
			})
			cfg := Config{Brokers: c.ListenAddrs()}
			core, logs := observer.New(zapcore.InfoLevel)
			ledger, err := NewLedger(cfg, "ledger", zap.NewNop())
			require.NoError(t, err)
			defer ledger.conn.close()
			p := runPublisher(t, cfg.Brokers, PublisherConfig{})
			const stays = 5
			for i := range 8 {
				_, _, err := p.PublishForever(t.Context(), Message{Topic: "jobs", Value: fmt.Append(nil, i)})
				require.NoError(t, err)
			}
			r, err := NewRunner(RunnerConfig{
				Kafka: cfg, Group: "g", Topics: []string{"jobs"}, Handler: keeps(stays), Ledger: ledger, Publisher: p, Log: zap.New(core),
				AttemptTimeout: time.Second, NoLedger: true, Unordered: true, DeleteAfter: time.Millisecond, DeleteEvery: 20 * time.Millisecond,
			})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			reader, err := NewReader(cfg)
			require.NoError(t, err)
			defer reader.Close()
			oldest := func() int64 {
				b, err := reader.Bounds("jobs")
				if err != nil {
					return -1
				}
				return b[0].Oldest
			}
			if refused {
				<-asked
				require.Eventually(t, func() bool { return logs.FilterMessageSnippet("cannot be deleted").Len() > 0 }, time.Minute, 10*time.Millisecond)
				require.Zero(t, oldest())
			} else {
				require.Eventually(t, func() bool { return oldest() == stays }, time.Minute, 10*time.Millisecond)
			}
			cancel()
			require.NoError(t, <-ended)
			require.LessOrEqual(t, logs.FilterMessageSnippet("cannot be deleted").Len(), 1)
			for len(asked) > 0 {
				require.LessOrEqual(t, <-asked, int64(stays))
			}
		})
	}
}

// A real broker takes the deletion, too. What comes later is at its place, and the group goes on behind it.
func TestRunner_DeletesRecordsOnABroker(t *testing.T) {
	cfg := Config{Brokers: kafkatest.Brokers(t)}
	jobs, status, group := kafkatest.Topic(t, cfg.Brokers, 2), kafkatest.Topic(t, cfg.Brokers, 1), kafkatest.Name(t)
	t.Cleanup(func() { kafkatest.Forget(t, cfg.Brokers, group) })
	ledger, err := NewLedger(cfg, status, zap.NewNop())
	require.NoError(t, err)
	defer ledger.conn.close()
	p := runPublisher(t, cfg.Brokers, PublisherConfig{})
	write := func(partition int32, n int) {
		for range n {
			_, _, err := p.PublishForever(t.Context(), Message{Topic: jobs, Partition: partition, Value: []byte("v")})
			require.NoError(t, err)
		}
	}
	reader, err := NewReader(cfg)
	require.NoError(t, err)
	defer reader.Close()
	work := func(until func([]Bounds) bool) {
		r, err := NewRunner(RunnerConfig{
			Kafka: cfg, Group: group, Topics: []string{jobs}, Handler: keeps(5), Ledger: ledger, Publisher: p, Log: zap.NewNop(),
			AttemptTimeout: time.Second, NoLedger: true, Unordered: true, DeleteAfter: time.Millisecond, DeleteEvery: 50 * time.Millisecond,
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		require.Eventually(t, func() bool {
			b, err := reader.Bounds(jobs)
			return err == nil && until(b)
		}, time.Minute, 20*time.Millisecond)
		require.Zero(t, r.Stats().Lost, "what was deleted was done")
		cancel()
		require.NoError(t, <-ended)
	}
	write(0, 8) // of which one stays
	write(1, 3)
	work(func(b []Bounds) bool { return b[0].Oldest == 5 && b[1].Oldest == 3 })
	write(1, 2)
	work(func(b []Bounds) bool {
		return b[1].Oldest == 5 && b[1].Newest == 5 && b[0].Oldest == 5 && b[0].Newest == 8
	})
}

// keeps is a handler that is done with every record but the one at that offset.
type keeps int64

func (keeps) Identify(*Record) string { return "" }

func (k keeps) Handle(_ context.Context, a *Attempt) Result {
	if a.Offset == int64(k) {
		return Result{Again: time.Now().Add(time.Hour)}
	}
	return Result{}
}
