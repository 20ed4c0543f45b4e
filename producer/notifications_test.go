package producer

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestAccepted(t *testing.T) {
	bus, log := &fakeBus{}, &journal{}
	s := newServer(t, Config{Dispatcher: bus, Log: log.logger()})
	before := time.Now().UTC().Truncate(time.Millisecond)
	answer, body := do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
	require.Equal(t, "/v1/notifications/0190163d-8694-739b-aea5-966c26f8ad92", answer.Header.Get("Location"))
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	at, err := time.Parse(time.RFC3339, got["accepted_at"].(string))
	require.NoError(t, err)
	require.WithinRange(t, at, before, time.Now().UTC())
	require.Equal(t, bus.at.UTC().Truncate(time.Millisecond), at, "the job says the same")
	delete(got, "accepted_at")
	require.Equal(t, map[string]any{
		"id": "0190163d-8694-739b-aea5-966c26f8ad92", "channel": "email", "state": "queued", "lane": "normal",
		"expires_at": "2040-01-01T00:00:00Z", "reference": "order 4711", "warnings": []any{},
	}, got)
	require.Len(t, bus.got, 1)
	require.Equal(t, "eve@test.example", bus.got[0].Recipient)

	require.Equal(t, 1, strings.Count(log.text(), "\n"))
	for _, field := range []string{`"level":"info"`, `"msg":"api.request"`, `"id":"0190163d-8694-739b-aea5-966c26f8ad92"`, `"channel":"email"`, `"status":202`, `"took":`, `"request_id":"request-1"`} {
		require.Contains(t, log.text(), field)
	}
	require.NotContains(t, log.text(), "eve@")
	require.NotContains(t, log.text(), "order 4711")
}

func TestContentTypes(t *testing.T) {
	s := newServer(t, Config{})
	for _, kind := range []string{"application/json", "APPLICATION/JSON", "application/json;charset=UTF-8", `application/json; charset="utf-8"`, "application/json; version=1"} {
		r := request(http.MethodPost, "/v1/notifications", sound)
		r.Header.Set("Content-Type", kind)
		answer, _ := do(t, s, r)
		require.Equal(t, http.StatusAccepted, answer.StatusCode, kind)
	}
}

// A caller's request id is kept as long as it can stand in a log.
func TestRequestID(t *testing.T) {
	s := newServer(t, Config{})
	for id, kept := range map[string]bool{
		"a": true, "req_1.2-3": true, strings.Repeat("a", 64): true,
		"": false, "a b": false, "eve@test.example": false, "a\"b": false, strings.Repeat("a", 65): false, "ü": false,
	} {
		r := request(http.MethodPost, "/v1/notifications", sound)
		r.Header.Set("X-Request-Id", id)
		answer, _ := do(t, s, r)
		got := answer.Header.Get("X-Request-Id")
		if require.Equal(t, kept, got == id, id); !kept {
			_, isUUID := notify.ParseID(got)
			require.True(t, isUUID)
		}
	}
}

func TestMaxBodyIsLoweredOnly(t *testing.T) {
	s := newServer(t, Config{})
	size := int64(len(sound))
	post := func() int {
		answer, _ := do(t, s, request(http.MethodPost, "/v1/notifications", sound))
		return answer.StatusCode
	}
	s.LowerMaxBody(size)
	require.Equal(t, http.StatusAccepted, post())
	s.LowerMaxBody(size - 1)
	require.Equal(t, http.StatusRequestEntityTooLarge, post())
	s.LowerMaxBody(size)
	require.Equal(t, http.StatusRequestEntityTooLarge, post())
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := newServer(t, Config{Metrics: NewMetrics(registry)})
	do(t, s, request(http.MethodPost, "/v1/notifications", sound))
	do(t, s, request(http.MethodPost, "/v1/notifications", "{"))
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP laudspeaker_accepted_total Notifications that the API has made durable jobs, by channel.
# TYPE laudspeaker_accepted_total counter
laudspeaker_accepted_total{channel="email"} 1
laudspeaker_accepted_total{channel="push"} 0
laudspeaker_accepted_total{channel="sms"} 0
# HELP laudspeaker_api_responses_total Answers of the API, by HTTP status.
# TYPE laudspeaker_api_responses_total counter
laudspeaker_api_responses_total{status="202"} 1
laudspeaker_api_responses_total{status="400"} 1
`)))
}

func TestOutbox(t *testing.T) {
	s := newServer(t, Config{Outbox: fakeOutbox{}})
	answer, body := do(t, s, request(http.MethodGet, "/v1/outbox", ""))
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.JSONEq(t, `{"data":[{"id":"`+capturedID+`","channel":"email","recipient":"eve@test.example","summary":"A subject",
		"at":"2030-01-01T00:00:00Z","file":"/data/outbox/a.eml"}],"next_cursor":null}`, body)
	_, body = do(t, s, request(http.MethodGet, "/v1/outbox?limit=1", ""))
	require.JSONEq(t, `{"data":[],"next_cursor":null}`, body)
	_, body = do(t, s, request(http.MethodGet, "/v1/outbox/"+strings.ToUpper(capturedID), ""))
	require.Contains(t, body, `"content":"Subject: A subject"`)
}

func TestPagesNeedNoKeyAndAnyHost(t *testing.T) {
	_, key := GenerateKey("shop", ScopeSend)
	page := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	for _, keys := range [][]Key{nil, {key}} {
		s := newServer(t, Config{Keys: keys, Livez: page(200), Readyz: page(503), MetricsPage: page(204)})
		for path, status := range map[string]int{"/livez": 200, "/readyz": 503, "/metrics": 204} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				r := request(method, path, "")
				r.Host = "10.1.2.3:8080"
				w := &discard{header: http.Header{}}
				s.ServeHTTP(w, r)
				require.Equal(t, status, w.status, path)
			}
			answer, _ := do(t, s, request(http.MethodPost, path, ""))
			require.Equal(t, "GET, HEAD", answer.Header.Get("Allow"))
		}
	}
}
