package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"syscall"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// step is a step of the protocol, in words for people.
type step string

const (
	atDial     step = "connecting"
	atGreeting step = "the greeting"
	atHello    step = "EHLO"
	atTLS      step = "TLS"
	atAuth     step = "AUTH"
	atReset    step = "RSET"
	atMail     step = "MAIL"
	atRcpt     step = "RCPT"
	atData     step = "DATA"
	atContent  step = "the message" // being written
	atDot      step = "the end of the message"
)

// stepFailure is the step at which a transaction ended without success, with a reply or with an error.
type stepFailure struct {
	at    step
	field string // atRcpt: name of the refused recipient in the notification
	reply reply
	err   error
	stale bool // a pooled connection was dead: the relay knows nothing of this message
}

// judge returns the failure of a step. E is nil while a connection is being made.
func (r relay) judge(ctx context.Context, e *envelope, s *stepFailure) error {
	var refused *textproto.Error
	silent := s.at == atHello && (ctx.Err() != nil || timedOut(s.err)) // EHLO refused, but no answer to HELO
	if s.err != nil && errors.As(s.err, &refused) && !silent {         // go-mail's form of a reply
		s = &stepFailure{at: s.at, reply: reply{refused.Code, refused.Msg}}
	}
	var f *notify.Failure
	switch {
	case s.err != nil && e == nil:
		f = r.noConnection(ctx, s)
	case s.err != nil:
		f = r.connectionLost(ctx, s)
	default:
		f = r.judgeReply(e, s)
	}
	return f
}

// refusedThing names what the relay refused, for causes that do not name it.
func (s *stepFailure) refusedThing() string {
	switch {
	case s.field != "":
		return s.field
	case s.at == atDot || s.at == atData:
		return "the message"
	}
	return "us at " + string(s.at)
}

// noConnection returns the failure of a connection that was not made and got no reply that tells why.
func (r relay) noConnection(ctx context.Context, s *stepFailure) *notify.Failure {
	f := &notify.Failure{Verdict: notify.Transient, Reason: "the relay cannot be reached: lost at " + string(s.at), Err: s.err}
	setting := "set gateways." + r.name
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var noAuth *noAuthError
	switch {
	case s.at == atGreeting && r.needsImplicit() && !errors.Is(ctx.Err(), context.Canceled):
		setUnavailable(f, "the relay does not greet: port 465 is for implicit TLS", setting+".tls to implicit, or .port to the one for STARTTLS (587)")
	case s.at == atDial && timedOut(s.err) && ctx.Err() == nil:
		f.Reason = r.address + " was not reached: no answer in time"
	case s.at == atDial && ctx.Err() != nil:
		f.Reason, f.Err = r.address+" was not reached: no answer before the attempt ended", ctx.Err()
	case ctx.Err() != nil:
		f.Reason, f.Err = "the attempt ended at "+string(s.at), ctx.Err()
	case timedOut(s.err):
		f.Reason = "the relay did not answer in time at " + string(s.at)
	case errors.As(s.err, &dns) && dns.IsNotFound:
		setUnavailable(f, "the relay's name is not known", setting+".host to the name of a relay")
	case errors.Is(s.err, errNoTLS):
		setUnavailable(f, "the relay does not offer STARTTLS", setting+".tls to implicit with the port for it (465), or to none on a trusted network")
	case errors.Is(s.err, errUnsafe):
		setUnavailable(f, "the password is not sent, for the connection is not encrypted", setting+".tls to mandatory or implicit")
	case errors.As(s.err, &noAuth) && noAuth.onlyOAuth():
		setUnavailable(f, "the relay takes OAuth tokens (XOAUTH2) only, which Laudspeaker does not have",
			"create an app password or an SMTP credential at the provider, or enable SMTP AUTH with a password for "+setting+".username")
	case errors.As(s.err, &noAuth) && len(noAuth.offered) == 0 && r.mode != plain:
		setUnavailable(f, "the relay offers no authentication here", setting+".port to the one for submission (587), or leave out .username and .password")
	case errors.As(s.err, &noAuth):
		setUnavailable(f, "the relay offers no authentication that we know (PLAIN, LOGIN, SCRAM-SHA-256, CRAM-MD5)", setting+".tls to mandatory, or leave out .username and .password")
	case isCertificateError(s.err):
		setUnavailable(f, "the relay's certificate is not trusted", setting+".host to the name in the certificate and .ca_file to its CA, or renew the certificate")
	case errors.As(s.err, &record):
		setUnavailable(f, "the relay does not speak TLS here", setting+".tls to mandatory (STARTTLS) with its port (587), or .port to the one for implicit TLS (465)")
	case s.at == atDial:
		f.Reason = r.address + " was not reached: " + dialErrorText(s.err)
	case isNetworkError(s.err):
	case s.at == atTLS && !isGarbled(s.err):
		setUnavailable(f, "the relay and we agree on no way to encrypt", "let the relay offer TLS 1.2 or later")
	default:
		f.Reason, f.Err = "the relay does not speak SMTP at "+string(s.at), errGarbled // the error may quote the relay
	}
	return f
}

// dialErrorText returns the cause of a failed connection without the addresses that Go's errors repeat.
func dialErrorText(err error) string {
	var number syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &dns):
		return "its name could not be looked up"
	}
	return "the connection failed"
}

func setUnavailable(f *notify.Failure, reason, remedy string) {
	f.Verdict = notify.Unavailable
	f.Reason = reason
	f.Remedy = remedy
}

func isCertificateError(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// isNetworkError reports whether the connection failed, and not the dialogue. A TLS alert is an OpError too.
func isNetworkError(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" && op.Op != "local error"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errEndless)
}

// timedOut reports whether a timeout or deadline has passed.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isGarbled reports whether the relay's reply is no SMTP reply. Such an error quotes the reply, so it is never passed on.
func isGarbled(err error) bool {
	var protocol textproto.ProtocolError
	return errors.As(err, &protocol) || errors.Is(err, errGarbled)
}

// connectionLost returns the failure of a transaction whose connection broke, fell silent or sent no valid reply.
func (r relay) connectionLost(ctx context.Context, s *stepFailure) *notify.Failure {
	f := &notify.Failure{Verdict: notify.Transient, Reason: "the connection was lost at " + string(s.at) + ", before the relay had the message", Err: s.err}
	switch {
	case ctx.Err() != nil:
		f.Reason, f.Err = "the attempt ended at "+string(s.at)+", before the relay had the message", ctx.Err()
	case errors.Is(s.err, errNotRecorded):
		f.Reason, f.Works = errNotRecorded.Error(), true
	case timedOut(s.err):
		f.Reason = "the relay did not answer in time at " + string(s.at) + ", before it had the message"
	case errors.Is(s.err, errNoUTF8): // about this relay: another relay may offer the extension
		f.Verdict = notify.Permanent
		f.Reason = errNoUTF8.Error()
		f.Next = true
	case errors.Is(s.err, errTooLarge):
		f.Verdict = notify.Permanent
		f.Reason = notify.ReasonTooLarge
		f.Next = true
	case !isNetworkError(s.err):
		f.Reason, f.Err = "the relay's answer at "+string(s.at)+" is no SMTP reply", errGarbled
	}
	if s.at == atDot {
		f.Verdict, f.Reason = notify.Ambiguous, "the relay has the message, its answer was lost"
		if timedOut(s.err) {
			f.Reason = "the relay has the message, and did not answer in time"
		}
	}
	return f
}

// refusedField returns the field of the refused recipient. With a single recipient, a refusal at the end of the message is also
// about it.
func (e *envelope) refusedField(s *stepFailure) string {
	if s.at != atRcpt && s.at != atMail && len(e.to) == 1 {
		return e.fields[0]
	}
	return s.field
}
