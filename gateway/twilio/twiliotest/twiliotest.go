// Package twiliotest is a fake of Twilio's Messages API for tests: it checks requests like Twilio, keeps the accepted messages,
// and fails on request. It implements only the part of the API that the gateway uses; scripts/prism.sh checks the gateway
// against Twilio's own description of the API.
package twiliotest

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
)

// The account of the fake.
const (
	AccountSID = "AC0123456789abcdef0123456789abcdef"
	AuthToken  = "gwtwiliotoken0123456789abcdef012"
	APIKey     = "SK0123456789abcdef0123456789abcdef"
	APISecret  = "gwtwiliosecret123456789abcdef012"
)

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// Server is a Twilio API with one account. Its faults have precedence over all checks.
type Server struct {
	gatewaytest.Faults
	URL   string         // the base URL
	Roots *x509.CertPool // trusts the server, when it speaks TLS

	mu       sync.Mutex
	locked   bool
	accepted []url.Values
}

// New starts a server on loopback, over plain HTTP or TLS. It stops when the test ends.
func New(t testing.TB, secure bool) *Server {
	s := &Server{}
	h := s.Serve(t, http.HandlerFunc(s.serve), secure)
	s.URL = h.URL
	if secure {
		s.Roots = x509.NewCertPool()
		s.Roots.AddCert(h.Certificate())
	}
	return s
}

// Accepted returns the parameters of all accepted messages, in their order.
func (s *Server) Accepted() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Refuse makes the account's credentials invalid; Accept makes them valid again.
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locked = true
}

// Accept removes all faults.
func (s *Server) Accept() {
	s.Faults.Accept()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locked = false
}

// Fail makes the server answer with this error. Like Twilio's texts, its text contains the whole request.
func (s *Server) Fail(status, code int, header http.Header) {
	s.Reply(status, header, problem(status, code, gatewaytest.Request))
}

func problem(status, code int, text string) string {
	return fmt.Sprintf(`{"code": %d, "message": "%s", "more_info": "https://www.twilio.com/docs/errors/%[1]d", "status": %[3]d}`, code, text, status)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !s.knows(r):
		fail(w, http.StatusUnauthorized, 20003, "Authenticate")
	case r.URL.Path != "/2010-04-01/Accounts/"+AccountSID+"/Messages.json":
		fail(w, http.StatusNotFound, 20404, "The requested resource was not found")
	case r.Method == http.MethodGet:
		fmt.Fprint(w, `{"messages": [], "page": 0, "page_size": 1}`)
	case r.Method != http.MethodPost:
		fail(w, http.StatusMethodNotAllowed, 20004, "Method not allowed")
	default:
		s.create(w, r)
	}
}

func (s *Server) knows(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	known := user == AccountSID && password == AuthToken || user == APIKey && password == APISecret
	return known && !s.locked
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, 20001, "unreadable form")
		return
	}
	p := r.PostForm
	switch period, err := strconv.Atoi(p.Get("ValidityPeriod")); {
	case p.Get("To") == "":
		fail(w, http.StatusBadRequest, 21604, "A 'To' phone number is required.")
	case !e164.MatchString(p.Get("To")):
		fail(w, http.StatusBadRequest, 21211, "The 'To' number "+p.Get("To")+" is not a valid phone number.")
	case p.Get("From") == "" && p.Get("MessagingServiceSid") == "":
		fail(w, http.StatusBadRequest, 21603, "A 'From' phone number is required.")
	case p.Get("Body") == "" && len(p["MediaUrl"]) == 0:
		fail(w, http.StatusBadRequest, 21602, "Message body is required.")
	case len([]rune(p.Get("Body"))) > 1600:
		fail(w, http.StatusBadRequest, 21617, "The concatenated message body exceeds the 1600 character limit.")
	case len(p["MediaUrl"]) > 10:
		fail(w, http.StatusBadRequest, 21623, "Number of media files exceeds allowed limit.")
	case p.Has("ValidityPeriod") && (err != nil || period < 1 || period > 36_000):
		fail(w, http.StatusBadRequest, 20001, "ValidityPeriod must be between 1 and 36000.")
	default:
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"sid": "%s", "account_sid": %q, "status": "queued", "error_code": null, "error_message": null}`, s.keep(p), AccountSID)
	}
}

func (s *Server) keep(p url.Values) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, p)
	return sid(len(s.accepted) - 1)
}

func fail(w http.ResponseWriter, status, code int, text string) {
	w.WriteHeader(status)
	fmt.Fprint(w, problem(status, code, strings.ReplaceAll(text, `"`, `'`)))
}
