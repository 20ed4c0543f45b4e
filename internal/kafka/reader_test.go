package kafka_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

func TestAReaderSeesWhatIsThereAndWhatItsGroupHasDone(t *testing.T) {
	f := newField(t, 2, 0)
	f.fill(40, 8)
	r, err := kafka.NewReader(kafka.Config{Brokers: f.brokers})
	require.NoError(t, err)
	defer r.Close()
	bounds, err := r.Bounds(f.topic)
	require.NoError(t, err)
	require.Len(t, bounds, 2)
	require.EqualValues(t, 40, bounds[0].Newest+bounds[1].Newest)
	f.fill(10, 8) // later than what was asked for

	seen := 0
	require.NoError(t, r.Scan(t.Context(), f.topic, bounds, func(*kafka.Record) error { seen++; return nil }))
	require.Equal(t, 40, seen)
	enough := errors.New("enough")
	require.ErrorIs(t, r.Scan(t.Context(), f.topic, bounds, func(*kafka.Record) error { return enough }), enough)

	for _, long := range []time.Time{{}, time.UnixMilli(-1), time.UnixMilli(-5)} {
		since, err := r.Since(f.topic, long, bounds)
		require.NoError(t, err)
		require.Equal(t, bounds, since, "before there was Kafka")
	}
	since, err := r.Since(f.topic, time.Now().Add(time.Hour), bounds)
	require.NoError(t, err)
	for _, b := range since {
		require.Equal(t, b.Newest, b.Oldest, "nothing is as late")
	}
	_, err = r.Bounds("nowhere")
	require.ErrorIs(t, err, kafka.ErrNoTopic)

	before, err := r.Position(f.group, f.topic, 0)
	require.NoError(t, err)
	require.EqualValues(t, -1, before.Offset)
	require.False(t, before.Done(0))
	stop := f.run(newCourier(f.sink.URL, "a"), nil)
	f.sink.await(t, 50, time.Minute)
	stop()
	after, err := r.Position(f.group, f.topic, 0)
	require.NoError(t, err)
	require.True(t, after.Done(bounds[0].Newest-1))
	require.False(t, after.Done(1_000_000))
}

func TestATailKnowsTheWholeTopicAndWhatComesLater(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(50, 1)
	var mu sync.Mutex
	var seen []string
	tail, err := kafka.NewTail(kafka.Config{Brokers: f.brokers}, f.topic, func(r *kafka.Record) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, string(r.Value))
	}, quiet())
	require.NoError(t, err)
	require.Error(t, tail.Ready())
	require.True(t, tail.AsOf().IsZero())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tail.Run(ctx) }()
	<-tail.Caught()
	mu.Lock()
	require.Len(t, seen, 50)
	mu.Unlock()
	require.NoError(t, tail.Ready())
	f.fill(1, 1)
	acknowledged := time.Now()
	eventually(t, func() bool { return tail.AsOf().After(acknowledged) }, "the end as it is now")
	mu.Lock()
	require.Len(t, seen, 51, "what was acknowledged before AsOf")
	require.Equal(t, "k0/51", seen[50])
	mu.Unlock()
	cancel()
	require.NoError(t, <-ended)
}
