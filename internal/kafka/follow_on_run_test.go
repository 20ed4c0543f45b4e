package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// muted publishes no outcome: its process ends between the two acknowledgements.
type muted struct {
	kafka.Outbound
	followed chan struct{}
}

func (m *muted) PublishForever(ctx context.Context, r kafka.Message) (int32, int64, error) {
	for _, h := range r.Headers {
		if h.Key == kafka.HeaderKind && string(h.Value) == kafka.KindOutcome {
			close(m.followed)
			<-ctx.Done()
			return 0, -1, ctx.Err()
		}
	}
	return m.Outbound.PublishForever(ctx, r)
}

// byHeader identifies a follow-on that has lost its value.
type byHeader struct{ *play }

func (h byHeader) Identify(r *kafka.Record) string {
	if id, ok := r.Header("id"); ok {
		return id
	}
	return h.play.Identify(r)
}

// A job whose next step is acknowledged and whose outcome is not ends with the next owner, on a real protocol, without
// another attempt.
func TestFollowOn_IsFoundByTheNextOwner(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(1, 1)
	tier := kafkatest.Topic(t, f.brokers, 3, "message.timestamp.type", "LogAppendTime")
	dlq := kafkatest.Topic(t, f.brokers, 3)
	out := &muted{followed: make(chan struct{})}
	following := func(rc *kafka.RunnerConfig) { rc.FollowTopics = []string{dlq, tier} }

	first := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		r := done(a)
		r.Follow = []kafka.Message{{Topic: tier, Partition: a.Partition, Key: a.Key, Value: a.Value, Headers: []kafka.Header{{Key: "id", Value: a.Value}}}}
		return r
	}}
	stop := f.run(byHeader{first}, func(rc *kafka.RunnerConfig) {
		following(rc)
		out.Outbound = rc.Publisher
		rc.Publisher, rc.Drain = out, 10*time.Millisecond
	})
	<-out.followed
	stop()
	next := kafkatest.Records(t, f.brokers, tier, 1)[0]
	require.Equal(t, kafka.HeaderSource, string(next.Headers[1].Key))
	require.Regexp(t, `^[A-Za-z0-9_-]{22}/0/0/1$`, string(next.Headers[1].Value))

	found := make(chan *kafka.Record, 1)
	second := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		found <- a.Left()
		return done(a)
	}}
	f.run(byHeader{second}, following)
	left := <-found
	require.NotNil(t, left, "the follow-on")
	require.Nil(t, left.Value)
	outcome := kafkatest.Records(t, f.brokers, f.ledger, 1)[0]
	by := ""
	for _, h := range outcome.Headers {
		if string(h.Key) == kafka.HeaderGeneration {
			by = string(h.Value)
		}
	}
	require.Equal(t, "1", by, "the outcome counts as long as the follow-on does")
}
