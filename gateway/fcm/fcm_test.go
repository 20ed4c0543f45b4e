package fcm

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// counting returns the endpoint of a server with a constant answer, and its number of requests.
func counting(t *testing.T, answer http.HandlerFunc) (f *fake, calls *atomic.Int32) {
	calls = new(atomic.Int32)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return &fake{URL: h.URL}, calls
}

// TestSender_OneTry: the SDK would retry for seven seconds; the gateway makes one request.
func TestSender_OneTry(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"503":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"lost": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "100") },
	} {
		t.Run(name, func(t *testing.T) {
			f, calls := counting(t, answer)
			s := sender(t, f, section(f))
			defer s.Close()
			_, err := s.Send(t.Context(), gatewaytest.Push(1))
			require.Error(t, err)
			require.EqualValues(t, 1, calls.Load())
		})
	}
}

func TestSender_FollowsNoRedirect(t *testing.T) {
	other, calls := counting(t, func(http.ResponseWriter, *http.Request) {})
	f := fcmtest.New(t, false)
	s := sender(t, f, section(f))
	defer s.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		f.Reply(status, http.Header{"Location": {other.URL}}, `{"name":"projects/p/messages/1"}`)
		_, err := s.Send(t.Context(), gatewaytest.Push(1))
		require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict, status)
	}
	require.Zero(t, calls.Load())
}

// TestSender_Endpoint: only the configuration decides where requests go, and its path is kept.
func TestSender_Endpoint(t *testing.T) {
	t.Setenv("GOOGLE_API_USE_MTLS_ENDPOINT", "always")
	t.Setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "elsewhere.example")
	t.Setenv("FIREBASE_CONFIG", `{"projectId":"elsewhere"}`)
	var path atomic.Value
	f, _ := counting(t, func(_ http.ResponseWriter, r *http.Request) { path.Store(r.URL.Path) })
	f.URL += "/fcm/"
	s := sender(t, f, section(f))
	defer s.Close()
	_, err := s.Send(t.Context(), gatewaytest.Push(1))
	require.Error(t, err)
	require.Equal(t, "/fcm/v1/projects/"+fcmtest.Project+"/messages:send", path.Load())
}

func TestSender_Timeout(t *testing.T) {
	f := fcmtest.New(t, false)
	f.Hang(gatewaytest.AtRequest)
	cfg := section(f)
	cfg.Timeout = 50 * time.Millisecond
	s := sender(t, f, cfg)
	defer s.Close()
	_, err := s.Send(context.Background(), gatewaytest.Push(1))
	require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict)
}

// TestSender_Arrives: FCM gets the complete message.
func TestSender_Arrives(t *testing.T) {
	f := fcmtest.New(t, false)
	s := sender(t, f, section(f))
	defer s.Close()
	m := gatewaytest.Push(1)
	m.ExpiresAt = nil
	m.Push = &notify.Push{
		Title: "Grüße 👋", Body: "b < c & d", Image: "https://a.example/1.png", Data: map[string]string{"k": "v"},
		CollapseKey: "score", Priority: "high",
		Android: json.RawMessage(`{"ttl":"3.5s","notification":{"channel_id":"alerts","tag":"mine"}}`),
		APNs:    json.RawMessage(`{"payload":{"aps":{"badge":0,"interruption-level":"critical"},"own":[1,2.5]}}`),
		WebPush: json.RawMessage(`{"headers":{"ttl":"7"},"notification":{"silent":false,"own":1}}`),
	}
	receipt, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	require.Regexp(t, "^projects/"+fcmtest.Project+"/messages/", receipt.ProviderID)
	require.JSONEq(t, `{
		"token": "gwtoken000001:APA91b",
		"notification": {"title": "Grüße 👋", "body": "b < c & d", "image": "https://a.example/1.png"},
		"data": {"k": "v"},
		"android": {"ttl": "3.500000000s", "priority": "high", "collapse_key": "score", "notification": {"channel_id": "alerts", "tag": "mine"}},
		"apns": {
			"headers": {"apns-priority": "10", "apns-collapse-id": "score"},
			"payload": {"aps": {"badge": 0, "interruption-level": "critical", "mutable-content": 1}, "own": [1, 2.5]},
			"fcm_options": {"image": "https://a.example/1.png"}
		},
		"webpush": {"headers": {"ttl": "7", "Urgency": "high", "Topic": "score"}, "notification": {"silent": false, "own": 1}}
	}`, string(f.Accepted()[0]))
}

func TestNew_NamesFaults(t *testing.T) {
	good := section(&fake{URL: "https://fcm.example.com"})
	for field, change := range map[string]func(*config.FCM){
		"endpoint":         func(c *config.FCM) { c.Endpoint = "http://fcm.example.com" },
		"token: a static":  func(c *config.FCM) { c.Endpoint = "" },
		"token: set":       func(c *config.FCM) { c.CredentialsFile = "some.json" },
		"project_id":       func(c *config.FCM) { c.ProjectID = "" },
		"project_id: set":  func(c *config.FCM) { c.ProjectID = "../../evil" },
		"credentials_file": func(c *config.FCM) { c.Token, c.CredentialsFile = "", "no-such-file.json" },
	} {
		cfg := good
		change(&cfg)
		_, err := New("pushes", cfg)
		require.ErrorContains(t, err, "gateways.pushes."+field)
		require.NotContains(t, err.Error(), fcmtest.Token)
	}
	_, err := New("pushes", config.FCM{Token: "hush", CredentialsFile: "some.json", ProjectID: "A"})
	require.Len(t, strings.Split(err.Error(), "\n"), 3, "all faults at once")
}
