package kafka

import (
	"crypto/tls"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A join is waited for longest, 45 s: it ends as soon as the other brokers no longer name the silent one, and not before.
func TestFenceWatch_RequestsToAFencedBrokerEnd(t *testing.T) {
	ca := newCA(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "t"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1").pair(t)}}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	addrs := c.ListenAddrs()
	silent := sarama.NewBroker(addrs[1])

	var fenced atomic.Bool
	asked := make(chan struct{}, 100)
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		for i, addr := range addrs {
			if i == 1 && fenced.Load() {
				continue
			}
			host, port, err := net.SplitHostPort(addr)
			require.NoError(t, err)
			n, err := strconv.Atoi(port)
			require.NoError(t, err)
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host, b.Port = int32(i), host, int32(n)
			resp.Brokers = append(resp.Brokers, b)
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		return resp, nil, true
	})
	thaw := make(chan struct{})
	t.Cleanup(func() { close(thaw) })
	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { <-thaw })
		return nil, nil, false
	})

	cfg := Config{Brokers: addrs, TLS: TLS{Enabled: true, CAFile: ca.file}}
	sc, err := cfg.group()
	require.NoError(t, err)
	require.NoError(t, silent.Open(sc))
	defer silent.Close()
	joined := make(chan error, 1)
	go func() {
		_, err := silent.JoinGroup(&sarama.JoinGroupRequest{Version: 1, GroupId: "g", SessionTimeout: 6000, RebalanceTimeout: 30000, ProtocolType: "consumer"})
		joined <- err
	}()
	for range 2 {
		select {
		case <-asked:
		case err := <-joined:
			t.Fatalf("the join ends while the other broker names its broker: %v", err)
		}
	}
	fenced.Store(true)
	err = <-joined
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorContains(t, err, "the broker has left the cluster")
}
