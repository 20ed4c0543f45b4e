package cmd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// sink is where messages end in the acceptance tests: it remembers what it took, from which worker and in which order,
// and the tests judge by that. It is a Twilio and a mail relay.
//
// A message is a recipient (its ordering key) and a number in its text or subject that grows within the recipient. A
// worker is known by its password at Twilio, and by the name in its greeting at the relay.
type sink struct {
	delay time.Duration

	mu       sync.Mutex
	taken    map[string]int // how often each "recipient/number" was taken
	last     map[string]int // newest number of each recipient
	disorder int            // first deliveries that came before an earlier one of their recipient
	takers   map[string][]string
	open     map[string]int // messages of each worker that have not been answered
	total    int
	first    time.Time
	refuses  bool // the relay knows the password no more
	refusals int
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
	if s.first.IsZero() {
		s.first = time.Now()
	}
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
		case <-time.After(s.delay):
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

// relay serves SMTP and gives its port.
func (s *sink) relay(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) { return &mailSession{sink: s, conn: c}, nil }))
	server.AllowInsecureAuth = true
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

// refuse makes the relay forget its password, or know it again. Connections from before are ended at their next message.
func (s *sink) refuse(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = yes
}

// refused counts a refusal, if it is to be.
func (s *sink) refused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		s.refusals++
	}
	return s.refuses
}

func (s *sink) loginsRefused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals
}

type mailSession struct {
	sink *sink
	conn *gosmtp.Conn
	to   string
}

func (m *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (m *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error {
		if m.sink.refused() {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "the password is wrong"}
		}
		return nil
	}), nil
}

func (m *mailSession) Mail(string, *gosmtp.MailOptions) error {
	m.sink.mu.Lock()
	defer m.sink.mu.Unlock()
	if m.sink.refuses {
		return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 7, 0}, Message: "log in again"}
	}
	return nil
}

func (m *mailSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	m.to = to
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(content), "Subject: ")
	subject, _, _ := strings.Cut(after, "\r\n")
	defer m.sink.take(m.conn.Hostname(), m.to, subject)()
	if m.sink.delay > 0 {
		<-time.After(m.sink.delay)
	}
	return nil
}

func (m *mailSession) Reset()        { m.to = "" }
func (m *mailSession) Logout() error { return nil }
