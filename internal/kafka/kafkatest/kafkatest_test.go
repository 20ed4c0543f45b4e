package kafkatest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

func TestRecords(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3, "max.message.bytes", "2000")
	conf := sarama.NewConfig()
	conf.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer(brokers, conf)
	require.NoError(t, err)
	defer p.Close()
	for range 10 {
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("x")})
		require.NoError(t, err)
	}
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(make([]byte, 3000))})
	require.ErrorIs(t, err, sarama.ErrMessageSizeTooLarge, "the topic's own limit holds")
	require.Len(t, kafkatest.Records(t, brokers, topic, 10), 10)
	require.Len(t, kafkatest.All(t, brokers, topic), 10)
	log := kafkatest.Follow(t, brokers, topic)
	require.Eventually(t, func() bool { return len(log.Records()) == 10 }, time.Minute, 10*time.Millisecond)
	kafkatest.Forget(t, brokers, topic)
	require.Eventually(t, func() bool {
		c, err := sarama.NewClient(brokers, conf)
		if err != nil {
			return false
		}
		defer c.Close()
		topics, err := c.Topics()
		return err == nil && !slices.Contains(topics, topic)
	}, time.Minute, 100*time.Millisecond)
}
