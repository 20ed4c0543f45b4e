package cmd

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sink is where messages end in the acceptance tests: it remembers what it took, from which worker and in which order,
// and the tests judge by that. It is a Twilio and a mail relay.
//
// A message is a recipient (its ordering key) and a number in its text or subject that grows within the recipient. A
// worker is known by its password at Twilio, and by the name in its greeting at the relay.
type sink struct {
	delay time.Duration
	slow  atomic.Bool // each answer takes a second: a backlog forms however slowly the API accepts

	mu       sync.Mutex
	taken    map[string]int // how often each "recipient/number" was taken
	last     map[string]int // newest number of each recipient
	disorder int            // first deliveries that came before an earlier one of their recipient
	takers   map[string][]string
	open     map[string]int // messages of each worker that have not been answered
	total    int
	refuses  bool // the relay knows the password no more
	refusals int
}

// answerAfter is how long a message waits for its answer.
func (s *sink) answerAfter() time.Duration {
	if s.slow.Load() {
		return time.Second
	}
	return s.delay
}

func newSink(delay time.Duration) *sink {
	return &sink{delay: delay, taken: map[string]int{}, last: map[string]int{}, takers: map[string][]string{}, open: map[string]int{}}
}

// take keeps a message and gives what to call when it is answered.
func (s *sink) take(worker, recipient, text string) (answered func()) {
	number := 0
	_, _ = fmt.Sscan(text, &number)
	id := recipient + "/" + text
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	s.taken[id]++
	s.takers[id] = append(s.takers[id], worker+" at "+time.Now().Format("04:05.000"))
	if s.taken[id] == 1 {
		if number < s.last[recipient] {
			s.disorder++
		}
		s.last[recipient] = max(s.last[recipient], number)
	}
	s.open[worker]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open[worker]--
	}
}

func (s *sink) inFlight(worker string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[worker]
}

// counts gives how many messages came, and how many arrivals were repetitions.
func (s *sink) counts() (distinct, repeated int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.taken), s.total - len(s.taken)
}

func (s *sink) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken[id] > 0
}

// repetitions tells who took what was taken more than once.
func (s *sink) repetitions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id, by := range s.takers {
		if len(by) > 1 {
			out = append(out, id+": "+strings.Join(by, ", "))
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 40)], "\n")
}

// twilio serves the Messages API and gives its base URL.
func (s *sink) twilio(t testing.TB) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, worker, _ := r.BasicAuth()
		defer s.take(worker, r.PostFormValue("To"), r.PostFormValue("Body"))()
		select {
		case <-time.After(s.answerAfter()):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"sid":"SM00000000000000000000000000000001","status":"queued"}`)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return server.URL
}
