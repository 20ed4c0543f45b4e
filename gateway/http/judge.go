package http

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// statuses are the default verdicts, for answers that no rule of the configuration matches. Missing statuses are permanent
// (4xx), ambiguous (5xx: nobody knows whether the message was accepted before the server failed) or unavailable (3xx). The
// remedies follow "gateways.NAME".
var statuses = map[int]notify.Failure{
	http.StatusUnauthorized:       {Verdict: notify.Unavailable, Reason: "the API does not know the credentials", Remedy: ": check token, oauth2, username and password, secret and signing"},
	http.StatusPaymentRequired:    {Verdict: notify.Unavailable, Reason: "the API wants payment", Remedy: ": see the credit of the account at the provider"},
	http.StatusForbidden:          {Verdict: notify.Unavailable, Reason: "the API denies access", Remedy: ": check what these credentials may do at the provider"},
	http.StatusNotFound:           {Verdict: notify.Unavailable, Reason: "there is no API at this address", Remedy: ".url: check it against the provider's documents"},
	http.StatusMethodNotAllowed:   {Verdict: notify.Unavailable, Reason: "the API does not take this method", Remedy: ".method and url: check them against the provider's documents"},
	http.StatusProxyAuthRequired:  {Verdict: notify.Unavailable, Reason: "the HTTP proxy wants credentials", Remedy: ": set them in HTTPS_PROXY"},
	http.StatusRequestTimeout:     {Verdict: notify.Transient, Reason: "the API did not get the whole request in time"},
	http.StatusTooEarly:           {Verdict: notify.Transient, Reason: "the API refused the request for now"},
	http.StatusTooManyRequests:    {Verdict: notify.Throttled, Reason: "too many requests"},
	http.StatusServiceUnavailable: {Verdict: notify.Transient, Reason: "the API is unavailable"},
}

// verdicts are the verdicts of the configuration's rules.
var verdicts = map[string]notify.Failure{
	"permanent":   {Verdict: notify.Permanent, Reason: "the API refused the message"},
	"gone":        {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonRecipientGone},
	"transient":   {Verdict: notify.Transient, Reason: "the API failed for now"},
	"throttled":   {Verdict: notify.Throttled, Reason: "the API asks to slow down"},
	"unavailable": {Verdict: notify.Unavailable, Reason: "the API refuses this account", Remedy: ": see the account at the provider and what this code means there"},
	"ambiguous":   {Verdict: notify.Ambiguous, Reason: "the API failed; it may have taken the message"},
}

// judge returns the provider's ID, or the failure that the response to m means. A matching rule has precedence.
func (s *Sender) judge(x gateway.Exchange, m *notify.Message, now time.Time) (id string, f *notify.Failure) {
	if x.Status == 0 {
		return "", x.Lost()
	}
	a := readExchange(x)
	f, code := s.rule(x, a, now)
	if f != nil && s.cfg.Success.Status.Has(x.Status) && retriesWhole(f) && s.accepted(a) == acceptedPart {
		f = &notify.Failure{Verdict: notify.Ambiguous, Reason: "the API accepted a part of the message and refused the rest"}
	}
	if f == nil {
		id, f = s.judgeUnmatched(x, a, now)
	}
	return id, s.withCode(f, x, code, m)
}

// retriesWhole reports whether the failure says that the provider has no part of the message, so that it is sent again.
func retriesWhole(f *notify.Failure) bool {
	return f.Verdict == notify.Transient || f.Verdict == notify.Throttled || f.Verdict == notify.Unavailable
}

// judgeCheck is judge for the response to [Sender.Check]: any 2xx is a success.
func (s *Sender) judgeCheck(x gateway.Exchange, now time.Time) *notify.Failure {
	if x.Status == 0 {
		return x.Lost()
	}
	f, code := s.rule(x, readExchange(x), now)
	if f == nil && !x.OK() {
		f = s.status(x, now)
	}
	return s.withCode(f, x, code, nil)
}

// rule returns the verdict of the first matching rule, or nil, and the provider's code: the code that matches, or else the
// first code that is not a value of success.
func (s *Sender) rule(x gateway.Exchange, a answer, now time.Time) (f *notify.Failure, code string) {
	codes := a.texts(s.cfg.CodePath, s.patterns.code)
	for i, r := range s.cfg.Rules {
		if code, fits := s.matches(i, x, a, codes); fits {
			return ruleFailure(r, gateway.RetryAfter(x.Header, now)), code
		}
	}
	return nil, s.refusalCode(codes)
}

func ruleFailure(r config.HTTPRule, wait time.Duration) *notify.Failure {
	f := verdicts[r.Verdict]
	if r.Reason != "" {
		f.Reason = r.Reason
	}
	if f.Verdict == notify.Throttled {
		f.After = wait
	}
	return &f
}

// matches reports whether rule i matches, and returns the code by which it does.
func (s *Sender) matches(i int, x gateway.Exchange, a answer, codes []string) (code string, fits bool) {
	r, pattern := s.cfg.Rules[i], s.patterns.rules[i]
	if len(r.Status) > 0 && !r.Status.Has(x.Status) || pattern != nil && !a.hasMatch(pattern) {
		return "", false
	}
	if len(r.Code) == 0 {
		return s.refusalCode(codes), true
	}
	at := slices.IndexFunc(codes, func(c string) bool { return c != "" && slices.Contains(r.Code, c) })
	if at < 0 {
		return "", false
	}
	return codes[at], true
}

// refusalCode returns the first code that is not a value of success, or else the first code.
func (s *Sender) refusalCode(codes []string) string {
	refusals := slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return slices.Contains(s.cfg.Success.Values, c) })
	return cmp.Or(cmp.Or(refusals...), cmp.Or(codes...))
}

// judgeUnmatched judges a response that no rule matches.
func (s *Sender) judgeUnmatched(x gateway.Exchange, a answer, now time.Time) (id string, f *notify.Failure) {
	accepting := s.cfg.Success.Status.Has(x.Status)
	switch {
	case accepting && !s.readable(a):
		return "", unprovenSuccess("the answer is not the API's; check url, and success and id_path or id_match, if this goes on")
	case accepting:
		return s.judgeBody(a)
	case x.OK():
		return "", notAccepted()
	case x.Status == http.StatusNotFound && s.templates.pathOfMessage:
		return "", &notify.Failure{Verdict: notify.Permanent, Reason: "the API does not know the address that this message makes"}
	}
	return "", s.status(x, now)
}

// judgeBody judges the readable body of a response with a status of success.
func (s *Sender) judgeBody(a answer) (id string, f *notify.Failure) {
	switch accepted := s.accepted(a); {
	case accepted == acceptedPart:
		return "", &notify.Failure{Verdict: notify.Permanent, Reason: "the API accepted only a part of the message"}
	case accepted == acceptedNothing && s.patterns.namesRefusals() && cmp.Or(a.texts("", s.patterns.code)...) == "":
		return "", unprovenSuccess("the answer matches neither success nor a refusal that the configuration knows; check url and the patterns if this goes on")
	case accepted == acceptedNothing:
		return "", notAccepted()
	}
	id = strings.TrimSpace(notify.Clip(cmp.Or(a.texts(s.cfg.IDPath, s.patterns.id)...), maxID))
	if id == "" && (s.cfg.IDPath != "" || s.patterns.id != nil) {
		return "", unprovenSuccess("the answer names no message where id_path or id_match looks; check url and that setting if this goes on")
	}
	return id, nil
}

func notAccepted() *notify.Failure {
	return &notify.Failure{Verdict: notify.Permanent, Reason: "the answer does not say that the message was taken"}
}

// unprovenSuccess returns the failure of a success that does not provably come from the provider but perhaps from a proxy, or that was
// cut short.
func unprovenSuccess(why string) *notify.Failure {
	return &notify.Failure{Verdict: notify.Ambiguous, Reason: why}
}

// status returns the default failure of a status.
func (s *Sender) status(x gateway.Exchange, now time.Time) *notify.Failure {
	f, known := statuses[x.Status]
	switch {
	case known:
	case x.Status < 400:
		f = notify.Failure{Verdict: notify.Unavailable, Reason: "the API answers with a redirect, which is never followed", Remedy: ".url: set the address where the API is now"}
	case x.Status < 500:
		f = verdicts["permanent"]
	default:
		f = verdicts["ambiguous"]
	}
	if wait := gateway.RetryAfter(x.Header, now); wait > 0 && (f.Verdict == notify.Throttled || x.Status == http.StatusServiceUnavailable) {
		f.Verdict, f.After = notify.Throttled, wait
	}
	return &f
}

// withCode completes a failure with its code and the gateway's name. A provider's code that may be more than a code, such as a
// number or a token that it quotes, is left out.
func (s *Sender) withCode(f *notify.Failure, x gateway.Exchange, code string, m *notify.Message) *notify.Failure {
	if f == nil {
		return nil
	}
	if f.Remedy != "" {
		f.Remedy = "gateways." + s.name + f.Remedy
	}
	f.Code = "HTTP " + strconv.Itoa(x.Status)
	if s.isSafeCode(code, m) {
		f.Code = code
	}
	return f
}

var codeShape = regexp.MustCompile(`^(-?[0-9]{1,6}|[A-Za-z][A-Za-z0-9_.-]{0,63})$`)

func (s *Sender) isSafeCode(code string, m *notify.Message) bool {
	if slices.ContainsFunc(s.cfg.Rules, func(r config.HTTPRule) bool { return slices.Contains(r.Code, code) }) {
		return true
	}
	private := []string{string(s.cfg.Secret), string(s.cfg.Token), string(s.cfg.Password), string(s.cfg.Signing.Secret), string(s.cfg.OAuth2.ClientSecret)}
	private = append(private, s.tokens.secrets()...)
	if m != nil {
		private = append(private, m.Address, m.Recipient, strings.TrimPrefix(m.Address, "+"))
	}
	return codeShape.MatchString(code) && !slices.ContainsFunc(private, func(p string) bool { return p != "" && strings.Contains(code, p) })
}
