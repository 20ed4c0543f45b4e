package kafka

import (
	"context"
	"net"

	"github.com/IBM/sarama"
)

// bound makes the connections of clients with sc end with ctx. Sarama's calls know no context: a broker that is silent
// would hold them, and whoever wants to end, for many times the read timeout.
func bound(ctx context.Context, sc *sarama.Config) {
	sc.Net.Proxy.Enable = true // TLS and SASL are done on top of what it dials
	sc.Net.Proxy.Dialer = dialer(func(network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: sc.Net.DialTimeout, KeepAlive: sc.Net.KeepAlive}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return boundConn{conn, context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil
	})
}

type dialer func(network, addr string) (net.Conn, error)

func (d dialer) Dial(network, addr string) (net.Conn, error) { return d(network, addr) }

type boundConn struct {
	net.Conn
	release func() bool
}

func (c boundConn) Close() error {
	c.release()
	return c.Conn.Close()
}
