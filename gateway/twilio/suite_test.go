package twilio

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	fake  = twiliotest.Server
	reply = gatewaytest.Case[*fake]
	step  = gatewaytest.Step[*fake]
)

func section(f *fake) config.Twilio {
	return config.Twilio{
		AccountSID: twiliotest.AccountSID, AuthToken: twiliotest.AuthToken, From: "+15005550006",
		BaseURL: f.URL, Timeout: 30 * time.Second,
	}
}

// sender returns a sender that also trusts the fake if the fake speaks TLS.
func sender(t testing.TB, f *fake, cfg config.Twilio) *Sender {
	s, err := New("texts", cfg)
	require.NoError(t, err)
	s.http.TLSClientConfig = &tls.Config{RootCAs: f.Roots}
	return s
}

const oneCause = "Twilio's answers tell the account or the message, and 429 does not tell rate from concurrency"

// TestConformance runs over TLS, like production: only there is a moment with a connection and nothing written.
func TestConformance(t *testing.T) {
	gatewaytest.Run(t, gatewaytest.Suite[*fake]{
		Fake:      func(t testing.TB) *fake { return twiliotest.New(t, true) },
		New:       func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender { return sender(t, f, section(f)) },
		Messages:  []func(int) *notify.Message{gatewaytest.SMS},
		Accept:    (*fake).Accept,
		Refuse:    (*fake).Refuse,
		Delivered: delivered,
		Origins: func(f *fake) (senders []string) {
			for _, p := range f.Accepted() {
				senders = append(senders, p.Get("From")+p.Get("MessagingServiceSid"))
			}
			return senders
		},
		Secrets: []string{
			twiliotest.AuthToken, base64.StdEncoding.EncodeToString([]byte(twiliotest.AccountSID + ":" + twiliotest.AuthToken)),
		},
		Replies: []reply{
			{Name: "21610 opted out", Reply: fails(400, 21610), Want: notify.Permanent, WantCode: "21610", WantGone: true, WantReason: notify.ReasonOptedOut},
			{Name: "21211 no number", Reply: fails(400, 21211), Want: notify.Permanent, WantCode: "21211", WantGone: true, WantReason: notify.ReasonBadRecipient},
			{Name: "21614 no mobile", Reply: fails(400, 21614), Want: notify.Permanent, WantCode: "21614", WantGone: true, WantReason: notify.ReasonBadRecipient},
			{Name: "21612 no route", Reply: fails(400, 21612), Want: notify.Permanent, WantCode: "21612", WantReason: "errors/21612"},
			{Name: "21408 region", Reply: fails(403, 21408), Want: notify.Permanent, WantCode: "21408"},
			{Name: "21608 trial", Reply: fails(403, 21608), Want: notify.Permanent, WantCode: "21608"},
			{Name: "21610 by 403", Reply: fails(403, 21610), Want: notify.Permanent, WantGone: true},
			{Name: "21617 too long", Message: long, Want: notify.Permanent, WantCode: "21617"},
			{Name: "no sms", Message: func(m *notify.Message) { m.SMS = nil }, Want: notify.Permanent, WantReason: notify.ReasonInvalid},
			{Name: "422 without a code", Reply: plain(422, "", ""), Want: notify.Permanent, WantCode: "HTTP 422"},

			{Name: "429 seconds", Reply: failsAfter(429, 20429, "7"), Want: notify.Throttled, WantCode: "20429", WantAfter: 7 * time.Second},
			{Name: "429 silent", Reply: fails(429, 20429), Want: notify.Throttled},
			{Name: "429 of a proxy", Reply: plain(429, "3", "<html>"), Want: notify.Throttled, WantAfter: 3 * time.Second},
			{Name: "21611 queue full", Reply: fails(400, 21611), Want: notify.Throttled},
			{Name: "503 with a time", Reply: failsAfter(503, 20503, "9"), Want: notify.Throttled, WantAfter: 9 * time.Second},

			{Name: "503", Reply: fails(503, 20503), Want: notify.Transient},
			{Name: "503 as HTML", Reply: plain(503, "", "<html>"+gatewaytest.Request), Want: notify.Transient, WantCode: "HTTP 503"},
			{Name: "408", Reply: plain(408, "", ""), Want: notify.Transient},

			{Name: "500", Reply: fails(500, 20500), Want: notify.Ambiguous},
			{Name: "502 as HTML", Reply: plain(502, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous},
			{Name: "504 with a time", Reply: plain(504, "9", ""), Want: notify.Ambiguous},
			{Name: "599", Reply: plain(599, "", ""), Want: notify.Ambiguous},

			{Name: "20003", Reply: fails(401, 20003), Want: notify.Unavailable, WantCode: "20003", WantRemedy: "auth_token"},
			{Name: "401 of a proxy", Reply: plain(401, "", "<html>"), Want: notify.Unavailable},
			{Name: "20005 suspended", Reply: fails(401, 20005), Want: notify.Unavailable, WantRemedy: "suspended"},
			{Name: "20005 by 403", Reply: fails(403, 20005), Want: notify.Unavailable, WantRemedy: "suspended"},
			{Name: "403", Reply: plain(403, "", ""), Want: notify.Unavailable, WantRemedy: "permissions"},
			{Name: "404", Reply: fails(404, 20404), Want: notify.Unavailable, WantRemedy: "base_url"},
			{Name: "redirect", Reply: redirects(302), Want: notify.Unavailable, WantRemedy: "base_url"},
			{Name: "redirect that keeps the method", Reply: redirects(307), Want: notify.Unavailable},

			{Name: "a page", Kind: gatewaytest.Garbled, Reply: plain(200, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous, WantReason: "base_url"},
			{Name: "no sid", Kind: gatewaytest.Garbled, Reply: plain(201, "", "{}"), Want: notify.Ambiguous},
			{Name: "nothing", Kind: gatewaytest.Garbled, Reply: plain(204, "", ""), Want: notify.Ambiguous},
			{Name: "wrong types", Kind: gatewaytest.Garbled, Reply: plain(400, "", `{"code":"x","message":[]}`), Want: notify.Permanent},
		},
		Exempt: map[gatewaytest.Kind]string{
			gatewaytest.Elsewhere: oneCause, gatewaytest.Crowded: oneCause, gatewaytest.Paused: oneCause,
			gatewaytest.Partial: "Twilio takes a text whole, whatever its number of segments",
		},
		Steps: []step{
			at("handshake", gatewaytest.AtHandshake), at("request", gatewaytest.AtRequest), at("answer", gatewaytest.AtAnswer),
		},
	})
}

func delivered(f *fake) []string {
	var bodies []string
	for _, p := range f.Accepted() {
		bodies = append(bodies, p.Get("Body"))
	}
	return bodies
}

func fails(status, code int) func(*fake) { return failsAfter(status, code, "") }

func failsAfter(status, code int, retry string) func(*fake) {
	return func(f *fake) { f.Fail(status, code, after(retry)) }
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
	return func(f *fake) { f.Reply(status, http.Header{"Location": {f.URL + "/elsewhere"}}, "") }
}

func long(m *notify.Message) { m.SMS.Body += string(make([]rune, 1601)) }

func at(name string, p gatewaytest.Point) step {
	return step{
		Name: name, Written: p > gatewaytest.AtHandshake,
		Lose: func(f *fake) { f.Lose(p) }, Hang: func(f *fake) <-chan struct{} { return f.Hang(p) },
	}
}
