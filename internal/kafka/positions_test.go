package kafka_test

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

func TestAReaderLeavesOutWhatNoTransactionHasCommitted(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	c.Producer.Return.Successes, c.Producer.Transaction.ID = true, kafkatest.Name(t)
	p, err := sarama.NewSyncProducer(brokers, c)
	require.NoError(t, err)
	defer p.Close()
	begin := func(v string) {
		require.NoError(t, p.BeginTxn())
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)})
		require.NoError(t, err)
		write(t, brokers, topic, 0, "beside "+v)
	}
	r, err := kafka.NewReader(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	defer r.Close()
	read := func() (values []string) {
		bounds, err := r.Bounds(topic)
		require.NoError(t, err)
		require.NoError(t, r.Scan(t.Context(), topic, bounds, func(r *kafka.Record) error { values = append(values, string(r.Value)); return nil }))
		return values
	}
	begin("kept")
	require.NoError(t, p.CommitTxn())
	begin("dropped")
	require.NoError(t, p.AbortTxn())
	begin("open")
	decided := []string{"kept", "beside kept", "beside dropped"}
	require.Equal(t, decided, read(), "what is behind an open one waits for it, as it does for workers")
	require.NoError(t, p.CommitTxn())
	eventually(t, func() bool { return len(read()) == 5 }, "what was open") // a real broker ends it in its own time
	require.Equal(t, append(decided, "open", "beside open"), read())
}

func TestPositionsOfAllPartitions(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic, group := kafkatest.Topic(t, brokers, 3), kafkatest.Name(t)
	r, err := kafka.NewReader(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	defer r.Close()
	topics, err := r.Topics()
	require.NoError(t, err)
	require.Contains(t, topics, topic)
	none, err := r.Positions(group, topic)
	require.NoError(t, err)
	require.Len(t, none, 3)
	require.EqualValues(t, -1, none[2].Offset)
	require.NoError(t, r.Commit(group, []kafka.Place{{Topic: topic, Partition: 1, Offset: 7}}))
	some, err := r.Positions(group, topic)
	require.NoError(t, err)
	require.EqualValues(t, []int64{-1, 7, -1}, []int64{some[0].Offset, some[1].Offset, some[2].Offset})
	require.True(t, some[1].Done(6))
	require.False(t, some[1].Done(7))
	_, err = r.Positions(group, "nowhere")
	require.Error(t, err)
}

func TestWhatACommitSays(t *testing.T) {
	p := kafka.ReadPosition(10, "ls1.0.5.12.BQ") // bits 0 and 2
	require.EqualValues(t, 12, p.Ledger)
	done := []int64{}
	for o := range int64(16) {
		if p.Done(o) {
			done = append(done, o)
		}
	}
	require.Equal(t, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12}, done)
	foreign := kafka.ReadPosition(10, "somebody else's")
	require.Zero(t, foreign.Ledger)
	require.False(t, foreign.Done(10))
	require.False(t, kafka.ReadPosition(-1, "").Done(0))
}
