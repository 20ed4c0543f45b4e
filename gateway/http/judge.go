package http

import (
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

// statuses is the usual table, for answers that no rule of the configuration fits. What is not here is permanent (4xx),
// ambiguous (5xx: nobody knows whether the message was taken before the server failed) or unavailable (3xx). The remedies
// begin behind "gateways.NAME".
var statuses = map[int]notify.Failure{
	http.StatusUnauthorized:       {Verdict: notify.Unavailable, Reason: "the API does not know the credentials", Remedy: ": check token, username and password, secret and signing"},
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

// verdicts are those of the configuration's rules.
var verdicts = map[string]notify.Failure{
	"permanent":   {Verdict: notify.Permanent, Reason: "the API refused the message"},
	"gone":        {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonRecipientGone},
	"transient":   {Verdict: notify.Transient, Reason: "the API failed for now"},
	"throttled":   {Verdict: notify.Throttled, Reason: "the API asks to slow down"},
	"unavailable": {Verdict: notify.Unavailable, Reason: "the API refuses this account", Remedy: ": see the account at the provider and what this code means there"},
	"ambiguous":   {Verdict: notify.Ambiguous, Reason: "the API failed; it may have taken the message"},
}

// judge gives the provider's id, or what else the answer to m means. A rule that fits comes before everything.
func (s *Sender) judge(x gateway.Exchange, m *notify.Message, now time.Time) (id string, f *notify.Failure) {
	if x.Status == 0 {
		return "", x.Lost()
	}
	a := read(x.Body)
	code := a.at(s.cfg.CodePath)
	if f = s.rule(x, code, now); f == nil {
		id, f = s.usual(x, a, now)
	}
	return id, s.named(f, x, code, m)
}

// judgeCheck is judge for an answer to [Sender.Check]: any 2xx will do.
func (s *Sender) judgeCheck(x gateway.Exchange, now time.Time) *notify.Failure {
	if x.Status == 0 {
		return x.Lost()
	}
	code := read(x.Body).at(s.cfg.CodePath)
	f := s.rule(x, code, now)
	if f == nil && !x.OK() {
		f = s.status(x, now)
	}
	return s.named(f, x, code, nil)
}

// rule gives the verdict of the first rule that fits; nil: none does.
func (s *Sender) rule(x gateway.Exchange, code string, now time.Time) *notify.Failure {
	at := slices.IndexFunc(s.cfg.Rules, func(r config.HTTPRule) bool {
		return (len(r.Status) == 0 || r.Status.Has(x.Status)) && (len(r.Code) == 0 || code != "" && slices.Contains(r.Code, code))
	})
	if at < 0 {
		return nil
	}
	f := verdicts[s.cfg.Rules[at].Verdict]
	if reason := s.cfg.Rules[at].Reason; reason != "" {
		f.Reason = reason
	}
	if f.Verdict == notify.Throttled {
		f.After = gateway.RetryAfter(x.Header, now)
	}
	return &f
}

// usual judges an answer that no rule fits.
func (s *Sender) usual(x gateway.Exchange, a answer, now time.Time) (id string, f *notify.Failure) {
	success := s.cfg.Success
	switch yes := success.Status.Has(x.Status); {
	case yes && !a.isJSON && (success.Path != "" || s.cfg.IDPath != ""):
		return "", notOurs("the answer is not the API's JSON; check url if this goes on")
	case yes && a.says(success):
		if id = notify.Clip(a.at(s.cfg.IDPath), maxID); id == "" && s.cfg.IDPath != "" {
			return "", notOurs("the answer names no message where id_path says; check url and id_path if this goes on")
		}
		return id, nil
	case yes, x.OK():
		return "", &notify.Failure{Verdict: notify.Permanent, Reason: "the answer does not say that the message was taken"}
	}
	if x.Status == http.StatusNotFound && s.templates.pathOfMessage {
		return "", &notify.Failure{Verdict: notify.Permanent, Reason: "the API does not know the address that this message makes"}
	}
	return "", s.status(x, now)
}

// notOurs: something said yes that is not provably the provider (a proxy, a portal), or its answer was cut short.
func notOurs(why string) *notify.Failure {
	return &notify.Failure{Verdict: notify.Ambiguous, Reason: why}
}

// status judges by the usual table.
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

// named completes a failure by its code and the gateway's name. A code of the provider's that could be more than a code,
// such as a number or a token that it quotes, stays out.
func (s *Sender) named(f *notify.Failure, x gateway.Exchange, code string, m *notify.Message) *notify.Failure {
	if f == nil {
		return nil
	}
	if f.Remedy != "" {
		f.Remedy = "gateways." + s.name + f.Remedy
	}
	if f.Code = "HTTP " + strconv.Itoa(x.Status); s.harmless(code, m) {
		f.Code = code
	}
	return f
}

var codeShape = regexp.MustCompile(`^(-?[0-9]{1,6}|[A-Za-z][A-Za-z0-9_.-]{0,63})$`)

func (s *Sender) harmless(code string, m *notify.Message) bool {
	if slices.ContainsFunc(s.cfg.Rules, func(r config.HTTPRule) bool { return slices.Contains(r.Code, code) }) {
		return true
	}
	private := []string{string(s.cfg.Secret), string(s.cfg.Token), string(s.cfg.Password), string(s.cfg.Signing.Secret)}
	if m != nil {
		private = append(private, m.Address, m.Recipient, strings.TrimPrefix(m.Address, "+"))
	}
	return codeShape.MatchString(code) && !slices.ContainsFunc(private, func(p string) bool { return p != "" && strings.Contains(code, p) })
}
