package fcm

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) {
	// The SDK imports storage and Firestore clients, which start a goroutine of opencensus.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

type (
	fake  = fcmtest.Server
	reply = gatewaytest.Case[*fake]
	step  = gatewaytest.Step[*fake]
)

func section(f *fake) config.FCM {
	return config.FCM{ProjectID: fcmtest.Project, Endpoint: f.URL, Token: fcmtest.Token, Timeout: 30 * time.Second}
}

// sender returns a sender that also trusts the fake if the fake speaks TLS.
func sender(t testing.TB, f *fake, cfg config.FCM) *Sender {
	s, err := New("pushes", cfg)
	require.NoError(t, err)
	s.http.TLSClientConfig = &tls.Config{RootCAs: f.Roots}
	return s
}

const oneCause = "FCM's quotas are rates: 429 says so"

// TestConformance runs over TLS, like production: only there is a moment with a connection and nothing written.
func TestConformance(t *testing.T) {
	gatewaytest.Run(t, gatewaytest.Suite[*fake]{
		Fake:      func(t testing.TB) *fake { return fcmtest.New(t, true) },
		New:       func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender { return sender(t, f, section(f)) },
		Messages:  []func(int) *notify.Message{gatewaytest.Push},
		Accept:    (*fake).Accept,
		Refuse:    (*fake).Refuse,
		Delivered: delivered,
		Secrets:   []string{fcmtest.Token},
		Replies: []reply{
			{Name: "unregistered", Reply: fails(fcmtest.Unregistered), Want: notify.Permanent, WantCode: "UNREGISTERED", WantGone: true, WantReason: notify.ReasonRecipientGone},
			{Name: "bad token", Reply: fails(fcmtest.BadToken), Want: notify.Permanent, WantCode: "INVALID_ARGUMENT", WantGone: true, WantReason: notify.ReasonBadRecipient},
			{Name: "bad token by field", Reply: fails(fcmtest.BadTokenByField), Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonBadRecipient},
			{Name: "invalid argument", Reply: fails(fcmtest.InvalidArgument), Want: notify.Permanent, WantCode: "INVALID_ARGUMENT", WantReason: "message.android.ttl"},
			{Name: "bad value", Reply: fails(fcmtest.BadValue), Want: notify.Permanent, WantCode: "INVALID_ARGUMENT", WantReason: "message.data[0].value"},
			{Name: "sender id mismatch", Reply: fails(fcmtest.SenderIDMismatch), Want: notify.Permanent, WantCode: "SENDER_ID_MISMATCH"},
			{Name: "413", Reply: plain(413, "", "<html>"), Want: notify.Permanent, WantCode: "HTTP 413"},
			{Name: "no push", Message: func(m *notify.Message) { m.Push = nil }, Want: notify.Permanent, WantReason: notify.ReasonInvalid},
			{Name: "refused by the SDK", Message: func(m *notify.Message) { m.Push.Image = "gwsecret image" }, Want: notify.Permanent, WantReason: "invalid image URL"},
			{Name: "lost field", Message: func(m *notify.Message) { m.Push.Android = []byte(`{"sound":"gwsecret"}`) }, Want: notify.Permanent, WantReason: "payload.android.sound"},

			{Name: "quota", Reply: fails(fcmtest.QuotaExceeded), Want: notify.Throttled, WantCode: "QUOTA_EXCEEDED", WantAfter: time.Minute},
			{Name: "quota with a time", Reply: failsAfter(fcmtest.QuotaExceeded, "7"), Want: notify.Throttled, WantAfter: 7 * time.Second},
			{Name: "429 without a code", Reply: fails(fcmtest.RateLimited), Want: notify.Throttled, WantAfter: time.Minute},
			{Name: "503 with a time", Reply: failsAfter(fcmtest.Unavailable, "9"), Want: notify.Throttled, WantCode: "UNAVAILABLE", WantAfter: 9 * time.Second},

			{Name: "unavailable", Reply: fails(fcmtest.Unavailable), Want: notify.Transient, WantCode: "UNAVAILABLE"},
			{Name: "503 as HTML", Reply: plain(503, "", "<html>"+gatewaytest.Request), Want: notify.Transient, WantCode: "HTTP 503"},
			{Name: "internal", Reply: fails(fcmtest.Internal), Want: notify.Transient, WantCode: "INTERNAL"},
			{Name: "502 as HTML", Reply: plain(502, "", "<html>"+gatewaytest.Request), Want: notify.Transient, WantCode: "HTTP 502"},
			{Name: "504", Reply: plain(504, "", ""), Want: notify.Transient},

			{Name: "third party", Reply: fails(fcmtest.ThirdPartyAuth), Want: notify.Unavailable, WantCode: "THIRD_PARTY_AUTH_ERROR", WantRemedy: "APNs"},
			{Name: "401", Reply: fails(fcmtest.Unauthenticated), Want: notify.Unavailable, WantCode: "HTTP 401", WantRemedy: "service account"},
			{Name: "403", Reply: fails(fcmtest.PermissionDenied), Want: notify.Unavailable, WantRemedy: "role"},
			{Name: "404", Reply: fails(fcmtest.NoProject), Want: notify.Unavailable, WantRemedy: "project_id"},
			{Name: "redirect", Reply: redirects(302), Want: notify.Unavailable, WantRemedy: "endpoint"},
			{Name: "redirect that keeps the method", Reply: redirects(307), Want: notify.Unavailable},

			{Name: "a page", Kind: gatewaytest.Garbled, Reply: plain(200, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous, WantReason: "endpoint"},
			{Name: "no name", Kind: gatewaytest.Garbled, Reply: plain(200, "", "{}"), Want: notify.Ambiguous},
			{Name: "wrong types", Kind: gatewaytest.Garbled, Reply: plain(400, "", `{"error":{"message":[],"details":{}}}`), Want: notify.Permanent},
		},
		Exempt: map[gatewaytest.Kind]string{
			gatewaytest.Elsewhere: oneCause, gatewaytest.Crowded: oneCause, gatewaytest.Paused: oneCause,
			gatewaytest.Partial: "FCM takes a message for one target",
		},
		Steps: []step{
			at("handshake", gatewaytest.AtHandshake), at("request", gatewaytest.AtRequest), at("answer", gatewaytest.AtAnswer),
		},
	})
}

func delivered(f *fake) []string {
	var messages []string
	for _, m := range f.Accepted() {
		messages = append(messages, string(m))
	}
	return messages
}

func fails(a fcmtest.Answer) func(*fake) { return failsAfter(a, "") }

func failsAfter(a fcmtest.Answer, retry string) func(*fake) {
	return func(f *fake) { f.Fail(a, after(retry)) }
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
		f.Reply(status, http.Header{"Location": {f.URL + "/elsewhere"}}, `{"name":"projects/p/messages/1"}`)
	}
}

func at(name string, p gatewaytest.Point) step {
	return step{
		Name: name, Written: p > gatewaytest.AtHandshake,
		Lose: func(f *fake) { f.Lose(p) }, Hang: func(f *fake) <-chan struct{} { return f.Hang(p) },
	}
}
