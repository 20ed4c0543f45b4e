// Package apitest is a fake of a provider's HTTP API for tests. It takes JSON with a bearer token, a signature over time and
// body, or neither. It keeps the accepted requests and fails on request.
package apitest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
)

// The credentials of the fake, and its address.
const (
	Token         = "gwapitoken0123456789"
	SigningSecret = "gwapisigning0123456789"
	Messages      = "/v1/messages"
	Account       = "/v1/account"
)

// Taken is one accepted request.
type Taken struct {
	Method, Path, Query string // the path as it came over the wire
	Header              http.Header
	Body                string
}

// Server is an API with one account. Its faults have precedence over all checks.
type Server struct {
	gatewaytest.Faults
	URL   string
	Roots *x509.CertPool // trusts the server, when it speaks TLS
	Text  bool           // answers "ID: …" and "ERR: code, …" instead of JSON; set before the first request

	mu       sync.Mutex
	locked   bool
	accepted []Taken
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

// Accepted returns all accepted requests, in their order.
func (s *Server) Accepted() []Taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Refuse makes the credentials invalid; Accept makes them valid again.
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

// Fail makes the API answer with this error, whose text contains the whole request, as with real providers.
func (s *Server) Fail(status int, code string, header http.Header) {
	s.Reply(status, header, s.problem(code, gatewaytest.Request))
}

func (s *Server) problem(code, text string) string {
	if s.Text {
		return fmt.Sprintf("ERR: %s, %s", code, text)
	}
	return fmt.Sprintf(`{"error": {"code": %q, "text": "%s"}}`, code, text)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !s.knows(r, body):
		s.fail(w, http.StatusUnauthorized, "unauthorized")
	case r.URL.Path == Account && r.Method == http.MethodGet:
		fmt.Fprint(w, `{"account": "acme"}`)
	case r.Header.Get("Content-Type") == "application/json" && !json.Valid(body):
		s.fail(w, http.StatusBadRequest, "no_json")
	default:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, s.success(), s.keep(r, body))
	}
}

// knows checks the token, and the signature over time and body if there is one.
func (s *Server) knows(r *http.Request, body []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked || r.Header.Get("Authorization") != "Bearer "+Token {
		return false
	}
	got := r.Header.Get("X-Signature")
	h := hmac.New(sha256.New, []byte(SigningSecret))
	h.Write([]byte(r.Header.Get("X-Timestamp") + "." + string(body)))
	return got == "" || hmac.Equal([]byte(got), []byte("v1="+hex.EncodeToString(h.Sum(nil))))
}

func (s *Server) keep(r *http.Request, body []byte) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, Taken{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header, Body: string(body)})
	return fmt.Sprintf("msg_%06d", len(s.accepted))
}

// success returns the body of an accepting answer.
func (s *Server) success() string {
	if s.Text {
		return "ID: %s"
	}
	return `{"messages": [{"id": "%s", "status": 0}]}`
}

func (s *Server) fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprint(w, s.problem(code, "refused"))
}
