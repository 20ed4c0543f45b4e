package kafka

import (
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// freezer is a broker's network that can stand still, as a process does after SIGSTOP: connections are accepted, what is
// sent is kept, nothing is answered until the thaw.
type freezer struct {
	mu   sync.Mutex
	gate chan struct{} // closed = open
}

func newFreezer() *freezer {
	f := &freezer{gate: make(chan struct{})}
	close(f.gate)
	return f
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = make(chan struct{})
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.gate:
	default:
		close(f.gate)
	}
}

func (f *freezer) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return frozenListener{l, f}, err
}

type frozenListener struct {
	net.Listener
	f *freezer
}

func (l frozenListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return frozenConn{c, l.f}, err
}

type frozenConn struct {
	net.Conn
	f *freezer
}

func (c frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.f.mu.Lock()
	gate := c.f.gate
	c.f.mu.Unlock()
	<-gate
	return n, err
}

func frozenCluster(t *testing.T) (*freezer, Config) {
	t.Helper()
	f := newFreezer()
	cfg := cluster(t, kfake.ListenFn(f.listen), kfake.SeedTopics(2, "t"))
	t.Cleanup(f.thaw) // before the cluster is closed
	return f, cfg
}
