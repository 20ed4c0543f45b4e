package status_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
)

// breakable is a store that dies in the middle of what it does, and comes back.
type breakable struct {
	*store.Store
	calls atomic.Int64
}

var errBroken = errors.New("broken")

// Record fails twice of three times: before the transaction, or after it.
func (b *breakable) Record(ctx context.Context, holder string, batch status.Batch) error {
	switch b.calls.Add(1) % 3 {
	case 0:
		return errBroken
	case 1:
		if err := b.Store.Record(ctx, holder, batch); err != nil {
			return err
		}
		return errBroken
	default:
		return b.Store.Record(ctx, holder, batch)
	}
}

// Two recorders on one SQLite file, over real topics, while one of them comes and goes and the store breaks all the time:
// everything is there once, and the positions are the ends.
func TestTopicsAndStoreAgreeInTheEnd(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	jobs, events := kafkatest.Topic(t, brokers, 3), kafkatest.Topic(t, brokers, 2)
	reading := status.Reading{
		Jobs: map[string]status.JobTopic{jobs: {Channel: notify.ChannelSMS, Lane: notify.LaneNormal}}, StorePayload: true,
		ExpiresAfter: map[notify.Lane]time.Duration{notify.LaneNormal: time.Hour},
	}
	dir := t.TempDir()
	record := func() (stop func()) {
		s, err := store.Open(t.Context(), store.Config{Dir: dir})
		require.NoError(t, err)
		follower, err := kafka.NewFollower(kafka.Config{Brokers: brokers}, []string{jobs, events}, zap.NewNop())
		require.NoError(t, err)
		r := status.NewRecorder(status.Config{Store: &breakable{Store: s}, Source: follower, Reading: reading, Log: zap.NewNop()})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, "c") }()
		return sync.OnceFunc(func() { cancel(); require.NoError(t, <-ended); require.NoError(t, s.Close()) })
	}
	defer record()()
	const n = 900
	for round := range 3 {
		stop := record()
		publish(t, brokers, jobs, events, round*n/3, (round+1)*n/3)
		stop()
	}
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	defer s.Close()
	r, err := kafka.NewReader(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	defer r.Close()
	ends, err := r.Ends([]string{jobs, events})
	require.NoError(t, err)
	b := &status.Barrier{Ends: func() ([]kafka.Place, error) { return ends, nil }, Positions: s.Positions}
	require.Eventually(t, func() bool { return b.Wait(t.Context()) == nil }, time.Minute, 10*time.Millisecond)
	at, err := s.Positions(t.Context())
	require.NoError(t, err)
	ids, err := r.TopicIDs([]string{jobs, events})
	require.NoError(t, err)
	for _, e := range ends {
		require.Contains(t, at, status.Position{Topic: e.Topic, Partition: e.Partition, Next: e.Offset, TopicID: ids[e.Topic]})
	}
	seen, err := s.Events(t.Context(), 0, notify.LifeFilter{}, 3*n)
	require.NoError(t, err)
	require.Len(t, seen, 2*n)
	for i := range n {
		life, err := s.Get(t.Context(), idOf(i))
		require.NoError(t, err)
		require.Equal(t, notify.StateSent, life.State)
		require.Equal(t, "+14155550100", life.Recipient)
		require.Len(t, life.Timeline, 2)
	}
}

func idOf(i int) string { return notify.DerivedID("together", fmt.Sprint(i)) }

// publish writes the jobs and the outcomes of some notifications.
func publish(t *testing.T, brokers []string, jobs, events string, from, to int) {
	p := kafka.NewPublisher(kafka.Config{Brokers: brokers}, kafka.PublisherConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	var acked sync.WaitGroup
	for i := from; i < to; i++ {
		e := notify.Event{
			NotificationID: idOf(i), State: notify.StateSent, At: time.Now(), Tenant: "default", Channel: notify.ChannelSMS, Lane: notify.LaneNormal,
		}
		e.Seal()
		outcome, err := e.Encode()
		require.NoError(t, err)
		for _, m := range []kafka.Message{
			{Topic: jobs, Partition: kafka.Hashed, Value: fmt.Appendf(nil, `{"id":%q,"recipient":"+14155550100","payload":{"body":"%d"}}`, idOf(i), i)},
			{Topic: events, Partition: kafka.Hashed, Key: []byte(idOf(i)), Value: outcome},
		} {
			acked.Go(func() {
				_, _, err := p.PublishForever(ctx, m)
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	acked.Wait()
	cancel()
	require.NoError(t, <-ended)
}
