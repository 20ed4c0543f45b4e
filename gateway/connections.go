package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Connections are those of one sender to its provider. [Connections.Close] ends all of them, also those that a transport's
// CloseIdleConnections misses: one whose last stream is just being cleared away, and one that was dialled for a request which
// another has served since.
type Connections struct {
	*http.Transport

	mu     sync.Mutex
	open   map[net.Conn]bool
	busy   int // requests under way
	closed bool
}

// NewConnections gives connections as [NewTransport] makes them.
func NewConnections() *Connections {
	c := &Connections{Transport: NewTransport(), open: map[net.Conn]bool{}}
	dial := c.DialContext
	c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return c.keep(conn)
	}
	return c
}

func (c *Connections) keep(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && c.busy == 0 {
		conn.Close()
		return nil, ErrClosed
	}
	k := &kept{Conn: conn, of: c}
	c.open[k] = true
	return k, nil
}

// Do is the function [Do]; after Close it makes no request.
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
	defer c.after(func() { c.busy-- })
	return Do(c.Transport, req)
}

// Close lets requests that are under way finish.
func (c *Connections) Close() { c.after(func() { c.closed = true }) }

// after ends every connection once c is closed and nothing is under way.
func (c *Connections) after(change func()) {
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
	of *Connections
}

func (k *kept) Close() error {
	k.of.mu.Lock()
	delete(k.of.open, k)
	k.of.mu.Unlock()
	return k.Conn.Close()
}
