package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Connections is a transport with the connections of one sender to its provider. Close closes all of them, including those that
// CloseIdleConnections of a transport misses: a connection whose last stream is just ending, and a connection that was dialled for
// a request which another connection has served meanwhile. Concurrent calls are safe.
type Connections struct {
	*http.Transport

	mu     sync.Mutex
	open   map[net.Conn]bool
	busy   int // requests in flight
	closed bool
}

// NewConnections returns Connections over a [NewTransport].
func NewConnections() *Connections {
	c := &Connections{Transport: NewTransport(), open: map[net.Conn]bool{}}
	dial := c.DialContext
	c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return c.track(conn)
	}
	return c
}

func (c *Connections) track(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && c.busy == 0 {
		conn.Close()
		return nil, ErrClosed
	}
	t := &trackedConn{Conn: conn, of: c}
	c.open[t] = true
	return t, nil
}

// Do makes a request as the function [Do] does. After Close it makes none and returns ErrClosed.
func (c *Connections) Do(req *http.Request) Exchange {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.busy++
	}
	c.mu.Unlock()
	if closed {
		return Exchange{Err: ErrClosed}
	}
	defer c.update(func() { c.busy-- })
	return Do(c.Transport, req)
}

// Close closes the connections once the requests in flight have ended. It does not wait for them.
func (c *Connections) Close() { c.update(func() { c.closed = true }) }

// update calls change with the mutex held. Then it closes every connection if c is closed and no request is in flight.
func (c *Connections) update(change func()) {
	c.mu.Lock()
	change()
	var unused []net.Conn
	if c.closed && c.busy == 0 {
		for conn := range c.open {
			unused = append(unused, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range unused {
		conn.Close()
	}
}

// trackedConn is a connection that removes itself from its Connections when it is closed.
type trackedConn struct {
	net.Conn
	of *Connections
}

func (t *trackedConn) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}
