package apns

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/apns/apnstest"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	fake  = apnstest.Server
	reply = gatewaytest.Case[*fake]
	step  = gatewaytest.Step[*fake]
)

func section(f *fake) config.APNs {
	return config.APNs{
		TeamID: apnstest.TeamID, KeyID: apnstest.KeyID, KeyFile: f.KeyFile, Topic: apnstest.Topic,
		Environment: "production", Endpoint: f.URL, Timeout: 30 * time.Second,
	}
}

// sender returns a sender that also trusts the fake if the fake speaks TLS.
func sender(t testing.TB, f *fake) *Sender {
	s, err := New("apples", section(f))
	require.NoError(t, err)
	s.http.TLSClientConfig = &tls.Config{RootCAs: f.Roots}
	return s
}

// push returns a message to an Apple device.
func push(n int) *notify.Message {
	m := gatewaytest.Push(n)
	m.RecipientType = notify.RecipientAPNs
	m.Recipient = fmt.Sprintf("5ec4e7%058d", n)
	m.Address = m.Recipient
	return m
}

// with returns a change of the block of a message that has its own topic.
func with(topic string) func(*notify.Message) {
	return func(m *notify.Message) {
		m.Push.APNs = []byte(`{"headers":{"apns-topic":"` + topic + `"}}`)
	}
}

func says(text string) func(*notify.Message) {
	return func(m *notify.Message) { m.Push.APNs = []byte(text) }
}

func to(token string) func(*notify.Message) {
	return func(m *notify.Message) { m.Recipient, m.Address = token, token }
}

const oneCause = "APNs answers for its connection or for a token, and its quotas are not documented"

// TestConformance runs over TLS and HTTP/2, like production.
func TestConformance(t *testing.T) {
	unavailable := func(name string, status int, remedy string) reply {
		return reply{Name: name, Reply: fails(status, name), Want: notify.Unavailable, WantCode: name, WantRemedy: remedy}
	}
	hostile := func(name, token string) reply {
		return reply{Name: name, Message: to(token), Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonBadRecipient}
	}
	refused := func(name, text, reason string) reply {
		return reply{Name: name, Message: says(text), Want: notify.Permanent, WantReason: reason}
	}
	gatewaytest.Run(t, gatewaytest.Suite[*fake]{
		Fake:      func(t testing.TB) *fake { return apnstest.New(t, true) },
		New:       func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender { return sender(t, f) },
		Messages:  []func(int) *notify.Message{push},
		Accept:    (*fake).Accept,
		Refuse:    (*fake).Refuse,
		Delivered: delivered,
		Secrets:   []string{"eyJhbGciOiJFUzI1NiIs", "PRIVATE KEY", "bearer", "5ec4e7"}, // each provider token begins like the first
		Replies: []reply{
			{Name: "bad token", Reply: fails(400, "BadDeviceToken"), Want: notify.Permanent, WantNext: true, WantRemedy: "environment", WantCode: "BadDeviceToken", WantGone: true, WantReason: notify.ReasonBadRecipient},
			{Name: "token of another app", Kind: gatewaytest.Elsewhere, Reply: fails(400, "DeviceTokenNotForTopic"), Want: notify.Permanent, WantNext: true, WantRemedy: "topic", WantGone: true, WantReason: notify.ReasonBadRecipient},
			{Name: "unregistered", Reply: fails(410, "Unregistered"), Want: notify.Permanent, WantCode: "Unregistered", WantGone: true, WantReason: notify.ReasonRecipientGone},
			{Name: "expired", Reply: fails(410, "ExpiredToken"), Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonRecipientGone},
			{Name: "410 without a reason", Reply: plain(410, "", ""), Want: notify.Permanent, WantCode: "HTTP 410", WantGone: true, WantReason: notify.ReasonRecipientGone},
			hostile("a path", "../../3/device/"+strings.Repeat("5ec4e7", 12)),
			hostile("a longer path", strings.Repeat("5ec4e7", 11)+"/../x"),
			hostile("escapes", strings.Repeat("5ec4e7", 10)+"%2e%2e%2f"),
			hostile("a header", strings.Repeat("5ec4e7", 11)+"\r\napns-topic: x"),
			hostile("a line end", strings.Repeat("5ec4e7", 11)+"\n"),
			hostile("a query", strings.Repeat("5ec4e7", 11)+"?a#b"),
			hostile("odd", strings.Repeat("5ec4e7", 11)+"0"),
			hostile("short", strings.Repeat("5ec4e7", 10)),
			hostile("long", strings.Repeat("5ec4e7", 34)),
			hostile("empty", ""),

			{Name: "bad priority", Reply: fails(400, "BadPriority"), Want: notify.Permanent, WantCode: "BadPriority"},
			{Name: "a new reason", Reply: fails(400, "SomethingNew"), Want: notify.Permanent, WantCode: "SomethingNew"},
			{Name: "400 without a reason", Reply: plain(400, "", "<html>"+gatewaytest.Request), Want: notify.Permanent, WantCode: "HTTP 400"},
			{Name: "payload too large", Reply: fails(413, "PayloadTooLarge"), Want: notify.Permanent, WantReason: notify.ReasonTooLarge},
			{Name: "413 without a reason", Reply: plain(413, "", ""), Want: notify.Permanent, WantReason: notify.ReasonTooLarge},
			{Name: "too large", Message: func(m *notify.Message) { m.Push.Body += strings.Repeat("x", 4096) }, Want: notify.Permanent, WantReason: notify.ReasonTooLarge},
			{Name: "no push", Message: func(m *notify.Message) { m.Push = nil }, Want: notify.Permanent, WantReason: notify.ReasonInvalid},
			{Name: "a token of FCM", Message: func(m *notify.Message) { m.RecipientType = notify.RecipientFCM }, Want: notify.Permanent, WantReason: "recipient_type"},
			refused("authorization", `{"headers":{"Authorization":"gwsecret"}}`, "headers.Authorization is no header"),
			refused("header injection", `{"headers":{"apns-priority":"5\r\nx: gwsecret"}}`, "headers.apns-priority must be ASCII"),
			refused("live activity of FCM", `{"live_activity_token":"gwsecret"}`, "live_activity_token is for FCM"),
			{
				Name: "topic of its own, token of another app", Message: with("com.example.app.other"), Reply: fails(400, "DeviceTokenNotForTopic"),
				Want: notify.Permanent, WantCode: "DeviceTokenNotForTopic", WantReason: "apns-topic of the message",
			},
			{Name: "topic of its own", Message: with("com.example.other"), Want: notify.Permanent, WantCode: "TopicDisallowed", WantReason: "apns-topic of the message"},

			{Name: "too many", Reply: fails(429, "TooManyRequests"), Want: notify.Throttled, WantCode: "TooManyRequests"},
			{Name: "too many with a time", Reply: failsAfter(429, "TooManyRequests", "7"), Want: notify.Throttled, WantAfter: 7 * time.Second},
			{Name: "429 without a reason", Reply: plain(429, "3", "<html>"), Want: notify.Throttled, WantCode: "HTTP 429", WantAfter: 3 * time.Second},
			{Name: "503 with a time", Reply: failsAfter(503, "ServiceUnavailable", "9"), Want: notify.Throttled, WantAfter: 9 * time.Second},

			{Name: "internal", Reply: fails(500, "InternalServerError"), Want: notify.Transient, WantCode: "InternalServerError"},
			{Name: "unavailable for now", Reply: fails(503, "ServiceUnavailable"), Want: notify.Transient},
			{Name: "shutdown", Reply: fails(503, "Shutdown"), Want: notify.Transient},
			{Name: "503 as HTML", Reply: plain(503, "", "<html>"+gatewaytest.Request), Want: notify.Transient, WantCode: "HTTP 503"},
			{Name: "idle", Reply: fails(400, "IdleTimeout"), Want: notify.Transient},
			{Name: "408", Reply: plain(408, "", ""), Want: notify.Transient},
			{Name: "425", Reply: plain(425, "", ""), Want: notify.Transient},
			{Name: "misdirected", Reply: plain(421, "", ""), Want: notify.Transient},

			{Name: "500 as HTML", Reply: plain(500, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous, WantCode: "HTTP 500"},
			{Name: "502 with a time", Reply: plain(502, "9", "<html>"), Want: notify.Ambiguous},
			{Name: "a new failure", Reply: fails(507, "SomethingNew"), Want: notify.Ambiguous, WantCode: "SomethingNew"},

			unavailable("ExpiredProviderToken", 403, "clock"),
			unavailable("InvalidProviderToken", 403, "key_id"),
			unavailable("MissingProviderToken", 403, "endpoint"),
			unavailable("UnrelatedKeyIdInToken", 403, "key_id"),
			unavailable("BadEnvironmentKeyIdInToken", 403, "environment"),
			unavailable("Forbidden", 403, "topic"),
			unavailable("BadCertificate", 403, "key_file"),
			unavailable("BadCertificateEnvironment", 403, "environment"),
			unavailable("BadPath", 404, "endpoint"),
			unavailable("MethodNotAllowed", 405, "endpoint"),
			unavailable("BadTopic", 400, "topic"),
			unavailable("TopicDisallowed", 400, "topic"),
			unavailable("MissingTopic", 400, "topic"),
			unavailable("TooManyProviderTokenUpdates", 429, "20 minutes"),
			{Name: "403 without a reason", Reply: plain(403, "", ""), Want: notify.Unavailable, WantCode: "HTTP 403"},
			{Name: "401", Reply: plain(401, "", ""), Want: notify.Unavailable, WantCode: "HTTP 401"},
			{Name: "405", Reply: plain(405, "", ""), Want: notify.Unavailable, WantRemedy: "endpoint"},
			{Name: "404 of a proxy", Reply: plain(404, "", "<html>"), Want: notify.Unavailable, WantRemedy: "endpoint"},
			{Name: "407", Reply: plain(407, "", ""), Want: notify.Unavailable, WantRemedy: "HTTPS_PROXY"},
			{Name: "redirect", Reply: redirects(302), Want: notify.Unavailable, WantRemedy: "endpoint"},
			{Name: "redirect that keeps the method", Reply: redirects(307), Want: notify.Unavailable},

			{Name: "a page", Kind: gatewaytest.Garbled, Reply: plain(200, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous, WantReason: "endpoint"},
			{Name: "an id that is none", Kind: gatewaytest.Garbled, Reply: func(f *fake) { f.Reply(200, http.Header{"Apns-Id": {"1"}}, "") }, Want: notify.Ambiguous},
			{Name: "wrong types", Kind: gatewaytest.Garbled, Reply: plain(400, "", `{"reason":[]}`), Want: notify.Permanent, WantCode: "HTTP 400"},
			{Name: "a reason that is none", Kind: gatewaytest.Garbled, Reply: plain(400, "", `{"reason":"`+gatewaytest.Request+`"}`), Want: notify.Permanent, WantCode: "HTTP 400"},
		},
		Exempt: map[gatewaytest.Kind]string{
			gatewaytest.Crowded: oneCause, gatewaytest.Paused: oneCause,
			gatewaytest.Partial: "Apple takes a push for one device",
		},
		Steps: []step{
			at("handshake", gatewaytest.AtHandshake), at("request", gatewaytest.AtRequest), // no third: the head of an answer says all that there is
		},
	})
}

func delivered(f *fake) []string {
	var payloads []string
	for _, m := range f.Accepted() {
		payloads = append(payloads, string(m.Payload))
	}
	return payloads
}

func fails(status int, reason string) func(*fake) { return failsAfter(status, reason, "") }

func failsAfter(status int, reason, retry string) func(*fake) {
	return func(f *fake) { f.Fail(status, reason, after(retry)) }
}

func plain(status int, retry, body string) func(*fake) {
	return func(f *fake) { f.Reply(status, after(retry), body) }
}

func after(retry string) http.Header {
	if retry == "" {
		return nil
	}
	return http.Header{"Retry-After": {retry}}
}

func redirects(status int) func(*fake) {
	return func(f *fake) {
		f.Reply(status, http.Header{"Location": {f.URL + "/elsewhere"}, "Apns-Id": {notify.NewID()}}, "")
	}
}

func at(name string, p gatewaytest.Point) step {
	return step{
		Name: name, Written: p > gatewaytest.AtHandshake,
		Lose: func(f *fake) { f.Lose(p) }, Hang: func(f *fake) <-chan struct{} { return f.Hang(p) },
	}
}
