package http

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	fake  = apitest.Server
	reply = gatewaytest.Case[*fake]
	step  = gatewaytest.Step[*fake]
)

// base returns a section as the loader does, with little more than an address.
func base(url string) config.HTTP {
	return config.HTTP{
		Method: "POST", URL: url, ContentType: "application/json", Timeout: 30 * time.Second,
		Signing: config.HTTPSigning{Algorithm: "sha256", Encoding: "hex"}, OAuth2: config.HTTPOAuth2{Auth: "basic"},
		Success: config.HTTPSuccess{Status: config.Statuses{"2xx"}}, Check: config.HTTPCheck{Method: "GET"},
		RecipientTypes: []string{"fcm", "topic", "condition"},
	}
}

// section returns a section that uses every setting.
func section(f *fake) config.HTTP {
	cfg := base(f.URL + apitest.Messages + "?channel={{query .channel}}")
	cfg.Headers = map[string]string{"Idempotency-Key": "{{.id}}", "X-Reference": "{{.reference}}"}
	cfg.Body = `{"message": {{json .}}, "key": {{json secret}}}`
	cfg.Token, cfg.Secret = apitest.Token, "gwapisecret"
	cfg.Signing = config.HTTPSigning{
		Secret: apitest.SigningSecret, Header: "X-Signature", TimestampHeader: "X-Timestamp", Prefix: "v1=", Algorithm: "sha256", Encoding: "hex",
	}
	cfg.Success.Path, cfg.Success.Values = "/messages/*/status", []string{"0"}
	cfg.IDPath, cfg.CodePath = "/messages/0/id", "/error/code"
	cfg.Rules = []config.HTTPRule{
		{Code: []string{"opted_out"}, Verdict: "gone", Reason: notify.ReasonOptedOut},
		{Code: []string{"unknown"}, Verdict: "gone"},
		{Status: config.Statuses{"200"}, Code: []string{"busy"}, Verdict: "throttled"},
		{Status: config.Statuses{"400"}, Code: []string{"try_later"}, Verdict: "transient"},
		{Status: config.Statuses{"4xx"}, Code: []string{"no_credit"}, Verdict: "unavailable"},
		{Status: config.Statuses{"418"}, Verdict: "ambiguous"},
	}
	cfg.Check.URL, cfg.From = f.URL+apitest.Account, "+15005550006"
	return cfg
}

// sender returns a sender that also trusts the fake if the fake speaks TLS.
func sender(t testing.TB, f *fake, cfg config.HTTP) *Sender {
	s, err := New("api", cfg)
	require.NoError(t, err)
	s.http.TLSClientConfig = &tls.Config{RootCAs: f.Roots}
	t.Cleanup(func() { s.Close() })
	return s
}

const oneCause = "a status has one meaning in the configuration: the next gateway and the calls at once are not among them"

// conform runs the suite against a provider over TLS, like production: only there is a moment with a connection and nothing
// written. The suite's fields are the special parts: how a sender is made, the messages and the replies.
func conform(t *testing.T, s gatewaytest.Suite[*fake]) {
	s.Accept = (*fake).Accept
	s.Refuse = (*fake).Refuse
	s.Delivered = delivered
	s.Origins = origins
	s.Secrets = append(s.Secrets, apitest.Token, apitest.SigningSecret, "gwapisecret")
	s.Exempt = map[gatewaytest.Kind]string{gatewaytest.Elsewhere: oneCause, gatewaytest.Crowded: oneCause, gatewaytest.Paused: oneCause}
	s.Steps = []step{at("handshake", gatewaytest.AtHandshake), at("request", gatewaytest.AtRequest), at("answer", gatewaytest.AtAnswer)}
	gatewaytest.Run(t, s)
}

func overTLS(t testing.TB) *fake { return apitest.New(t, true) }

func TestConformance(t *testing.T) {
	conform(t, gatewaytest.Suite[*fake]{
		Fake:     overTLS,
		New:      func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender { return sender(t, f, section(f)) },
		Messages: []func(int) *notify.Message{gatewaytest.Email, gatewaytest.SMS, gatewaytest.Push},
		Replies: []reply{
			{Name: "opted out", Reply: fails(400, "opted_out"), Want: notify.Permanent, WantCode: "opted_out", WantGone: true, WantReason: notify.ReasonOptedOut},
			{Name: "opted out by 200", Reply: fails(200, "opted_out"), Want: notify.Permanent, WantGone: true},
			{Name: "unknown", Reply: fails(404, "unknown"), Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonRecipientGone},

			{Name: "400", Reply: fails(400, "other"), Want: notify.Permanent, WantCode: "other"},
			{Name: "a code that quotes the token", Reply: fails(400, apitest.Token), Want: notify.Permanent, WantCode: "HTTP 400"},
			{Name: "a code that quotes the request", Reply: fails(400, gatewaytest.Request), Want: notify.Permanent, WantCode: "HTTP 400"},
			{Name: "a code that quotes the message", Reply: fails(400, "gwsecretbody is refused"), Want: notify.Permanent, WantCode: "HTTP 400"},
			{Name: "410 without a code", Reply: plain(410, "", ""), Want: notify.Permanent, WantCode: "HTTP 410"},
			{Name: "no success", Reply: plain(200, "", `{"messages": [{"id": "a", "status": 4}]}`), Want: notify.Permanent, WantReason: "does not say"},
			{Name: "success nowhere", Reply: plain(200, "", `{"messages": []}`), Want: notify.Permanent, WantReason: "does not say"},
			{Name: "no payload", Message: func(m *notify.Message) { m.Email, m.SMS, m.Push = nil, nil, nil }, Want: notify.Permanent, WantReason: notify.ReasonInvalid},

			{Name: "429 seconds", Reply: failsAfter(429, "x", "7"), Want: notify.Throttled, WantAfter: 7 * time.Second},
			{Name: "429 silent", Reply: plain(429, "", "<html>"), Want: notify.Throttled, WantCode: "HTTP 429"},
			{Name: "throttled by code", Reply: failsAfter(200, "busy", "5"), Want: notify.Throttled, WantCode: "busy", WantAfter: 5 * time.Second},
			{Name: "503 with a time", Reply: plain(503, "9", ""), Want: notify.Throttled, WantAfter: 9 * time.Second},

			{Name: "503", Reply: plain(503, "", "<html>"+gatewaytest.Request), Want: notify.Transient},
			{Name: "408", Reply: plain(408, "9", ""), Want: notify.Transient},
			{Name: "425", Reply: plain(425, "", ""), Want: notify.Transient},
			{Name: "transient by code", Reply: failsAfter(400, "try_later", "5"), Want: notify.Transient, WantCode: "try_later"},

			{Name: "500", Reply: fails(500, "crash"), Want: notify.Ambiguous, WantCode: "crash"},
			{Name: "502 as HTML", Reply: plain(502, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous},
			{Name: "504 with a time", Reply: plain(504, "9", ""), Want: notify.Ambiguous},
			{Name: "599", Reply: plain(599, "", ""), Want: notify.Ambiguous},
			{Name: "ambiguous by status", Reply: plain(418, "", ""), Want: notify.Ambiguous},

			{Name: "401", Reply: fails(401, "x"), Want: notify.Unavailable, WantRemedy: "gateways.api: check token"},
			{Name: "402", Reply: fails(402, "x"), Want: notify.Unavailable, WantRemedy: "credit"},
			{Name: "403", Reply: fails(403, "x"), Want: notify.Unavailable, WantRemedy: "may do"},
			{Name: "404", Reply: plain(404, "", ""), Want: notify.Unavailable, WantRemedy: "gateways.api.url"},
			{Name: "405", Reply: plain(405, "", ""), Want: notify.Unavailable, WantRemedy: "gateways.api.method"},
			{Name: "407", Reply: plain(407, "", ""), Want: notify.Unavailable, WantRemedy: "HTTPS_PROXY"},
			{Name: "unavailable by code", Reply: fails(400, "no_credit"), Want: notify.Unavailable, WantCode: "no_credit", WantRemedy: "account"},
			{Name: "redirect", Reply: redirects(302), Want: notify.Unavailable, WantRemedy: "gateways.api.url"},
			{Name: "redirect that keeps the method", Reply: redirects(307), Want: notify.Unavailable},

			{Name: "a part refused", Kind: gatewaytest.Partial, Reply: plain(200, "", `{"messages": [{"id": "a", "status": 0}, {"status": 4}]}`), Want: notify.Permanent, WantReason: "a part"},
			{
				Name: "a part throttled", Kind: gatewaytest.Partial, Want: notify.Ambiguous, WantCode: "busy", WantReason: "a part",
				Reply: plain(200, "", `{"messages": [{"id": "a", "status": 0}, {"status": 4}], "error": {"code": "busy"}}`),
			},

			{Name: "a page", Kind: gatewaytest.Garbled, Reply: plain(200, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous, WantReason: "url"},
			{Name: "nothing", Kind: gatewaytest.Garbled, Reply: plain(204, "", ""), Want: notify.Ambiguous},
			{Name: "no id", Kind: gatewaytest.Garbled, Reply: plain(200, "", `{"messages": [{"status": 0}]}`), Want: notify.Ambiguous, WantReason: "id_path"},
			{Name: "two values", Kind: gatewaytest.Garbled, Reply: plain(200, "", `{"messages": [{"status": 0, "id": "a"}]} x`), Want: notify.Ambiguous},
			{Name: "wrong types", Kind: gatewaytest.Garbled, Reply: plain(400, "", `{"error": {"code": {"a": []}}}`), Want: notify.Permanent, WantCode: "HTTP 400"},
		},
	})
}

// textSection returns a section for a fake that answers in text.
func textSection(f *fake) config.HTTP {
	cfg := section(f)
	cfg.Success = config.HTTPSuccess{Status: config.Statuses{"2xx"}, Match: `(?m)^(ID|ERR): `, Values: []string{"ID"}}
	cfg.IDPath, cfg.IDMatch = "", `(?m)^ID: (\S+)`
	cfg.CodePath, cfg.CodeMatch = "", `(?m)^ERR: (\w+)`
	return cfg
}

// TestConformance_Text runs against a provider that answers in lines of text.
func TestConformance_Text(t *testing.T) {
	conform(t, gatewaytest.Suite[*fake]{
		Fake: func(t testing.TB) *fake {
			f := overTLS(t)
			f.Text = true
			return f
		},
		New:      func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender { return sender(t, f, textSection(f)) },
		Messages: []func(int) *notify.Message{gatewaytest.SMS},
		Replies: []reply{
			{Name: "opted out", Reply: fails(200, "opted_out"), Want: notify.Permanent, WantCode: "opted_out", WantGone: true, WantReason: notify.ReasonOptedOut},
			{Name: "unknown", Reply: fails(404, "unknown"), Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonRecipientGone},
			{Name: "an unknown code", Reply: plain(200, "", "ERR: 113, Maximum message parts exceeded for "+gatewaytest.Request), Want: notify.Permanent, WantCode: "113"},
			{Name: "a code that quotes the token", Reply: plain(200, "", "ERR: "+apitest.Token), Want: notify.Permanent, WantCode: "HTTP 200"},
			{Name: "throttled", Reply: failsAfter(200, "busy", "5"), Want: notify.Throttled, WantCode: "busy", WantAfter: 5 * time.Second},
			{Name: "transient", Reply: fails(400, "try_later"), Want: notify.Transient, WantCode: "try_later"},
			{Name: "no credit", Reply: fails(400, "no_credit"), Want: notify.Unavailable, WantCode: "no_credit", WantRemedy: "account"},
			{Name: "a page", Kind: gatewaytest.Garbled, Reply: plain(200, "", "<html>"+gatewaytest.Request), Want: notify.Ambiguous, WantReason: "url"},
			{Name: "nothing", Kind: gatewaytest.Garbled, Reply: plain(204, "", ""), Want: notify.Ambiguous},
			{Name: "no id", Kind: gatewaytest.Garbled, Reply: plain(200, "", "ID: "), Want: notify.Ambiguous, WantReason: "url"},
			{Name: "endless", Kind: gatewaytest.Garbled, Reply: plain(200, "", "ID: a"+strings.Repeat("\nID: a", maxText)), Want: notify.Ambiguous},
			{Name: "a line refused", Kind: gatewaytest.Partial, Reply: plain(200, "", "ID: a\nERR: 113"), Want: notify.Permanent, WantCode: "113"},
			{Name: "a line throttled", Kind: gatewaytest.Partial, Reply: plain(200, "", "ID: a\nERR: busy"), Want: notify.Ambiguous, WantCode: "busy", WantReason: "a part"},
		},
	})
}

func delivered(f *fake) (bodies []string) {
	for _, taken := range f.Accepted() {
		bodies = append(bodies, taken.Body)
	}
	return bodies
}

// origins returns the sender of each accepted message.
func origins(f *fake) []string {
	var senders []string
	for _, taken := range f.Accepted() {
		var body struct{ Message struct{ From string } }
		_ = json.Unmarshal([]byte(taken.Body), &body) // then it has none
		senders = append(senders, body.Message.From)
	}
	return senders
}

func fails(status int, code string) func(*fake) { return failsAfter(status, code, "") }

func failsAfter(status int, code, retry string) func(*fake) {
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
	return func(f *fake) {
		f.Reply(status, http.Header{"Location": {f.URL + "/elsewhere"}}, `{"messages": [{"id": "a", "status": 0}]}`)
	}
}

func at(name string, p gatewaytest.Point) step {
	return step{
		Name: name, Written: p > gatewaytest.AtHandshake,
		Lose: func(f *fake) { f.Lose(p) }, Hang: func(f *fake) <-chan struct{} { return f.Hang(p) },
	}
}
