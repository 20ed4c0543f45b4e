// Package apnstest is a fake of Apple's Push Notification service for tests: it checks requests like APNs, keeps the accepted
// messages, and fails on request with APNs' reasons. It implements only the part of APNs that the gateway uses.
package apnstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
)

// The team of the fake, its key, and the topic of the key.
const (
	TeamID = "GWTEAM0001"
	KeyID  = "GWKEY00001"
	Topic  = "com.example.gwapp"
)

// Accepted is one accepted message.
type Accepted struct {
	Token   string
	Header  http.Header
	Payload json.RawMessage
}

// Server is an APNs with one team. Its faults have precedence over all checks.
type Server struct {
	gatewaytest.Faults
	URL     string         // the endpoint
	Roots   *x509.CertPool // trusts the server, when it speaks TLS
	KeyFile string         // the team's key

	mu       sync.Mutex
	key      *ecdsa.PublicKey
	locked   bool
	oldest   time.Time // provider tokens from before it are expired
	tokens   []string  // every provider token, in the order of their first use
	accepted []Accepted
}

// New starts a server on loopback, over plain HTTP or, like Apple's, HTTP/2 over TLS. It stops when the test ends.
func New(t testing.TB, secure bool) *Server {
	s := &Server{KeyFile: filepath.Join(t.TempDir(), "AuthKey_"+KeyID+".p8")}
	s.key = WriteKey(t, s.KeyFile)
	h := s.Serve(t, http.HandlerFunc(s.serve), secure)
	s.URL = h.URL
	if secure {
		s.Roots = x509.NewCertPool()
		s.Roots.AddCert(h.Certificate())
	}
	return s
}

// WriteKey creates a key and its file in Apple's format.
func WriteKey(t testing.TB, file string) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// Accepted returns all accepted messages, in their order.
func (s *Server) Accepted() []Accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Tokens returns the distinct provider tokens of all requests.
func (s *Server) Tokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens)
}

// Refuse makes the key invalid; Accept makes it valid again.
func (s *Server) Refuse() { s.set(func() { s.locked = true }) }

// Accept removes all faults.
func (s *Server) Accept() {
	s.Faults.Accept()
	s.set(func() { s.locked = false })
}

// Know makes another key the team's key.
func (s *Server) Know(key *ecdsa.PublicKey) { s.set(func() { s.key = key }) }

// Expire makes every provider token from before t too old.
func (s *Server) Expire(t time.Time) { s.set(func() { s.oldest = t }) }

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Fail makes APNs refuse with this reason. The answer quotes the whole request, which Apple's does not.
func (s *Server) Fail(status int, reason string, header http.Header) {
	s.Reply(status, header, fmt.Sprintf(`{"reason":%q,"timestamp":1777636890000,"request":"%s"}`, reason, gatewaytest.Request))
}

var (
	path   = regexp.MustCompile(`^/3/device/((?:[0-9a-fA-F]{2}){32,100})$`)
	nobody = regexp.MustCompile(`^0+$`)
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	device := path.FindStringSubmatch(r.URL.Path)
	h := r.Header
	switch refused := s.authenticate(h.Get("Authorization")); {
	case r.Method != http.MethodPost:
		fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !strings.HasPrefix(r.URL.Path, "/3/device/"):
		fail(w, http.StatusNotFound, "BadPath")
	case refused != "":
		fail(w, http.StatusForbidden, refused)
	case h.Get("apns-topic") != Topic && !strings.HasPrefix(h.Get("apns-topic"), Topic+"."):
		fail(w, http.StatusBadRequest, "TopicDisallowed")
	case h.Get("apns-push-type") == "background" && h.Get("apns-priority") != "5":
		fail(w, http.StatusBadRequest, "BadPriority")
	case len(h.Get("apns-collapse-id")) > 64:
		fail(w, http.StatusBadRequest, "BadCollapseId")
	case h.Get("apns-id") != "" && !uuid.MatchString(h.Get("apns-id")):
		fail(w, http.StatusBadRequest, "BadMessageId")
	case len(body) > 4096:
		fail(w, http.StatusRequestEntityTooLarge, "PayloadTooLarge")
	case !payload(body):
		fail(w, http.StatusBadRequest, "PayloadEmpty")
	case device == nil || nobody.MatchString(device[1]):
		fail(w, http.StatusBadRequest, "BadDeviceToken")
	default:
		w.Header().Set("apns-id", s.keep(Accepted{Token: device[1], Header: h.Clone(), Payload: body}))
		w.WriteHeader(http.StatusOK)
	}
}

// authenticate returns the reason for which the provider token is refused, or an empty text.
func (s *Server) authenticate(header string) (reason string) {
	text, ok := strings.CutPrefix(header, "bearer ")
	if !ok {
		return "MissingProviderToken"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.tokens, text) {
		s.tokens = append(s.tokens, text)
	}
	var claims jwt.RegisteredClaims
	token, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(TeamID), jwt.WithIssuedAt())
	switch {
	case err != nil || s.locked || token.Header["kid"] != KeyID || claims.IssuedAt == nil:
		return "InvalidProviderToken"
	case time.Since(claims.IssuedAt.Time) > time.Hour || claims.IssuedAt.Before(s.oldest):
		return "ExpiredProviderToken"
	}
	return ""
}

// payload reports whether the payload has more than an empty aps: a push of type voip has only its own keys.
func payload(body []byte) bool {
	var p map[string]any
	if json.Unmarshal(body, &p) != nil {
		return false
	}
	aps, ok := p["aps"].(map[string]any)
	return ok && (len(aps) > 0 || len(p) > 1)
}

func (s *Server) keep(m Accepted) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, m)
	id = m.Header.Get("apns-id")
	if id == "" {
		id = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(s.accepted))
	}
	return id
}

func fail(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"reason":%q}`, reason)
}
