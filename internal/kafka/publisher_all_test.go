package kafka

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// Of many, those that fail leave the others their order.
func TestPublishAll(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	p := runPublisher(t, brokers, PublisherConfig{MaxMessageBytes: 10_000})
	ms := make([]Message, 1000)
	for i := range ms {
		ms[i] = Message{Topic: topic, Value: fmt.Append(nil, i)}
	}
	ms[3].Value = make([]byte, 20_000)
	for i, err := range p.PublishAll(t.Context(), ms) {
		if i == 3 {
			require.ErrorIs(t, err, ErrTooLarge)
		} else {
			require.NoError(t, err)
		}
	}
	for i, r := range kafkatest.Records(t, brokers, topic, len(ms)-1) {
		if i >= 3 {
			i++
		}
		require.Equal(t, fmt.Sprint(i), string(r.Value))
	}
	require.Empty(t, p.PublishAll(t.Context(), nil))
}

// All of them end with their caller, and nothing stays in hand.
func TestPublishAllOnAFrozenBroker(t *testing.T) {
	f, cfg := frozenCluster(t)
	p := runPublisher(t, cfg.Brokers, PublisherConfig{MaxRecords: 5})
	f.freeze()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	errs := p.PublishAll(ctx, slices.Repeat([]Message{{Topic: "t"}}, 7))
	for i, err := range errs {
		if i < 5 {
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorIs(t, err, context.Canceled)
		} else {
			require.ErrorIs(t, err, ErrFull)
		}
	}
	f.thaw()
	requireEmpty(t, p)
}
