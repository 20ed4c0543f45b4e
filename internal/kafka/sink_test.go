package kafka_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// sink plays a provider that remembers what it took, from whom, and in which order. Tests judge by it.
type sink struct {
	*httptest.Server
	delay time.Duration

	mu       sync.Mutex
	taken    map[string]int // how often each id was taken
	last     map[string]int // newest number taken of each key
	disorder int            // first deliveries that came before an earlier one of their key
	open     map[string]map[string]bool
	takers   map[string][]string // who took each id, and when
	total    int
	changed  chan struct{} // closed and replaced whenever something is taken
}

func newSink(t testing.TB, delay time.Duration) *sink {
	s := &sink{
		delay: delay, taken: map[string]int{}, last: map[string]int{},
		open: map[string]map[string]bool{}, takers: map[string][]string{}, changed: make(chan struct{}),
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ConnState = func(net.Conn, http.ConnState) {}
	s.Start()
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(s.Close)
	return s
}

// serve takes /worker/key/number and answers after the delay.
func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	number, _ := strconv.Atoi(part[2])
	s.take(part[0], part[1], number)
	defer s.leave(part[0], part[1]+"/"+part[2])
	select {
	case <-time.After(s.delay):
		w.WriteHeader(http.StatusOK)
	case <-r.Context().Done():
	}
}

func (s *sink) take(worker, key string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := key + "/" + strconv.Itoa(number)
	s.taken[id]++
	s.takers[id] = append(s.takers[id], worker+" at "+time.Now().Format("05.000"))
	s.total++
	if s.taken[id] == 1 {
		if number < s.last[key] {
			s.disorder++
		}
		s.last[key] = max(s.last[key], number)
	}
	if s.open[worker] == nil {
		s.open[worker] = map[string]bool{}
	}
	s.open[worker][id] = true
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sink) leave(worker, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open[worker], id)
}

// inFlight is how many messages of a worker the sink has taken and not answered.
func (s *sink) inFlight(worker string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open[worker])
}

// distinct is how many messages have arrived, and how many arrivals were repetitions.
func (s *sink) distinct() (n, repeated int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.taken), s.total - len(s.taken)
}

// await returns when n different messages have arrived, and fails after the limit.
func (s *sink) await(t testing.TB, n int, limit time.Duration) {
	t.Helper()
	over := time.After(limit)
	for {
		s.mu.Lock()
		got, changed := len(s.taken), s.changed
		s.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-changed:
		case <-over:
			t.Fatalf("%d of %d messages arrived within %s", got, n, limit)
		}
	}
}

func (s *sink) String() string {
	n, repeated := s.distinct()
	return fmt.Sprintf("%d delivered, %d repeated, %d out of order", n, repeated, s.disorder)
}

// repetitions tells who took what was taken more than once.
func (s *sink) repetitions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id, by := range s.takers {
		if len(by) > 1 {
			out = append(out, id+": "+strings.Join(by, ", "))
		}
	}
	return out
}
