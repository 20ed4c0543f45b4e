package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that freezes, or whose host loses power, closes no connection. How long an answer is waited for depends on the
// request: a join is answered when the rebalance is over, anything else at once, or after the wait that the request allows.
const (
	lookUpWithin = 2 * time.Second // what any broker can answer from memory: the next one is asked
	answerWithin = 5 * time.Second // everything else
	answerAfter  = 2 * time.Second // beyond the wait that a request itself allows, at least
)

// brokerConn is a connection to a broker whose reads end when the broker is silent for too long. It knows which requests
// have no answer yet. A broker answers the requests of one connection one after the other and in their order: the time of
// a request begins when it is the oldest without an answer, and begins again with each byte of its answer.
//
// A caller's own deadline holds too, whichever is earlier. One goroutine may read while another one writes.
type brokerConn struct {
	net.Conn
	longest time.Duration // for requests that wait for others at the broker
	release func() bool

	mu      sync.Mutex
	waiting []waitingRequest // without an answer, the oldest first
	since   time.Time        // when the broker was last heard, or began to owe an answer
	limit   time.Time        // the caller's read deadline; zero without one
	answers answerFrames
	fenced  bool
}

// waitingRequest is a request that has no answer yet.
type waitingRequest struct {
	key    int16
	within time.Duration
}

func newBrokerConn(conn net.Conn, longest time.Duration, release func() bool) *brokerConn {
	return &brokerConn{Conn: conn, longest: longest, release: release}
}

// watched sets what ends the watch of [fenceWatch], with the connection or with ctx.
func (c *brokerConn) watched(ctx context.Context, unwatch func()) {
	release := c.release
	stop := context.AfterFunc(ctx, unwatch)
	c.release = func() bool {
		stop()
		unwatch()
		return release()
	}
}

// owesSince reports whether the broker has owed an answer since t, without a byte of it.
func (c *brokerConn) owesSince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0 && c.since.Before(t)
}

// abandon closes the connection: its broker has left the cluster.
func (c *brokerConn) abandon() {
	c.mu.Lock()
	c.fenced = true
	c.mu.Unlock()
	_ = c.Conn.Close()
}

// Write sends p. Sarama writes each request whole and by itself; what is not a request leaves the deadlines alone.
func (c *brokerConn) Write(p []byte) (int, error) {
	if r, ok := readRequest(p); ok && !r.unanswered {
		c.owe(r)
	}
	return c.Conn.Write(p)
}

func (c *brokerConn) owe(r requestHead) {
	within := min(answerWithin, c.longest)
	switch kmsg.Key(r.key) {
	case kmsg.Metadata, kmsg.ApiVersions, kmsg.FindCoordinator:
		within = min(lookUpWithin, c.longest)
	case kmsg.JoinGroup, kmsg.SyncGroup:
		within = c.longest
	case kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.DeleteRecords, kmsg.ElectLeaders,
		kmsg.AlterPartitionAssignments:
		within = c.longest // they wait for the controller, by a timeout of their own
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, waitingRequest{r.key, max(within, r.wait+answerAfter)})
	if len(c.waiting) == 1 {
		c.since = time.Now()
		_ = c.Conn.SetReadDeadline(c.deadlineLocked()) // of a read that is under way
	}
}

// Read reads until the broker has been silent for too long: then the connection is closed.
func (c *brokerConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	err := c.Conn.SetReadDeadline(c.deadlineLocked())
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.since = time.Now()
		c.waiting = c.waiting[min(c.answers.count(p[:n]), len(c.waiting)):]
	}
	if len(c.waiting) > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		// Closed, and said so: Sarama goes on with a connection that has timed out, and every later request fails on it.
		_ = c.Conn.Close()
		err = fmt.Errorf("no answer to a %s request for %s: %w",
			kmsg.NameForKey(c.waiting[0].key), time.Since(c.since).Round(time.Millisecond), net.ErrClosed)
	}
	if err != nil && c.fenced {
		err = fmt.Errorf("the broker has left the cluster: %w", net.ErrClosed)
	}
	return n, err
}

// deadlineLocked gives the earlier one of the caller's deadline and the oldest request's, zero without either.
func (c *brokerConn) deadlineLocked() time.Time {
	if len(c.waiting) == 0 {
		return c.limit
	}
	deadline := c.since.Add(c.waiting[0].within)
	if !c.limit.IsZero() && c.limit.Before(deadline) {
		return c.limit
	}
	return deadline
}

// SetReadDeadline sets the caller's own deadline.
func (c *brokerConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = t
	return c.Conn.SetReadDeadline(c.deadlineLocked())
}

// SetDeadline sets the caller's own deadline for reads and writes.
func (c *brokerConn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// Close closes the connection, and lets go of the context that bounds it.
func (c *brokerConn) Close() error {
	c.release()
	return c.Conn.Close()
}
