package smtp

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestVerdict_OfReplies: replies of relays, with their verdicts. The field is that of the refused recipient.
func TestVerdict_OfReplies(t *testing.T) {
	const from, password = "gateways.mail.from", "gateways.mail.username"
	for _, c := range []struct {
		at      step
		field   string
		say     string // the code, a space, the text
		verdict notify.Verdict
		code    string
		reason  string // exact
		gone    bool
		after   time.Duration
		remedy  string // contained
	}{
		{atRcpt, "recipient", "550 5.1.1 no such user", notify.Permanent, "550 5.1.1", notify.ReasonRecipientGone, true, 0, ""},
		{atRcpt, "recipient", "551 5.1.6 moved", notify.Permanent, "551 5.1.6", notify.ReasonRecipientGone, true, 0, ""},
		{atRcpt, "recipient", "550 5.1.2 bad domain", notify.Permanent, "550 5.1.2", notify.ReasonBadRecipient, true, 0, ""},
		{atRcpt, "recipient", "553 5.1.3 bad syntax", notify.Permanent, "553 5.1.3", notify.ReasonBadRecipient, true, 0, ""},
		{atRcpt, "recipient", "556 5.1.10 null MX", notify.Permanent, "556 5.1.10", notify.ReasonBadRecipient, true, 0, ""},
		{atRcpt, "recipient", "550 blocked", notify.Permanent, "550", "the relay refused recipient: blocked", false, 0, ""},
		{atRcpt, "recipient", "550 5.7.1 policy", notify.Permanent, "550 5.7.1", "the relay refused recipient: policy", false, 0, ""},
		{atRcpt, "recipient", "550 5.7.1", notify.Permanent, "550 5.7.1", "the relay refused recipient", false, 0, ""},
		{atRcpt, "recipient", "550 15.1.1 odd", notify.Permanent, "550", "the relay refused recipient: 15.1.1 odd", false, 0, ""},
		{atRcpt, "cc[1]", "550 5.1.1 no such user", notify.Permanent, "550 5.1.1", "the relay refused cc[1]: no such user", false, 0, ""},
		{atRcpt, "bcc[0]", "450 4.2.0 busy", notify.Transient, "450 4.2.0", "the relay refused bcc[0]: busy", false, 0, ""},
		{atRcpt, "recipient", "552 5.2.2 full", notify.Transient, "552 5.2.2", "the relay refused recipient: full", false, 0, ""},
		{atRcpt, "recipient", "552 full", notify.Transient, "552", "the relay refused recipient: full", false, 0, ""},
		{atRcpt, "recipient", "452 4.2.2 full, a high rate", notify.Transient, "452 4.2.2", "the relay refused recipient: full, a high rate", false, 0, ""},
		{atRcpt, "recipient", "450 4.7.1 greylisted for 300 seconds", notify.Throttled, "450 4.7.1", "the relay refused recipient: greylisted for 300 seconds", false, 5 * time.Minute, ""},
		{atRcpt, "recipient", "454 4.7.1 relay access denied", notify.Unavailable, "454 4.7.1", "the relay refused gateways.mail.username: relay access denied", false, 0, password},
		{atRcpt, "recipient", "503 5.5.1 out of order", notify.Transient, "503 5.5.1", "the relay refused recipient: out of order", false, 0, ""},
		{atMail, "", "451 Too many messages, slow down", notify.Throttled, "451", "the relay refused us at MAIL: Too many messages, slow down", false, 0, ""},
		{atMail, "", "452 4.3.1 disk full", notify.Transient, "452 4.3.1", "the relay refused us at MAIL: disk full", false, 0, ""},
		{atMail, "", "421 4.3.2 closing", notify.Throttled, "421 4.3.2", "the relay refused us at MAIL: closing", false, 0, ""},
		{atMail, "", "530 5.7.0 authenticate", notify.Unavailable, "530 5.7.0", "the relay refused gateways.mail.username: authenticate", false, 0, password},
		{atMail, "", "503 AUTH first", notify.Unavailable, "503", "the relay refused gateways.mail.username: AUTH first", false, 0, password},
		{atMail, "", "552 5.3.4 too big", notify.Permanent, "552 5.3.4", notify.ReasonTooLarge, false, 0, ""},
		{atMail, "", "550 5.7.1 not yours", notify.Permanent, "550 5.7.1", "the relay refused from: not yours", false, 0, ""},
		{atData, "", "554 5.5.1 no", notify.Permanent, "554 5.5.1", "the relay refused the message: no", false, 0, ""},
		{atDot, "", "554 5.7.1 spam", notify.Permanent, "554 5.7.1", "the relay refused the message: spam", false, 0, ""},
		{atDot, "", "552 too big", notify.Permanent, "552", notify.ReasonTooLarge, false, 0, ""},
		{atDot, "", "550 5.2.3 too big for the box", notify.Permanent, "550 5.2.3", notify.ReasonTooLarge, false, 0, ""},
		{atDot, "", "550 5.1.1 no such user after all", notify.Permanent, "550 5.1.1", notify.ReasonRecipientGone, true, 0, ""},
		{atDot, "", "535 5.7.13 account disabled", notify.Unavailable, "535 5.7.13", "the relay refused gateways.mail.username: account disabled", false, 0, password},
		{atDot, "", "451 4.7.0 wait 90 min", notify.Throttled, "451 4.7.0", "the relay refused the message: wait 90 min", false, 90 * time.Minute, ""},
	} {
		t.Run(string(c.at)+" "+c.say, func(t *testing.T) {
			e := &envelope{message: message("ada@example.com"), to: []string{"<ada@example.com>"}, fields: []string{"recipient"}}
			f := judged(e, &stepFailure{at: c.at, field: c.field, reply: said(c.say)})
			require.Equal(t, c.verdict, f.Verdict)
			require.Equal(t, []any{c.code, c.reason, c.gone, c.after}, []any{f.Code, f.Reason, f.Gone, f.After})
			if c.remedy == "" {
				require.Empty(t, f.Remedy)
			}
			require.Contains(t, f.Remedy, c.remedy)
		})
	}
	// A refusal of the gateway's own sender is not a fault of the message.
	own := &envelope{message: message("ada@example.com"), ownFrom: true}
	f := judged(own, &stepFailure{at: atMail, reply: said("550 5.7.1 not yours")})
	require.Equal(t, notify.Unavailable, f.Verdict)
	require.Contains(t, f.Remedy, from)
	// With copies, a refusal at the end names no recipient.
	many := &envelope{message: message("ada@example.com"), to: []string{"<a@b.c>", "<d@e.f>"}, fields: []string{"recipient", "cc[0]"}}
	require.False(t, judged(many, &stepFailure{at: atDot, reply: said("550 5.1.1 no such user")}).Gone)
}

// TestVerdict_BeforeMessage: replies before any message.
func TestVerdict_BeforeMessage(t *testing.T) {
	for _, c := range []struct {
		at      step
		say     string
		verdict notify.Verdict
		remedy  string
	}{
		{atGreeting, "554 5.7.1 no access", notify.Unavailable, "accept this host"},
		{atGreeting, "421 4.3.2 not now", notify.Throttled, ""},
		{atGreeting, "421 4.7.0 too many connections", notify.Throttled, ""},
		{atHello, "550 5.7.1 who are you", notify.Unavailable, ".helo"},
		{atTLS, "454 4.7.0 TLS not available", notify.Transient, ""},
		{atTLS, "501 5.5.4 no", notify.Unavailable, ".tls"},
		{atAuth, "535 5.7.8 wrong", notify.Unavailable, ".password"},
		{atAuth, "534 5.7.9 too weak", notify.Unavailable, ".password"},
		{atAuth, "432 4.7.12 change it", notify.Unavailable, ".password"},
		{atAuth, "454 4.7.0 later", notify.Transient, ""},
		{atAuth, "421 4.7.0 later", notify.Throttled, ""},
		{atAuth, "454 4.7.0 Too many login attempts, please try again later", notify.Throttled, ""},
		{atHello, "501 Syntactically invalid HELO argument(s)", notify.Unavailable, ".helo to the public"},
		{atGreeting, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", notify.Unavailable, "block lists"},
		{atAuth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant", notify.Unavailable, ".username"},
	} {
		t.Run(string(c.at)+" "+c.say, func(t *testing.T) {
			f := judged(nil, &stepFailure{at: c.at, reply: said(c.say)})
			require.Equal(t, c.verdict, f.Verdict)
			require.Contains(t, f.Remedy, c.remedy)
		})
	}
}

func judged(e *envelope, s *stepFailure) *notify.Failure {
	return notify.Judge(relay{name: "mail", username: user, password: pass}.judge(context.Background(), e, s))
}

func said(line string) reply {
	code, text := 0, ""
	for i, r := range line {
		if r == ' ' {
			text = line[i+1:]
			break
		}
		code = code*10 + int(r-'0')
	}
	return reply{code, text}
}

func message(to string, change ...func(*notify.Email)) *notify.Message {
	m := &notify.Message{
		Notification: notify.Notification{ID: notify.NewID(), Channel: notify.ChannelEmail, Recipient: to},
		Email:        &notify.Email{From: "Acme <no-reply@acme.example>", Subject: "s", Text: "t"},
	}
	for _, c := range change {
		c(m.Email)
	}
	return m
}

// TestMask_HidesPrivateWords: quotes in replies, and the masked text.
func TestMask_HidesPrivateWords(t *testing.T) {
	m := message(`"Ada Lovelace" <ada.l@example.com>`, func(e *notify.Email) {
		e.Subject = "Your code"
		e.Text = "It is 493-201.\nSee https://acme.example/r?t=99 today or tomorrow"
		e.CC = []string{"Grace <g@example.com>"}
		e.Headers = map[string]string{"X-Order": "A-1000234"}
	})
	e := &envelope{message: m, to: []string{"<ada.l@example.com>", `<"o d"@example.com>`, "<g@example.com>"}}
	r := relay{username: user, password: pass}
	for say, want := range map[string]string{
		"5.1.1 <ada.l@example.com>: unknown":                   "*** unknown",
		"5.1.1 User ADA.L unknown":                             "User *** unknown",
		"see http://spf.example/why?id=ada.l%40example.com ok": "see *** ok",
		"Dear Lovelace, no":                                    "Dear *** no",
		"bad code 493-201 in mail":                             "bad code *** in mail",
		"listed: https://acme.example/r?t=99.":                 "listed: ***",
		"order A-1000234?":                                     "order ***",
		`you wrote "today or tomorrow" 🚀`:                      `you wrote *** *** *** 🚀`,
		"auth " + pass + " failed for " + user:                 "auth *** failed for ***",
		"5.7.1 line one\n5.7.1 line\ttwo\x00":                  "line one line two",
		"see https://relay.example/policy#5":                   "see https://relay.example/policy#5",
	} {
		require.Equal(t, want, r.mask(e).clean(say), say)
	}
	long := r.mask(nil).clean(string(make([]byte, 10)) + "ä🚀" + string([]rune{0x1f680}) + strings.Repeat("🚀", 200))
	require.LessOrEqual(t, len(long), 300)
	require.True(t, utf8.ValidString(long))
}
