package kafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

func TestProducerClient_RecordsThatWaitForAFrozenBrokerHoldUpNoLookUp(t *testing.T) {
	f, cfg := frozenCluster(t)
	sc, err := cfg.producer(true)
	require.NoError(t, err)
	sc.Net.ReadTimeout = time.Minute
	client, err := newProducerClient(cfg.Brokers, sc, time.Second)
	require.NoError(t, err)
	defer client.Close()
	leader, err := client.Leader("t", 0)
	require.NoError(t, err)
	connected, err := leader.Connected()
	require.NoError(t, err)
	require.True(t, connected)
	again, err := client.Leader("t", 0)
	require.NoError(t, err)
	require.Same(t, leader, again)

	f.freeze()
	defer f.thaw() // before the client is closed
	produced := make(chan struct{}, 2)
	for range cap(produced) { // the second waits for the first, and holds the broker's lock
		go func() {
			req := &sarama.ProduceRequest{RequiredAcks: sarama.WaitForAll, Timeout: 30_000, Version: 7}
			_, _ = leader.Produce(req)
			produced <- struct{}{}
		}()
	}
	found := make(chan *sarama.Broker, 1)
	go func() { found <- client.LeastLoadedBroker() }()
	select {
	case b := <-found:
		require.NotSame(t, leader, b)
	case <-produced:
		require.Fail(t, "the look-up waits for records")
	}
}

func TestProducerClient_ClosedOpensNothing(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"t": 1})
	cfg := Config{Brokers: c.ListenAddrs()}
	sc, err := cfg.producer(true)
	require.NoError(t, err)
	client, err := newProducerClient(cfg.Brokers, sc, time.Second)
	require.NoError(t, err)
	leader, err := client.Leader("t", 0)
	require.NoError(t, err)
	require.NoError(t, client.Close())
	connected, _ := leader.Connected()
	require.False(t, connected)
	_, err = client.forRecords(leader.Addr())
	require.ErrorIs(t, err, sarama.ErrClosedClient)
}
