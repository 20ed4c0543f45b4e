package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

func TestAMeterCountsWhatIsDoneAboveTheWatermark(t *testing.T) {
	f := newField(t, 2, 0)
	m, err := kafka.NewMeter(kafka.Config{Brokers: f.brokers})
	require.NoError(t, err)
	defer m.Close()
	watched := []kafka.Watched{{Topic: f.topic, Group: f.group, Ages: true}}
	depth := func() kafka.Depth {
		depths, err := m.Measure(watched)
		require.NoError(t, err)
		require.Len(t, depths, 1)
		return depths[f.topic]
	}
	eventually(t, func() bool { _, err := m.Measure(watched); return err == nil }, "a Kafka whose first group this is makes its coordinator first")
	require.Equal(t, kafka.Depth{}, depth(), "an empty topic, of a group that has never committed")
	f.fill(40, 40)
	r, err := kafka.NewReader(kafka.Config{Brokers: f.brokers})
	require.NoError(t, err)
	defer r.Close()
	written := map[string]time.Time{}
	bounds, err := r.Bounds(f.topic)
	require.NoError(t, err)
	require.NoError(t, r.Scan(t.Context(), f.topic, bounds, func(rec *kafka.Record) error {
		written[string(rec.Value)] = rec.Timestamp
		return nil
	}))
	before := depth()
	require.EqualValues(t, 40, before.Left)
	for _, at := range written {
		require.False(t, at.Before(before.Oldest))
	}

	hold := make(chan struct{})
	stop := f.run(&play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		if string(a.Value) == "k7/1" {
			<-hold
		}
		return done(a)
	}}, nil)
	eventually(t, func() bool { return depth().Left == 1 }, "what is done above the one that waits counts as done")
	require.EqualValues(t, 39, depth().Done-before.Done)
	require.True(t, written["k7/1"].Equal(depth().Oldest))
	close(hold)
	eventually(t, func() bool { return depth().Left == 0 }, "that one, too")
	require.Equal(t, time.Time{}, depth().Oldest)
	stop()

	watched = append(watched, kafka.Watched{Topic: "nowhere", Group: f.group})
	_, err = m.Measure(watched)
	require.ErrorIs(t, err, kafka.ErrNoTopic)
}
