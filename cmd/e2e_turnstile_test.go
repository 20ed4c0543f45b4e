package cmd

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// turnstile speaks like Twilio and remembers who came when, in their order. What it answers, and how long it takes, is the
// test's to say.
type turnstile struct {
	*httptest.Server
	answer func(w http.ResponseWriter, a arrival) // nil takes the message at once

	mu    sync.Mutex
	all   []arrival
	tries map[string]int
}

// arrival is one request.
type arrival struct {
	at               time.Time
	worker, to, body string // a worker is known by its password
	try              int    // of that recipient and body, counted from 1
}

// newTurnstile listens at the address; empty takes any port.
func newTurnstile(t testing.TB, address string, answer func(w http.ResponseWriter, a arrival)) *turnstile {
	t.Helper()
	s := &turnstile{answer: answer, tries: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if address != "" {
		require.NoError(t, s.Listener.Close())
		var err error
		s.Listener, err = net.Listen("tcp", address)
		require.NoError(t, err)
	}
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *turnstile) serve(w http.ResponseWriter, r *http.Request) {
	_, worker, _ := r.BasicAuth()
	a := arrival{at: time.Now(), worker: worker, to: r.PostFormValue("To"), body: r.PostFormValue("Body")}
	s.mu.Lock()
	s.tries[a.to+a.body]++
	a.try = s.tries[a.to+a.body]
	s.all = append(s.all, a)
	s.mu.Unlock()
	if s.answer != nil {
		s.answer(w, a)
		return
	}
	taken(w)
}

// taken is the answer to a message that is taken.
func taken(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(`{"sid":"SM00000000000000000000000000000001","status":"queued"}`))
}

// failing is the answer of a Twilio in trouble: a transient failure.
func failing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"code":20503,"message":"later","status":503}`))
}

// after is an answer that takes some time.
func after(d time.Duration, answer func(http.ResponseWriter)) func(http.ResponseWriter, arrival) {
	return func(w http.ResponseWriter, _ arrival) {
		<-time.After(d)
		answer(w)
	}
}

func (s *turnstile) arrivals() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// bodies are the texts of the arrivals, in their order.
func (s *turnstile) bodies() (all []string) {
	for _, a := range s.arrivals() {
		all = append(all, a.body)
	}
	return all
}

// gateway is its section of a configuration.
func (s *turnstile) gateway() string { return texts(s.URL) }
