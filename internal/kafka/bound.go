package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/IBM/sarama"
)

// bound closes the connections of clients with sc when ctx ends, or when their broker has left the cluster. brokers are the bootstrap
// addresses. Sarama's calls know no context: a broker that is silent would hold them, and whoever wants to end, for many times the
// read timeout.
func bound(ctx context.Context, sc *sarama.Config, brokers []string) {
	sc.Net.Proxy.Enable = true // SASL is done on top of what it dials, TLS below: see dialBroker
	sc.Net.Proxy.Dialer = dialer(func(network, addr string) (net.Conn, error) {
		made, cancel := context.WithCancel(ctx)
		defer cancel()
		unwatch := watchConn(&dialing{time.Now(), cancel}, addr, sc, brokers)
		defer unwatch()
		conn, err := dialBroker(made, ctx, sc, network, addr)
		if err != nil {
			return nil, err
		}
		conn.watched(ctx, watchConn(conn, addr, sc, brokers))
		return conn, nil
	})
}

type dialer func(network, addr string) (net.Conn, error)

func (d dialer) Dial(network, addr string) (net.Conn, error) { return d(network, addr) }

// keepAlive finds out within 6 s that the host of an idle connection is gone. Data without an acknowledgement is the
// business of unackedFor.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3} //nolint:gochecknoglobals // never changed

// unackedFor is how long sent data may wait for the acknowledgement of the other host's TCP, where the system can tell.
const unackedFor = 6 * time.Second

// dialBroker connects to a broker before made ends; the connection ends with ctx. TLS is done here and not by Sarama, so that the
// deadlines of a [brokerConn] see requests and not what they are encrypted to.
func dialBroker(made, ctx context.Context, sc *sarama.Config, network, addr string) (*brokerConn, error) {
	d := net.Dialer{Timeout: sc.Net.DialTimeout, KeepAliveConfig: keepAlive, Control: limitUnacked}
	conn, err := d.DialContext(made, network, addr)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	secured, err := secure(made, sc, conn, addr)
	if err != nil {
		release()
		_ = conn.Close()
		return nil, err
	}
	return newBrokerConn(secured, sc.Net.ReadTimeout, release), nil
}

// secure does the TLS handshake, if TLS is configured. Sarama keeps that configuration, but must not enable TLS itself.
func secure(ctx context.Context, sc *sarama.Config, conn net.Conn, addr string) (net.Conn, error) {
	tc := sc.Net.TLS.Config
	if tc == nil {
		return conn, nil
	}
	if tc.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		tc = tc.Clone()
		tc.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, min(answerWithin, sc.Net.ReadTimeout))
	defer cancel()
	secured := tls.Client(conn, tc)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
	}
	return secured, nil
}
