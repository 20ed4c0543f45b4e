package smtp

import (
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// quotaWait is the time between two probes of a gateway whose quota is used up, if the relay names no time.
const quotaWait = 5 * time.Minute

// judgeReply returns the failure that a reply means, by its cause. E is nil while a connection is being made.
func (r relay) judgeReply(e *envelope, s *stepFailure) *notify.Failure {
	why := r.cause(e, s)
	f := &notify.Failure{Verdict: notify.Permanent}
	if s.reply.code < 500 {
		f.Verdict = notify.Transient
	}
	what := s.refusedThing()
	switch why {
	case causeHELO, causeHost, causeAccount, causeEncryption, causeQuota:
		what = r.unavailable(f, why, s)
	case causeSender:
		what = "from"
		if e.ownFrom {
			what = r.unavailable(f, why, s)
		}
		f.Next = f.Verdict == notify.Permanent
	case causeRate, causeConnections, causeGreylist:
		f.Verdict, f.After = notify.Throttled, retryAfter(s.reply.text)
		f.Crowded, f.Works = why == causeConnections, why == causeGreylist
	case causeClosing:
		f.Verdict = notify.Throttled
		f.After = retryAfter(s.reply.text)
		f.Next = true
	case causeMailbox: // the mailbox may be emptied, even after 552 5.2.2
		f.Verdict, f.Works = notify.Transient, true
	case causeRecipients, causeAbility:
		f.Next = f.Verdict == notify.Permanent
	case causeSize:
		f.Reason, f.Next = notify.ReasonTooLarge, true
	case causeSequence:
		f.Verdict = notify.Transient
	default:
		f.Works = f.Verdict == notify.Transient && s.at == atRcpt
		if code := enhanced(s.reply); code.is(2, 3) { // the recipient's own limit
			f.Reason = notify.ReasonTooLarge
		} else if f.Verdict == notify.Permanent && e.refusedField(s) == "recipient" {
			f.Gone, f.Reason = code.gone()
		}
	}
	f.Code = replyCode(s.reply)
	text := r.mask(e).clean(s.reply.text)
	f.Err = &textproto.Error{Code: s.reply.code, Msg: text}
	if f.Reason == "" {
		f.Reason = strings.TrimRight(fmt.Sprintf("the relay refused %s: %s", what, text), ": ")
	}
	return f
}

// unavailable makes f an unavailable failure with its remedy. It returns what the relay refused, which names the setting to
// change.
func (r relay) unavailable(f *notify.Failure, why cause, s *stepFailure) string {
	f.Verdict = notify.Unavailable
	setting := "gateways." + r.name
	switch why {
	case causeHELO:
		f.Remedy = "set " + setting + ".helo to the public, fully qualified name of this host"
		return setting + ".helo"
	case causeSender:
		f.Remedy = "set " + setting + ".from to a sender that the relay lets us use, or have the relay verify this sender and its domain (SPF, DKIM)"
		return setting + ".from"
	case causeQuota:
		f.After = retryAfter(s.reply.text)
		if f.After == 0 {
			f.After = quotaWait
		}
		f.Remedy = "have the provider raise the quota of " + setting + ", set its rate, or add another gateway to the route"
		if r.username == "" {
			return "us, for the quota of this host is used up"
		}
		return "us, for the quota of " + setting + ".username is used up"
	case causeEncryption:
		f.Remedy = "set " + setting + ".tls to mandatory, or to implicit with the port for it (465)"
		return setting + ".tls"
	case causeAccount:
		if s.at == atAuth {
			f.Remedy = "set " + setting + ".username and .password to what the relay accepts"
			return setting + ".username"
		}
		f.Remedy = "set " + setting + ".username and .password to an account of the relay that may send, and .tls to what it asks for"
		if r.username == "" {
			return "mail without an account, for " + setting + ".username is not set"
		}
		return setting + ".username"
	default:
		f.Remedy = "have the relay accept this host (its list of allowed hosts, the PTR record, block lists), or set " + setting + ".host, .tls and .helo to what it accepts"
		return "this host as a client of " + setting + ".host"
	}
}

// cause returns the cause of a reply. If neither codes nor text name one, the step decides.
func (r relay) cause(e *envelope, s *stepFailure) cause {
	var hide func([]string) []string
	if s.at == atData || s.at == atDot {
		hide = r.mask(e).withoutQuotes
	}
	why := classify(s.reply, hide)
	if why == causeUnknown {
		why = s.defaultCause()
	}
	if e == nil {
		return why.beforeMessage(s)
	}
	// An account in the sandbox of SES may send only to verified recipients.
	if text := strings.ToLower(s.reply.text); why == causeSender && strings.Contains(text, "identities failed") && !strings.Contains(text, strings.ToLower(strings.Trim(e.from, "<>"))) {
		return causeAccount
	}
	return why
}

// beforeMessage returns the cause of a reply before any message. Such a reply can only be about the gateway itself.
func (c cause) beforeMessage(s *stepFailure) cause {
	switch c {
	case causeHELO, causeHost, causeAccount, causeEncryption, causeQuota, causeRate, causeConnections, causeClosing:
		return c
	}
	switch {
	case s.at == atAuth && s.reply.code >= 500:
		return causeAccount
	case s.reply.code >= 500:
		return causeHost
	}
	return causeUnknown
}

// defaultCause returns the cause of a reply that names none, by its step and code.
func (s *stepFailure) defaultCause() cause {
	code := enhanced(s.reply)
	switch {
	case s.reply.code == 421, code.is(3, 2) && s.reply.code < 500:
		return causeClosing
	case s.reply.code == 503: // the two sides disagree about the state of the dialogue
		return causeSequence
	case s.reply.code < 500 && code.subject == 7 && s.reply.code != 454 && s.at == atRcpt:
		return causeGreylist
	case s.reply.code < 500 && code.subject == 7 && s.reply.code != 454:
		return causeRate
	case s.reply.code < 500:
		return causeUnknown
	case s.reply.code == 552 && s.at == atRcpt && !code.known():
		return causeMailbox
	case s.reply.code == 552 && code.subject != 7:
		return causeSize
	case s.at == atMail:
		return causeSender
	case s.at == atRcpt:
		return causeRecipient
	case s.at == atData || s.at == atDot:
		return causeContent
	}
	return causeUnknown
}

// replyCode returns the code of a reply, followed by the enhanced status code if there is one.
func replyCode(r reply) string {
	return strings.TrimSpace(strconv.Itoa(r.code) + " " + enhanced(r).String())
}
