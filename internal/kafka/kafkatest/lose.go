package kafkatest

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

// Delete deletes all records of a topic, as retention or an operator does, and gives how many these were.
func Delete(t testing.TB, brokers []string, topic string) (n int64) {
	t.Helper()
	c, err := sarama.NewClient(brokers, config())
	require.NoError(t, err)
	defer c.Close()
	partitions, err := c.Partitions(topic)
	require.NoError(t, err)
	before := map[int32]int64{}
	for _, p := range partitions {
		oldest, err := c.GetOffset(topic, p, sarama.OffsetOldest)
		require.NoError(t, err)
		newest, err := c.GetOffset(topic, p, sarama.OffsetNewest)
		require.NoError(t, err)
		if newest > oldest {
			before[p] = newest
			n += newest - oldest
		}
	}
	admin := clusterAdmin(t, brokers)
	defer admin.Close()
	require.NoError(t, admin.DeleteRecords(topic, before))
	return n
}
