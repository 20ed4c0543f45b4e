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

// step is a place in the protocol, in words for people.
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

// setback is how a transaction ended without being accepted: with a reply, or with an error in place of one.
type setback struct {
	at    step
	field string // atRcpt: what the notification calls the recipient that was refused
	reply reply
	err   error
	stale bool // a kept connection that was dead: the relay knows nothing of this message
}

// judge turns a setback into a failure. E is nil while a connection is being made.
func (r relay) judge(ctx context.Context, e *envelope, s *setback) error {
	var refused *textproto.Error
	silent := s.at == atHello && (ctx.Err() != nil || timedOut(s.err)) // EHLO refused, but no answer to HELO
	if s.err != nil && errors.As(s.err, &refused) && !silent {         // go-mail's way to say what we call a reply
		s = &setback{at: s.at, reply: reply{refused.Code, refused.Msg}}
	}
	var f *notify.Failure
	switch {
	case s.err != nil && e == nil:
		f = r.unreachable(ctx, s)
	case s.err != nil:
		f = r.lost(ctx, s)
	default:
		f = r.refused(e, s)
	}
	return f
}

// what names the thing that was refused where the cause does not.
func (s *setback) what() string {
	switch {
	case s.field != "":
		return s.field
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
	var noAuth *noAuthError
	switch {
	case s.at == atGreeting && r.needsImplicit() && !errors.Is(ctx.Err(), context.Canceled):
		unavailable(f, "the relay does not greet: port 465 is for implicit TLS", setting+".tls to implicit, or .port to the one for STARTTLS (587)")
	case s.at == atDial && timedOut(s.err) && ctx.Err() == nil:
		f.Reason = r.address + " was not reached: no answer in time"
	case s.at == atDial && ctx.Err() != nil:
		f.Reason, f.Err = r.address+" was not reached: no answer before the attempt ended", ctx.Err()
	case ctx.Err() != nil:
		f.Reason, f.Err = "the attempt ended at "+string(s.at), ctx.Err()
	case timedOut(s.err):
		f.Reason = "the relay did not answer in time at " + string(s.at)
	case errors.As(s.err, &dns) && dns.IsNotFound:
		unavailable(f, "the relay's name is not known", setting+".host to the name of a relay")
	case errors.Is(s.err, errNoTLS):
		unavailable(f, "the relay does not offer STARTTLS", setting+".tls to implicit with the port for it (465), or to none on a trusted network")
	case errors.Is(s.err, errUnsafe):
		unavailable(f, "the password is not sent, for the connection is not encrypted", setting+".tls to mandatory or implicit")
	case errors.As(s.err, &noAuth) && noAuth.onlyOAuth():
		unavailable(f, "the relay takes OAuth tokens (XOAUTH2) only, which Laudspeaker does not have",
			"create an app password or an SMTP credential at the provider, or enable SMTP AUTH with a password for "+setting+".username")
	case errors.As(s.err, &noAuth) && len(noAuth.offered) == 0 && r.mode != plain:
		unavailable(f, "the relay offers no authentication here", setting+".port to the one for submission (587), or leave out .username and .password")
	case errors.As(s.err, &noAuth):
		unavailable(f, "the relay offers no authentication that we know (PLAIN, LOGIN, SCRAM-SHA-256, CRAM-MD5)", setting+".tls to mandatory, or leave out .username and .password")
	case certificate(s.err):
		unavailable(f, "the relay's certificate is not trusted", setting+".host to the name in the certificate and .ca_file to its CA, or renew the certificate")
	case errors.As(s.err, &record):
		unavailable(f, "the relay does not speak TLS here", setting+".tls to mandatory (STARTTLS) with its port (587), or .port to the one for implicit TLS (465)")
	case s.at == atDial:
		f.Reason = r.address + " was not reached: " + why(s.err)
	case network(s.err):
	case s.at == atTLS && !garbled(s.err):
		unavailable(f, "the relay and we agree on no way to encrypt", "let the relay offer TLS 1.2 or later")
	default:
		f.Reason, f.Err = "the relay does not speak SMTP at "+string(s.at), errGarbled // the error may quote the relay
	}
	return f
}

// why is the cause of a connection that was not made, without the addresses that Go's errors repeat.
func why(err error) string {
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

// network: the connection, not what was said on it. A TLS alert comes as an OpError too.
func network(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" && op.Op != "local error"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errEndless)
}

// timedOut reports whether the relay took longer than it may.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
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
		f.Reason, f.Err = "the attempt ended at "+string(s.at)+", before the relay had the message", ctx.Err()
	case errors.Is(s.err, errNotRecorded):
		f.Reason, f.Works = errNotRecorded.Error(), true
	case timedOut(s.err):
		f.Reason = "the relay did not answer in time at " + string(s.at) + ", before it had the message"
	case errors.Is(s.err, errNoUTF8): // about this relay: another one may offer it
		f.Verdict, f.Reason, f.Next = notify.Permanent, errNoUTF8.Error(), true
	case errors.Is(s.err, errTooLarge):
		f.Verdict, f.Reason, f.Next = notify.Permanent, notify.ReasonTooLarge, true
	case !network(s.err):
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

// names says whom a refusal is about: with a single recipient, also the one at the end of the message.
func (e *envelope) names(s *setback) string {
	if s.at != atRcpt && s.at != atMail && len(e.to) == 1 {
		return e.fields[0]
	}
	return s.field
}
