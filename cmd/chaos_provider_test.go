package cmd

import (
	"context"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// request is what the provider remembers of one request.
type request struct {
	message int // the number in its text
	worker  string
	begun   time.Time
	ended   time.Time // when its answer was about to be written; zero while it is open
	did     manner
	wait    time.Duration // it asked to wait so long
	settled time.Time     // when its outcome was on the ledger, at the latest; the judge knows
}

// provider speaks like Twilio, has the moods that its mix says, and remembers every request. The tests judge by that.
type provider struct {
	seed  uint64
	delay time.Duration
	addr  string

	mix    atomic.Pointer[mix]
	denies atomic.Bool                   // it knows no password
	gate   atomic.Pointer[chan struct{}] // no request is answered before it is closed; nil without one

	mu    sync.Mutex
	seen  map[int][]*request
	all   []*request // in the order in which they began
	taken int
	open  map[string]int // requests of a worker that have no answer yet

	handler *http.Server
	serving chan struct{}
}

// newProvider opens one for the time of the test.
func newProvider(t testing.TB, seed uint64, m mix) *provider {
	p := &provider{seed: seed, delay: gatewayDelay, addr: "127.0.0.1:0", seen: map[int][]*request{}, open: map[string]int{}}
	p.mix.Store(&m)
	p.up(t)
	t.Cleanup(p.down)
	return p
}

// up opens the port, the one it had before if it had one.
func (p *provider) up(t testing.TB) {
	l, err := net.Listen("tcp", p.addr)
	require.NoError(t, err)
	p.addr = l.Addr().String()
	p.handler, p.serving = &http.Server{Handler: p}, make(chan struct{})
	go func(h *http.Server, done chan struct{}) { defer close(done); _ = h.Serve(l) }(p.handler, p.serving)
}

// down refuses all connections from now on, once what is open has been answered.
func (p *provider) down() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if p.handler.Shutdown(ctx) != nil {
		_ = p.handler.Close()
	}
	<-p.serving
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, worker, _ := r.BasicAuth()
	message, err := strconv.Atoi(strings.TrimSpace(r.PostFormValue("Body")))
	if err != nil || r.Method != http.MethodPost {
		refuse(w, http.StatusBadRequest, 21600)
		return
	}
	q := p.begin(worker, message)
	if gate := p.gate.Load(); gate != nil {
		<-*gate
	}
	if q.did != refusesUs {
		select {
		case <-time.After(p.delay):
		case <-r.Context().Done():
		}
	}
	if q.did != hangs && q.did != swallows {
		p.end(q)
	}
	q.did.answer(w, r, q.wait)
	p.end(q)
}

func (p *provider) begin(worker string, message int) *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	nth := len(p.seen[message])
	q := &request{message: message, worker: worker, begun: time.Now(), did: p.mix.Load().draw(p.seed, message, nth)}
	if p.denies.Load() {
		q.did = refusesUs
	}
	if q.did == throttles {
		q.wait = time.Duration(1+(message+nth)%2) * time.Second
	}
	p.seen[message] = append(p.seen[message], q)
	p.all = append(p.all, q)
	p.open[worker]++
	if q.did.taken() {
		p.taken++
	}
	return q
}

func (p *provider) end(q *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.ended.IsZero() {
		q.ended = time.Now()
		p.open[q.worker]--
	}
}

func (p *provider) inFlight(worker string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[worker]
}

// counts gives how many requests began, and how many were taken.
func (p *provider) counts() (calls, taken int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all), p.taken
}

// since gives the requests that began at that time or later, the oldest first.
func (p *provider) since(at time.Time) (qs []request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := sort.Search(len(p.all), func(i int) bool { return !p.all[i].begun.Before(at) })
	for _, q := range p.all[i:] {
		qs = append(qs, *q)
	}
	return qs
}

// requests gives those of each message, in the order in which they began. What is open still looks open.
func (p *provider) requests() map[int][]request {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[int][]request, len(p.seen))
	for message, qs := range p.seen {
		for _, q := range qs {
			all[message] = append(all[message], *q)
		}
	}
	return all
}
