package kafka

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestClockSkew_IsNotTheLatency(t *testing.T) {
	begun := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		appended, acked, skew time.Duration // after begun
		warns                 int
	}{
		{50 * time.Millisecond, 100 * time.Millisecond, 0, 0},
		{20 * time.Second, 40 * time.Second, 0, 0}, // a slow broker
		{-3 * time.Second, time.Second, 3*time.Second - time.Millisecond, 0},
		{-7 * time.Second, time.Second, 7*time.Second - time.Millisecond, 1},
		{9 * time.Second, time.Second, -8 * time.Second, 1},
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		p := NewPublisher(Config{Brokers: []string{"a:1"}}, PublisherConfig{Log: zap.New(core)})
		require.True(t, math.IsNaN(p.ClockSkew()))
		for range 100 { // the same again is not said again
			p.skew.take(begun, begun.Add(c.appended), begun.Add(c.acked), p.pc.Log)
		}
		require.InDelta(t, c.skew.Seconds(), p.ClockSkew(), 1e-9)
		require.Equal(t, c.warns, logs.Len(), c.appended)
	}
}

func TestClockSkew_WarnsAgainAfterAWhile(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	s, begun := &clockSkew{}, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		now := begun.Add(time.Duration(i) * skewSaidEvery)
		s.take(now, now.Add(time.Minute), now, zap.New(core))
	}
	require.Equal(t, 3, logs.Len())
	require.Contains(t, logs.All()[0].Message, "NTP")
}

// The broker's time comes with the acknowledgement of a topic with LogAppendTime, and of no other.
func TestPublisher_LearnsTheClockSkew(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "delay"))
	require.NoError(t, err)
	defer c.Close()
	c.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) { // kfake does not know the topic's setting
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if req.Topics[0].Topic != "delay" {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		topic, p := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
		topic.Topic, p.LogAppendTime = "delay", time.Now().Add(-time.Hour).UnixMilli()
		topic.Partitions = append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	p := runPublisher(t, c.ListenAddrs(), PublisherConfig{})
	_, _, err = p.PublishForever(t.Context(), Message{Topic: "t", Value: []byte("x")})
	require.NoError(t, err)
	require.True(t, math.IsNaN(p.ClockSkew()))
	_, _, err = p.PublishForever(t.Context(), Message{Topic: "delay", Value: []byte("x")})
	require.NoError(t, err)
	require.InDelta(t, 3600, p.ClockSkew(), 1)
}
