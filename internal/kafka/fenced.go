package kafka

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// When Kafka has fenced a broker that is frozen, others lead its partitions. Requests that the broker still owes an answer would
// nevertheless wait for it until their own deadline, up to 7 s, and those sent just before the fencing as long after it. New
// connections to the broker would wait as long.
const (
	suspectAfter = time.Second            // without an answer, other brokers are asked
	suspectEvery = 500 * time.Millisecond // interval between two checks
)

// fenceWatch closes connections to brokers that have left the cluster: the metadata of the other brokers named them before and does so no
// longer. It asks only while a broker owes an answer for longer than [suspectAfter].
type fenceWatch struct {
	config  *sarama.Config // its connections are not watched
	brokers []string
	named   map[string]bool // by any answer so far; only run uses it

	mu    sync.Mutex
	conns map[watched]string // address
	none  chan struct{}      // closed when there are no connections
}

// watched is a connection, or one that is being made.
type watched interface {
	owesSince(t time.Time) bool // the broker owes an answer, and has sent nothing since t
	abandon()
}

// dialing is a connection that is being made. A frozen broker accepts none once its backlog is full.
type dialing struct {
	since  time.Time
	cancel context.CancelFunc
}

func (d *dialing) owesSince(t time.Time) bool { return d.since.Before(t) }
func (d *dialing) abandon()                   { d.cancel() }

// fenceWatches are the watches of this process, by their brokers: all clients of a cluster share one.
//
//nolint:gochecknoglobals // clients of a process do not know each other
var (
	fenceWatches   = map[string]*fenceWatch{}
	fenceWatchesMu sync.Mutex
)

// watchConn watches conn, which is to the broker at addr, until unwatch is called.
func watchConn(conn watched, addr string, sc *sarama.Config, brokers []string) (unwatch func()) {
	fenceWatchesMu.Lock()
	defer fenceWatchesMu.Unlock()
	key := strings.Join(brokers, ",")
	f := fenceWatches[key]
	if f == nil {
		own := *sc
		own.Net.Proxy.Dialer = dialer(func(network, addr string) (net.Conn, error) {
			conn, err := dialBroker(context.Background(), context.Background(), sc, network, addr)
			if err != nil {
				return nil, err // not a nil connection in an interface
			}
			return conn, nil
		})
		f = &fenceWatch{config: &own, brokers: brokers, conns: map[watched]string{}, named: map[string]bool{}, none: make(chan struct{})}
		fenceWatches[key] = f
		go f.run()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[conn] = addr
	return func() {
		fenceWatchesMu.Lock()
		defer fenceWatchesMu.Unlock()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, conn)
		if len(f.conns) == 0 && fenceWatches[key] == f {
			delete(fenceWatches, key)
			close(f.none)
		}
	}
}

// run ends when there is no connection to watch.
func (f *fenceWatch) run() {
	tick := time.NewTicker(suspectEvery)
	defer tick.Stop()
	var asking *wire
	drop := func() {
		if asking != nil {
			asking.close()
			asking = nil
		}
	}
	defer drop()
	for {
		select {
		case <-tick.C:
		case <-f.none:
			return
		}
		suspects, addrs := f.suspects()
		if asking != nil && (len(suspects) == 0 || addrs[asking.addr]) {
			drop()
		}
		if len(suspects) == 0 {
			continue
		}
		if asking == nil {
			asking = f.other(addrs)
		}
		if asking == nil {
			continue
		}
		now, err := asking.liveBrokers()
		if err != nil {
			addrs[asking.addr] = true
			drop()
			asking = f.other(addrs)
			continue
		}
		for conn, addr := range suspects {
			if f.named[addr] && !now[addr] {
				conn.abandon()
			}
		}
		for addr := range now {
			f.named[addr] = true
		}
	}
}

// suspects are the connections whose broker owes an answer for too long, and the addresses of these brokers.
func (f *fenceWatch) suspects() (conns map[watched]string, addrs map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since := time.Now().Add(-suspectAfter)
	for conn, addr := range f.conns {
		if !conn.owesSince(since) {
			continue
		}
		if conns == nil {
			conns, addrs = map[watched]string{}, map[string]bool{}
		}
		conns[conn], addrs[addr] = addr, true
	}
	return conns, addrs
}

// other returns a connection to any broker but those, nil without one.
func (f *fenceWatch) other(but map[string]bool) *wire {
	for _, addr := range slices.Concat(slices.Collect(maps.Keys(f.named)), f.brokers) {
		if !but[addr] {
			return &wire{config: f.config, addr: addr}
		}
	}
	return nil
}

// liveBrokers asks for the addresses of the brokers that are not fenced.
func (w *wire) liveBrokers() (map[string]bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 4 // topics: none
	req.Topics = []kmsg.MetadataRequestTopic{}
	answer, err := w.ask(req, 0)
	if err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for _, b := range answer.(*kmsg.MetadataResponse).Brokers { //nolint:forcetypeassert // made by ask
		live[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = true
	}
	return live, nil
}
