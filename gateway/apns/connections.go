package apns

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
)

// connections are those of one sender. They are kept for an hour, so Close cannot leave to their idle time what the transport's
// CloseIdleConnections misses: a connection whose last stream is just being cleared away, and one that was dialled for a request
// which another has served since.
type connections struct {
	http *http.Transport

	mu     sync.Mutex
	open   map[net.Conn]bool
	busy   int // requests under way
	closed bool
}

// newConnections keeps connections, as Apple asks: opening and closing them often is taken for an attack. Pings find out which
// of them are still good
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns#Follow-best-practices-while-sending-push-notifications-with-APNs).
func newConnections() *connections {
	c := &connections{http: gateway.NewTransport(), open: map[net.Conn]bool{}}
	c.http.IdleConnTimeout = time.Hour
	c.http.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second}
	dial := c.http.DialContext
	c.http.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return c.keep(conn)
	}
	return c
}

func (c *connections) keep(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && c.busy == 0 {
		conn.Close()
		return nil, gateway.ErrClosed
	}
	k := &kept{Conn: conn, of: c}
	c.open[k] = true
	return k, nil
}

// do makes one request, unless c is closed.
func (c *connections) do(req *http.Request) gateway.Exchange {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.busy++
	}
	c.mu.Unlock()
	if closed {
		return gateway.Exchange{Err: gateway.ErrClosed}
	}
	defer c.after(func() { c.busy-- })
	return gateway.Do(c.http, req)
}

// rest ends what is idle: APNs ties a connection to the first key that it has seen there.
func (c *connections) rest() { c.http.CloseIdleConnections() }

// close lets requests that are under way finish.
func (c *connections) close() { c.after(func() { c.closed = true }) }

// after ends every connection once c is closed and nothing is under way.
func (c *connections) after(change func()) {
	c.mu.Lock()
	change()
	var over []net.Conn
	if c.closed && c.busy == 0 {
		for k := range c.open {
			over = append(over, k)
		}
	}
	c.mu.Unlock()
	for _, k := range over {
		k.Close()
	}
}

type kept struct {
	net.Conn
	of *connections
}

func (k *kept) Close() error {
	k.of.mu.Lock()
	delete(k.of.open, k)
	k.of.mu.Unlock()
	return k.Conn.Close()
}
