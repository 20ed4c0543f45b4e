// Package fcmtest is a fake of the FCM HTTP v1 API for tests: it checks requests like FCM, keeps the accepted messages, and
// fails on request with the bodies of FCM's answers. It implements only the part of FCM that the gateway uses.
package fcmtest

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
)

// The project of the fake, and its access token.
const (
	Project = "gw-project-1"
	Token   = "gwfcmaccesstoken.0123456789"
)

// Server is an FCM with one project. Its faults have precedence over all checks.
type Server struct {
	gatewaytest.Faults
	URL   string         // the endpoint
	Roots *x509.CertPool // trusts the server, when it speaks TLS

	mu       sync.Mutex
	token    string
	accepted []json.RawMessage
}

// New starts a server on loopback, over plain HTTP or TLS. It stops when the test ends.
func New(t testing.TB, secure bool) *Server {
	s := &Server{token: Token}
	h := s.Serve(t, http.HandlerFunc(s.serve), secure)
	s.URL = h.URL
	if secure {
		s.Roots = x509.NewCertPool()
		s.Roots.AddCert(h.Certificate())
	}
	return s
}

// Accepted returns all accepted messages as FCM's JSON, in their order.
func (s *Server) Accepted() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Refuse makes the access token invalid; Accept makes it valid again.
func (s *Server) Refuse() { s.expect("another") }

// Accept removes all faults.
func (s *Server) Accept() {
	s.Faults.Accept()
	s.expect(Token)
}

func (s *Server) expect(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// Fail makes FCM answer with this error.
func (s *Server) Fail(a Answer, header http.Header) {
	s.Reply(answers[a].status, header, answers[a].json())
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ValidateOnly bool            `json:"validate_only"`
		Message      json.RawMessage `json:"message"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	switch {
	case !s.knows(r):
		Unauthenticated.write(w)
	case r.URL.Path != "/v1/projects/"+Project+"/messages:send" || r.Method != http.MethodPost:
		NoProject.write(w)
	case d.Decode(&body) != nil:
		InvalidArgument.write(w)
	case !valid(body.Message):
		InvalidArgument.write(w)
	default:
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		fmt.Fprintf(w, `{"name": "projects/%s/messages/%s"}`, Project, s.keep(body.Message, body.ValidateOnly))
	}
}

func (s *Server) knows(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.Header.Get("Authorization") == "Bearer "+s.token
}

func (s *Server) keep(message json.RawMessage, validateOnly bool) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if validateOnly {
		return "fake_message_id"
	}
	s.accepted = append(s.accepted, message)
	return fmt.Sprintf("0:%016d%%%x", len(s.accepted), len(s.accepted))
}

// valid checks a message like FCM's JSON parser: unknown fields are refused, and there is one recipient.
func valid(raw json.RawMessage) bool {
	var m struct {
		Token, Topic, Condition string
		Notification            *struct{ Title, Body, Image string }
		Data                    map[string]string
		Android, APNS, Webpush  map[string]any
		FCMOptions              map[string]any `json:"fcm_options"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if len(raw) == 0 || len(raw) > 8<<10 || d.Decode(&m) != nil {
		return false
	}
	recipients := 0
	for _, r := range []string{m.Token, m.Topic, m.Condition} {
		if r != "" {
			recipients++
		}
	}
	return recipients == 1
}
