package smtp

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance runs over a relay with pipelining, one without, one with STARTTLS and one with implicit TLS.
func TestConformance(t *testing.T) {
	ca, cert := authority(t)
	for name, v := range map[string]struct {
		set  func(*fake)
		conf func(*config.SMTP)
	}{
		"pipelining": {func(f *fake) { f.ext = []string{"PIPELINING", "SIZE 10000000"} }, func(*config.SMTP) {}},
		"one by one": {func(*fake) {}, func(*config.SMTP) {}},
		"STARTTLS":   {func(f *fake) { f.tls, f.ext = cert, []string{"PIPELINING"} }, func(c *config.SMTP) { c.TLS, c.CAFile = mandatory, ca }},
		"implicit":   {func(f *fake) { f.tls, f.implicit = cert, true }, func(c *config.SMTP) { c.TLS, c.CAFile = implicit, ca }},
	} {
		t.Run(name, func(t *testing.T) { gatewaytest.Run(t, suite(v.set, v.conf)) })
	}
}

func suite(set func(*fake), conf func(*config.SMTP)) gatewaytest.Suite[*fake] {
	replyAt := func(at step, reply string) func(*fake) {
		return func(f *fake) {
			f.on(at, act{reply: reply})
			if at == atGreeting || at == atHello || at == atAuth {
				f.hangUp() // so that a new connection is made, and meets this
			}
		}
	}
	type c = gatewaytest.Case[*fake]
	return gatewaytest.Suite[*fake]{
		Fake: func(t testing.TB) *fake { return newFake(t, func(f *fake) { f.auth = true }, set) },
		New: func(t testing.TB, f *fake, log *zap.Logger) gateway.Sender {
			cfg := f.config()
			cfg.Connections = 4
			conf(&cfg)
			s, err := New("mail", cfg, log)
			require.NoError(t, err)
			return s
		},
		Messages:  []func(int) *notify.Message{gatewaytest.Email},
		Accept:    (*fake).accept,
		Refuse:    replyAt(atAuth, "535 5.7.8 no {user} with {pass} or {plain}"),
		Delivered: (*fake).delivered,
		Secrets:   []string{pass, user, base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + pass))},
		Replies: []c{
			{Name: "policy", Reply: replyAt(atDot, "554 5.7.1 spam: {body}"), Want: notify.Permanent, WantCode: "554 5.7.1"},
			{Name: "sender", Reply: replyAt(atMail, "553 5.7.1 not you, {user}"), Want: notify.Permanent, WantNext: true, WantReason: "from"},
			{Name: "sender at RCPT", Reply: replyAt(atRcpt, "553 5.7.1 <no-reply@acme.example>: Sender address rejected: not owned by user {user}"), Want: notify.Permanent, WantNext: true, WantReason: "from"},
			{Name: "host at RCPT", Reply: replyAt(atRcpt, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked, {to}"), Want: notify.Unavailable, WantReason: "this host"},
			{Name: "HELO at RCPT", Reply: replyAt(atRcpt, "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname"), Want: notify.Unavailable, WantReason: "gateways.mail.helo"},
			{Name: "daily quota", Reply: replyAt(atDot, "550 5.4.5 Daily user sending limit exceeded, {user}"), Want: notify.Unavailable, WantAfter: quotaWait, WantReason: "quota"},
			{Name: "sending rate", Reply: replyAt(atDot, "454 Throttling failure: Maximum sending rate exceeded."), Want: notify.Throttled},
			{Name: "connections in use", Reply: replyAt(atMail, "432 4.3.2 Concurrent connections limit exceeded"), Want: notify.Throttled, WantFewer: true},
			{Name: "no such user", Reply: replyAt(atRcpt, "550-5.1.1 <{to}>:\r\n550 5.1.1 {local} is unknown"), Want: notify.Permanent, WantGone: true, WantCode: "550 5.1.1", WantReason: notify.ReasonRecipientGone},
			{Name: "mailbox full", Reply: replyAt(atRcpt, "552 5.2.2 {local} over quota"), Want: notify.Transient, WantCode: "552 5.2.2"},
			{Name: "busy", Reply: replyAt(atMail, "451 4.3.0 later"), Want: notify.Transient},
			{Name: "closing", Reply: replyAt(atMail, "421 4.3.2 closing"), Want: notify.Throttled, WantNext: true},
			{Name: "closing after the dot", Reply: replyAt(atDot, "421 4.3.2 closing"), Want: notify.Throttled, WantNext: true},
			{Name: "greylisted", Reply: replyAt(atRcpt, "450 4.7.1 {to} greylisted, try again in 5 minutes"), Want: notify.Throttled, WantAfter: 5 * time.Minute},
			{Name: "too many connections", Reply: replyAt(atGreeting, "421 4.7.0 too many connections"), Want: notify.Throttled, WantFewer: true},
			{Name: "must authenticate", Reply: replyAt(atMail, "530 5.7.0 log in as {user}"), Want: notify.Unavailable, WantRemedy: "gateways.mail.username"},
			{Name: "blocked", Reply: replyAt(atGreeting, "554 5.7.1 go away"), Want: notify.Unavailable},
			{Name: "login busy", Reply: replyAt(atAuth, "454 4.7.0 later"), Want: notify.Transient},
			{Name: "babble", Kind: gatewaytest.Garbled, Reply: replyAt(atMail, "hello {user}"), Want: notify.Transient},
			{Name: "wrong turn", Kind: gatewaytest.Garbled, Reply: replyAt(atData, "250 {to}"), Want: notify.Transient},
			{Name: "babble after the dot", Kind: gatewaytest.Garbled, Reply: replyAt(atDot, "<html>{body}"), Want: notify.Ambiguous},
		},
		Exempt: map[gatewaytest.Kind]string{gatewaytest.Partial: "a refused copy ends the transaction before DATA"},
		Steps:  steps(atGreeting, atHello, atAuth, atMail, atRcpt, atData, atDot),
	}
}

func steps(all ...step) []gatewaytest.Step[*fake] {
	var out []gatewaytest.Step[*fake]
	for _, at := range all {
		out = append(out, gatewaytest.Step[*fake]{
			Name: string(at), Written: at == atDot,
			Lose: func(f *fake) { f.on(at, act{drop: true}) },
			Hang: func(f *fake) <-chan struct{} {
				reached := make(chan struct{})
				f.on(at, act{silent: reached})
				return reached
			},
		})
	}
	return out
}
