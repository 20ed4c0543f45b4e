package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// judge turns a setback into a failure. E is nil while a connection is being made.
func (r relay) judge(ctx context.Context, e *envelope, s *setback) error {
	var refused *textproto.Error
	silent := s.at == atHello && ctx.Err() != nil              // EHLO refused, but no answer to HELO
	if s.err != nil && errors.As(s.err, &refused) && !silent { // go-mail's way to say what we call a reply
		s = &setback{at: s.at, reply: reply{refused.Code, refused.Msg}}
	}
	var f *notify.Failure
	switch {
	case s.err != nil && e == nil:
		f = r.unreachable(ctx, s)
	case s.err != nil:
		f = r.lost(ctx, s)
	case e == nil:
		f = r.unwelcome(s)
	default:
		f = r.refused(e, s)
	}
	if s.err == nil {
		code := enhanced(s.reply)
		f.Code = strings.TrimSpace(strconv.Itoa(s.reply.code) + " " + code.String())
		text := r.mask(e).clean(s.reply.text)
		f.Err = &textproto.Error{Code: s.reply.code, Msg: text}
		if f.Reason == "" {
			f.Reason = strings.TrimRight(fmt.Sprintf("the relay refused %s: %s", s.what(), text), ": ")
		}
	}
	return f
}

func (s *setback) what() string {
	switch {
	case s.field != "":
		return s.field
	case s.at == atMail:
		return "the sender"
	case s.at == atDot || s.at == atData:
		return "the message"
	}
	return "us at " + string(s.at)
}

// unreachable: there is no connection, and no reply that says why.
func (r relay) unreachable(ctx context.Context, s *setback) *notify.Failure {
	f := &notify.Failure{Verdict: notify.Transient, Reason: "the relay cannot be reached: lost at " + string(s.at), Err: s.err}
	setting := "set gateways." + r.name
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case ctx.Err() != nil:
		f.Reason, f.Err = "time ran out at "+string(s.at), ctx.Err()
	case errors.As(s.err, &dns) && dns.IsNotFound:
		unavailable(f, "the relay's name is not known", setting+".host to the name of a relay")
	case errors.Is(s.err, errNoTLS):
		unavailable(f, "the relay does not offer STARTTLS", setting+".tls to implicit with the port for it (465), or to none on a trusted network")
	case errors.Is(s.err, errUnsafe):
		unavailable(f, "the password is not sent, for the connection is not encrypted", setting+".tls to mandatory or implicit")
	case errors.Is(s.err, errNoAuth):
		unavailable(f, "the relay offers no authentication that we know (PLAIN, LOGIN, SCRAM-SHA-256, CRAM-MD5)", setting+".tls to mandatory, or leave out username and password")
	case certificate(s.err):
		unavailable(f, "the relay's certificate is not trusted", setting+".host to the name in the certificate and .ca_file to its CA, or renew the certificate")
	case errors.As(s.err, &record):
		unavailable(f, "the relay does not speak TLS here", setting+".tls to mandatory (STARTTLS), or the port to the one for implicit TLS (465)")
	case s.at == atTLS && errors.As(s.err, &alert):
		unavailable(f, "the relay and we agree on no way to encrypt", "let the relay offer TLS 1.2 or later")
	case garbled(s.err):
		f.Reason, f.Err = "the relay does not speak SMTP at "+string(s.at), errGarbled
	}
	return f
}

func unavailable(f *notify.Failure, reason, remedy string) {
	f.Verdict, f.Reason, f.Remedy = notify.Unavailable, reason, remedy
}

func certificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// garbled: such an error quotes the relay's line, so it is never passed on.
func garbled(err error) bool {
	var protocol textproto.ProtocolError
	return errors.As(err, &protocol) || errors.Is(err, errGarbled)
}

// lost: the connection broke, fell silent or babbled in the middle of a transaction.
func (r relay) lost(ctx context.Context, s *setback) *notify.Failure {
	f := &notify.Failure{Verdict: notify.Transient, Reason: "the connection was lost at " + string(s.at) + ", before the relay had the message", Err: s.err}
	switch {
	case ctx.Err() != nil:
		f.Reason, f.Err = "time ran out at "+string(s.at)+", before the relay had the message", ctx.Err()
	case garbled(s.err):
		f.Reason, f.Err = "the relay's answer at "+string(s.at)+" is no SMTP reply", errGarbled
	}
	if s.at == atDot {
		f.Verdict, f.Reason = notify.Ambiguous, "the relay has the message, its answer was lost"
	}
	return f
}

// unwelcome: the relay refuses us before any message.
func (r relay) unwelcome(s *setback) *notify.Failure {
	code, f := enhanced(s.reply), &notify.Failure{Verdict: notify.Transient}
	switch {
	case s.at == atAuth && (s.reply.code >= 500 || s.reply.code == 432):
		f.Verdict, f.Remedy = notify.Unavailable, "set gateways."+r.name+".username and .password to what the relay accepts"
	case s.reply.code >= 500:
		f.Verdict, f.Remedy = notify.Unavailable, "have the relay accept this host, or set gateways."+r.name+".host, .tls and .helo to what it accepts"
	case (s.at == atGreeting || s.at == atHello) && slows(s.reply, code):
		f.Verdict, f.After = notify.Throttled, after(s.reply.text)
	}
	return f
}

// refused: the relay's answer to this message.
func (r relay) refused(e *envelope, s *setback) *notify.Failure {
	code, f := enhanced(s.reply), &notify.Failure{Verdict: notify.Permanent}
	switch {
	case account(s.reply, code):
		f.Verdict, f.Remedy = notify.Unavailable, "set gateways."+r.name+".username and .password to an account of the relay that may send, and .tls to what it asks for"
	case code.is(2, 2) || s.reply.code == 552 && s.at == atRcpt && !code.known():
		f.Verdict = notify.Transient // a full mailbox, which may be emptied, even as 552 5.2.2
	case s.reply.code < 500 && slows(s.reply, code):
		f.Verdict, f.After = notify.Throttled, after(s.reply.text)
	case s.reply.code < 500:
		f.Verdict = notify.Transient
	case code.is(3, 4) || code.is(2, 3) || s.reply.code == 552:
		f.Reason = notify.ReasonTooLarge
	case s.at == atMail && e.ownFrom && !code.is(6, 7):
		f.Verdict, f.Remedy = notify.Unavailable, "set gateways."+r.name+".from to a sender that the relay lets us use"
	case e.names(s) == "recipient":
		f.Gone, f.Reason = code.gone()
	}
	return f
}

// names says whom a refusal is about: with a single recipient, also the one at the end of the message.
func (e *envelope) names(s *setback) string {
	if s.at != atRcpt && s.at != atMail && len(e.to) == 1 {
		return e.fields[0]
	}
	return s.field
}

// account: the relay refuses the account, whatever the message. It may say so at any step.
func account(r reply, code status) bool {
	return slices.Contains([]int{530, 534, 535, 538}, r.code) ||
		r.code >= 500 && (code.is(7, 8) || code.is(7, 9) || code.is(7, 11) || code.is(7, 13))
}

var rate = regexp.MustCompile(`(?i)\brate\b|too many (messages|connections|mails|emails|requests)|throttl|slow down|greylist`)

// slows: the relay asks for fewer or later messages. 454 is a fault of its own, whatever follows.
func slows(r reply, code status) bool {
	return r.code != 454 && (code.subject == 7 || rate.MatchString(r.text))
}

var wait = regexp.MustCompile(`(?i)\b(?:in|after|for|wait) (\d{1,4}) ?(s|m)(?:ec|in|econd|inute)?s?\b`)

// after finds how long the relay asks to wait; there is no other field for it than its text.
func after(text string) time.Duration {
	m := wait.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	if unit := strings.ToLower(m[2]); unit == "m" {
		n *= 60
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}

// status is an enhanced status code (RFC 3463) without its class, which the reply's code gives more reliably.
type status struct{ class, subject, detail int }

var leading = regexp.MustCompile(`^([245])\.(\d{1,3})\.(\d{1,3})(?:\s|$)`)

func enhanced(r reply) status {
	m := leading.FindStringSubmatch(r.text)
	if m == nil {
		return status{}
	}
	class, _ := strconv.Atoi(m[1])
	subject, _ := strconv.Atoi(m[2])
	detail, _ := strconv.Atoi(m[3])
	return status{class, subject, detail}
}

func (s status) known() bool { return s.class != 0 }
func (s status) is(subject, detail int) bool {
	return s.known() && s.subject == subject && s.detail == detail
}

func (s status) String() string {
	if !s.known() {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", s.class, s.subject, s.detail)
}

// gone: no such user, or no such domain; 5.1.10 is a domain that takes no mail (RFC 7505).
func (s status) gone() (bool, string) {
	switch {
	case s.is(1, 1) || s.is(1, 6):
		return true, notify.ReasonRecipientGone
	case s.is(1, 2) || s.is(1, 3) || s.is(1, 10):
		return true, notify.ReasonBadRecipient
	}
	return false, ""
}
