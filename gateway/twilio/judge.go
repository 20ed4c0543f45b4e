package twilio

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/twilio/twilio-go/client"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Remedies for answers that are about the gateway and not about the message.
const (
	fixCredentials = "check account_sid with auth_token, or api_key with api_secret, against the Twilio console"
	fixAccount     = "the account is suspended or closed: see the Twilio console"
	fixPermission  = "Twilio denies these credentials the Messages API: see the account and the permissions of the key in the Twilio console"
	fixAddress     = "check base_url, and that account_sid belongs to these credentials"
)

// codes are Twilio's error codes that say more than their HTTP status (https://www.twilio.com/docs/api/errors). Twilio advises
// to judge by the status, and adds codes at any time. So the table is short: codes about the recipient, for suppressions, and
// codes about the account, so that they make no dead letters.
var codes = map[int]notify.Failure{
	21610: {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonOptedOut},
	21211: {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonBadRecipient}, // not a phone number
	21614: {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonBadRecipient}, // not a mobile number

	20429: {Verdict: notify.Throttled, Reason: "too many requests"},
	21611: {Verdict: notify.Throttled, Reason: "the sender's queue at Twilio is full"}, // refused, not queued

	20003: {Verdict: notify.Unavailable, Reason: "Twilio does not know the credentials", Remedy: fixCredentials},
	20005: {Verdict: notify.Unavailable, Reason: "the account is not active", Remedy: fixAccount},
	10001: {Verdict: notify.Unavailable, Reason: "the account is not active", Remedy: fixAccount},
	90010: {Verdict: notify.Unavailable, Reason: "the account is not active", Remedy: fixAccount},
}

// statuses are the HTTP statuses that are not simply permanent (4xx) or ambiguous (5xx).
//
// 429: "this request is never processed" (https://support.twilio.com/hc/en-us/articles/360044308153). 500, 502, 503 and 504 may
// be retried (https://support.twilio.com/hc/en-us/articles/48916449686299), but Twilio does not say that such requests were not
// processed, and has no idempotency key. A 503 means that the processing did not begin. After the others nobody knows whether
// the message was queued before the server failed. So they are ambiguous, which is also retried unless the caller prefers to
// hold.
var statuses = map[int]notify.Failure{
	http.StatusUnauthorized:        {Verdict: notify.Unavailable, Reason: "Twilio does not know the credentials", Remedy: fixCredentials},
	http.StatusForbidden:           {Verdict: notify.Unavailable, Reason: "Twilio denies access", Remedy: fixPermission},
	http.StatusNotFound:            {Verdict: notify.Unavailable, Reason: "there is no such account or API at this address", Remedy: fixAddress},
	http.StatusMethodNotAllowed:    {Verdict: notify.Unavailable, Reason: "there is no Messages API at this address", Remedy: fixAddress},
	http.StatusProxyAuthRequired:   {Verdict: notify.Unavailable, Reason: "the HTTP proxy wants credentials", Remedy: "set them in HTTPS_PROXY"},
	http.StatusRequestTimeout:      {Verdict: notify.Transient, Reason: "Twilio did not get the whole request in time"},
	http.StatusTooEarly:            {Verdict: notify.Transient, Reason: "Twilio refused the request for now"},
	http.StatusTooManyRequests:     {Verdict: notify.Throttled, Reason: "too many requests"},
	http.StatusServiceUnavailable:  {Verdict: notify.Transient, Reason: "Twilio is unavailable"},
	http.StatusInternalServerError: {Verdict: notify.Ambiguous, Reason: "Twilio failed; the message may have been queued"},
	http.StatusBadGateway:          {Verdict: notify.Ambiguous, Reason: "Twilio failed; the message may have been queued"},
	http.StatusGatewayTimeout:      {Verdict: notify.Ambiguous, Reason: "Twilio failed; the message may have been queued"},
}

// firstMessageCode separates Twilio's codes: codes from here on are about a message, its sender or its destination; lower codes
// are about the account and the API. With a 403 it separates a region that is not permitted (21408) from a key that is not.
const firstMessageCode = 21_000

// judge returns the failure of an answer, or nil if twilio-go has read a success. It takes only Twilio's code from err: the
// text of err contains the recipient.
func judge(x gateway.Exchange, err error, now time.Time) *notify.Failure {
	switch {
	case x.Status == 0 && x.Err == nil:
		return &notify.Failure{Verdict: notify.Transient, Reason: "twilio-go made no request"}
	case x.Status == 0:
		return x.Lost()
	case x.OK() && err == nil:
		return nil
	case x.OK():
		return notOurs(x)
	}
	f := refusal(x.Status, code(err))
	if wait := gateway.RetryAfter(x.Header, now); wait > 0 && (f.Verdict == notify.Throttled || x.Status == http.StatusServiceUnavailable) {
		f.Verdict, f.After = notify.Throttled, wait
	}
	return f
}

func refusal(status, code int) *notify.Failure {
	f, known := codes[code]
	if !known {
		f, known = statuses[status]
		known = known && (status != http.StatusForbidden || code < firstMessageCode)
	}
	switch {
	case known:
	case status < 400:
		f = notify.Failure{Verdict: notify.Unavailable, Reason: "base_url answers with a redirect, which is never followed", Remedy: fixAddress}
	case status >= 500:
		f = statuses[http.StatusInternalServerError]
	case code != 0:
		f = notify.Failure{Verdict: notify.Permanent, Reason: fmt.Sprintf("Twilio refused the message: see https://www.twilio.com/docs/api/errors/%d", code)}
	default:
		f = notify.Failure{Verdict: notify.Permanent, Reason: "Twilio refused the message"}
	}
	f.Code = "HTTP " + strconv.Itoa(status)
	if code != 0 {
		f.Code = strconv.Itoa(code)
	}
	return &f
}

// notOurs returns the failure of a success that does not provably come from Twilio but perhaps from a proxy, or that was cut
// short.
func notOurs(x gateway.Exchange) *notify.Failure {
	return &notify.Failure{
		Verdict: notify.Ambiguous, Code: "HTTP " + strconv.Itoa(x.Status),
		Reason: "the answer is no Message of Twilio's; check base_url if this goes on",
	}
}

func code(err error) int {
	var refused *client.TwilioRestError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}
