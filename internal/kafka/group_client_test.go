package kafka

import (
	"net"
	"strconv"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
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

func TestGroupClient_CoordinatorThatIsGoneIsLookedUpAnew(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"jobs": 1})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	here, there := c.ListenAddrs()[0], gone.Addr().String()
	asked := 0
	c.ControlKey(int16(kmsg.FindCoordinator), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked++
		resp := r.ResponseKind().(*kmsg.FindCoordinatorResponse)
		address := there
		if resp.NodeID = 7; asked > 1 {
			address, resp.NodeID = here, 0
		}
		host, port, _ := net.SplitHostPort(address)
		n, _ := strconv.Atoi(port)
		resp.Host, resp.Port = host, int32(n)
		return resp, nil, true
	})
	client := testGroupClient(t, c)
	b, err := client.Coordinator("g")
	require.NoError(t, err)
	require.Equal(t, here, b.Addr())
	b, err = client.Coordinator("g")
	require.NoError(t, err)
	require.Equal(t, here, b.Addr())
	require.Equal(t, 2, asked, "from memory while it can be reached")
}
