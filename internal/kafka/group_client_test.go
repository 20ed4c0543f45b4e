package kafka

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

func testGroupClient(t *testing.T, c *offlineCluster) *groupClient {
	sc, err := Config{Brokers: c.ListenAddrs()}.group()
	require.NoError(t, err)
	client, err := newGroupClient(c.ListenAddrs(), sc)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestGroupClient_PartitionWithoutLeaderIsNoErrorAndUsesNoRetries(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"jobs": 3})
	c.fail("jobs", 1)
	client := testGroupClient(t, c)
	require.NoError(t, client.RefreshMetadata("jobs"))
	require.Equal(t, 1, c.requests())
	ps, err := client.Partitions("jobs")
	require.NoError(t, err)
	require.Equal(t, []int32{0, 1, 2}, ps)
	require.Equal(t, 1, c.requests())
	require.False(t, client.PartitionNotReadable("jobs", 1))
}

func TestGroupClient_MissingTopicIsAnErrorAfterAllRetries(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"jobs": 3})
	client := testGroupClient(t, c)
	client.config.Metadata.Retry.Max = 2
	client.config.Metadata.Retry.Backoff = 0
	require.ErrorIs(t, client.RefreshMetadata("jobs", "none"), sarama.ErrUnknownTopicOrPartition)
	require.Equal(t, 3, c.requests())
}
