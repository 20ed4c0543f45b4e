package kafka_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// remainder opens the one partition of the field's topic as the group's next member would.
func (f *field) remainder(r *kafka.Reader) (*kafka.Remainder, []kafka.Bounds) {
	f.t.Helper()
	bounds, err := r.Bounds(f.topic)
	require.NoError(f.t, err)
	b, err := r.Remainder(context.Background(), f.group, f.topic, bounds[0], f.ledger)
	require.NoError(f.t, err)
	return b, bounds
}

// left lists what the group has still to do; one of them does, at most, is done.
func (f *field) left(r *kafka.Reader, do int) (values []string) {
	f.t.Helper()
	b, bounds := f.remainder(r)
	require.NoError(f.t, r.Scan(f.t.Context(), f.topic, bounds, func(rec *kafka.Record) error {
		if b.Left(rec, func() string { return string(rec.Value) }) {
			if values = append(values, string(rec.Value)); len(values) <= do {
				b.Done(rec.Offset)
			}
		}
		return nil
	}))
	require.NoError(f.t, b.Commit())
	return values
}

func TestARemainderIsWhatIsDoneInTheGroupsStead(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(4, 4) // k0/1 k1/1 k2/1 k3/1
	r, err := kafka.NewReader(kafka.Config{Brokers: f.brokers})
	require.NoError(t, err)
	defer r.Close()

	// Nobody has ever committed; on the ledger are an outcome, and what must not count: an intent, progress, another
	// group's, and one of another job at the same offset.
	f.onLedger("outcome", f.group, 1, "k1/1")
	f.onLedger("outcome", f.group, 2, "somebody else")
	f.onLedger("intent", f.group, 3, "k3/1")
	f.onLedger("progress", f.group, 3, "k3/1")
	f.onLedger("outcome", "another", 3, "k3/1")
	require.Equal(t, []string{"k0/1", "k2/1", "k3/1"}, f.left(r, 0))
	require.Equal(t, []string{"k0/1", "k2/1", "k3/1"}, f.left(r, 2))
	require.Equal(t, []string{"k3/1"}, f.left(r, 0), "what was done is committed, and an outcome above it is not forgotten")

	// The group goes on where its stead has left off.
	h := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result { return done(a) }}
	stop := f.run(h, nil)
	f.fill(1, 4)
	eventually(t, func() bool { return len(h.called()) == 2 }, "the rest, and what is new")
	require.ElementsMatch(t, []string{"k3/1", "k0/2"}, h.called())
	b, _ := f.remainder(r)
	require.Error(t, b.Commit(), "the group has members")
	stop()
	require.Empty(t, f.left(r, 0))
}

// What a member was about to send when it was last heard of is left, and in doubt: unless it has said that nothing was sent.
func TestARemainderKnowsWhatIsInDoubt(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(5, 5)
	f.onLedger("intent", f.group, 0, "k0/1")
	f.onLedger("intent", f.group, 1, "k1/1")
	f.onLedger("progress", f.group, 1, "k1/1")
	f.onLedger("intent", f.group, 2, "k2/1")
	f.onLedger("outcome", f.group, 2, "k2/1")
	f.onLedger("intent", "another", 3, "k3/1")
	f.onLedger("intent", f.group, 4, "somebody else")
	r, err := kafka.NewReader(kafka.Config{Brokers: f.brokers})
	require.NoError(t, err)
	defer r.Close()
	for range 2 { // what has been committed meanwhile does not hide it
		b, bounds := f.remainder(r)
		left := map[string]bool{}
		require.NoError(t, r.Scan(t.Context(), f.topic, bounds, func(rec *kafka.Record) error {
			identify := func() string { return string(rec.Value) }
			if b.Left(rec, identify) {
				left[string(rec.Value)] = b.InDoubt(rec, identify)
			}
			return nil
		}))
		require.Equal(t, map[string]bool{"k0/1": true, "k1/1": false, "k3/1": false, "k4/1": false}, left)
		require.NoError(t, b.Commit())
	}
}

// An operator who has set a group's offset wants those jobs to run, whatever the ledger says of them.
func TestARemainderHonoursAnOperatorsReset(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(3, 3)
	for offset, value := range []string{"k0/1", "k1/1", "k2/1"} {
		f.onLedger("outcome", f.group, int64(offset), value)
	}
	r, err := kafka.NewReader(kafka.Config{Brokers: f.brokers})
	require.NoError(t, err)
	defer r.Close()
	require.Empty(t, f.left(r, 0))
	f.resetTo(1)
	require.Equal(t, []string{"k1/1", "k2/1"}, f.left(r, 2))
	require.Empty(t, f.left(r, 0))
}

// onLedger writes what a runner would have written of the job at that offset.
func (f *field) onLedger(kind, group string, offset int64, id string) {
	f.t.Helper()
	sc := sarama.NewConfig()
	sc.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer(f.brokers, sc)
	require.NoError(f.t, err)
	defer p.Close()
	m := &sarama.ProducerMessage{Topic: f.ledger, Value: sarama.StringEncoder("{}")}
	for key, value := range map[string]string{
		kafka.HeaderKind: kind, kafka.HeaderGroup: group, kafka.HeaderJobTopic: f.topic, kafka.HeaderJobPartition: "0",
		kafka.HeaderJobOffset: strconv.FormatInt(offset, 10), kafka.HeaderJobID: id,
	} {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(key), Value: []byte(value)})
	}
	_, _, err = p.SendMessage(m)
	require.NoError(f.t, err)
}

// resetTo sets the group's offset as an operator's tool does.
func (f *field) resetTo(offset int64) {
	f.t.Helper()
	sc := sarama.NewConfig()
	sc.Consumer.Offsets.AutoCommit.Enable = false
	c, err := sarama.NewClient(f.brokers, sc)
	require.NoError(f.t, err)
	defer c.Close()
	m, err := sarama.NewOffsetManagerFromClient(f.group, c)
	require.NoError(f.t, err)
	defer m.Close()
	p, err := m.ManagePartition(f.topic, 0)
	require.NoError(f.t, err)
	p.ResetOffset(offset, "")
	m.Commit()
	p.AsyncClose()
}
