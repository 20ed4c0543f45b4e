package fcm

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Remedies for answers that are about the gateway and not about the message.
const (
	fixCredentials = "check that the service account belongs to project_id and its key is not revoked"
	fixPermission  = "give the service account the role Firebase Cloud Messaging API Admin, and enable that API in the project"
	fixPlatform    = "upload a valid APNs key (or Web Push key) to the project in the Firebase console, under Cloud Messaging"
	fixAddress     = "check project_id and endpoint"
)

// quotaWait is the wait after a 429 without a Retry-After: FCM asks for a minute
// (https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, QUOTA_EXCEEDED).
const quotaWait = time.Minute

// judge returns the failure of an answer, or nil if FCM has accepted the message. It uses the status from the wire, as the SDK
// takes a redirect up to 303 for a success. It takes only FCM's code from the SDK's error, and needs that error unwrapped, as
// the SDK asserts its type; its text contains the message.
func judge(r *record, id string, err error, now time.Time) *notify.Failure {
	switch {
	case r.denied != nil:
		return r.denied
	case r.Status == 0 && r.Err == nil:
		return &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": " + unquoted(err)}
	case r.Status == 0:
		return r.Lost()
	case r.OK() && err == nil && id != "":
		return nil
	case r.OK():
		return &notify.Failure{
			Verdict: notify.Ambiguous, Code: "HTTP " + strconv.Itoa(r.Status),
			Reason: "the answer is not FCM's; check endpoint if this goes on",
		}
	}
	f := byCode(r, err)
	if f == nil {
		f = byStatus(r.Status)
	}
	if f.Code == "" {
		f.Code = "HTTP " + strconv.Itoa(r.Status)
	}
	wait := gateway.RetryAfter(r.Header, now)
	switch {
	case wait > 0 && (f.Verdict == notify.Transient || f.Verdict == notify.Throttled):
		f.Verdict, f.After = notify.Throttled, wait
	case f.Verdict == notify.Throttled:
		f.After = quotaWait
	}
	return f
}

// byCode returns the failure that FCM's own code means (https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode); nil
// without a code, or for a code that says no more than the status.
func byCode(r *record, err error) *notify.Failure {
	switch {
	case messaging.IsUnregistered(err):
		return &notify.Failure{Verdict: notify.Permanent, Code: "UNREGISTERED", Gone: true, Reason: notify.ReasonRecipientGone}
	case messaging.IsInvalidArgument(err) && aboutToken(r.Body):
		return &notify.Failure{Verdict: notify.Permanent, Code: "INVALID_ARGUMENT", Gone: true, Reason: notify.ReasonBadRecipient}
	case messaging.IsInvalidArgument(err), r.Status == http.StatusBadRequest:
		return &notify.Failure{Verdict: notify.Permanent, Code: "INVALID_ARGUMENT", Reason: "FCM finds the message invalid" + fields(r.Body)}
	case messaging.IsSenderIDMismatch(err):
		return &notify.Failure{Verdict: notify.Permanent, Code: "SENDER_ID_MISMATCH", Reason: "the token was given out by another Firebase project"}
	case messaging.IsThirdPartyAuthError(err):
		return &notify.Failure{Verdict: notify.Unavailable, Code: "THIRD_PARTY_AUTH_ERROR", Reason: "FCM has no valid key of the device's platform", Remedy: fixPlatform}
	case messaging.IsQuotaExceeded(err):
		return &notify.Failure{Verdict: notify.Throttled, Code: "QUOTA_EXCEEDED", Reason: "too many messages"}
	case messaging.IsUnavailable(err):
		return &notify.Failure{Verdict: notify.Transient, Code: "UNAVAILABLE", Reason: "FCM is unavailable"}
	case messaging.IsInternal(err):
		return &notify.Failure{Verdict: notify.Transient, Code: "INTERNAL", Reason: "FCM failed"}
	}
	return nil
}

// byStatus returns the failure of an answer without a code, which may come from a proxy before FCM, often as HTML. A 5xx is
// retried; a device shows a message only once even if FCM had accepted it: see message.go.
func byStatus(status int) *notify.Failure {
	switch {
	case status < 400:
		return &notify.Failure{Verdict: notify.Unavailable, Reason: "endpoint answers with a redirect, which is never followed", Remedy: fixAddress}
	case status == http.StatusUnauthorized:
		return &notify.Failure{Verdict: notify.Unavailable, Reason: "FCM does not know the credentials", Remedy: fixCredentials}
	case status == http.StatusForbidden:
		return &notify.Failure{Verdict: notify.Unavailable, Reason: "FCM denies the service account access to the project", Remedy: fixPermission}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return &notify.Failure{Verdict: notify.Unavailable, Reason: "there is no such project or API at this address", Remedy: fixAddress}
	case status == http.StatusProxyAuthRequired:
		return &notify.Failure{Verdict: notify.Unavailable, Reason: "the HTTP proxy wants credentials", Remedy: "set them in HTTPS_PROXY"}
	case status == http.StatusTooManyRequests:
		return &notify.Failure{Verdict: notify.Throttled, Reason: "too many requests"}
	case status == http.StatusRequestTimeout, status >= 500:
		return &notify.Failure{Verdict: notify.Transient, Reason: "FCM failed"}
	}
	return &notify.Failure{Verdict: notify.Permanent, Reason: "FCM refused the message"}
}

// answer is the body of an error (https://cloud.google.com/apis/design/errors#http_mapping).
type answer struct {
	Error struct {
		Message string `json:"message"`
		Details []struct {
			Violations []struct {
				Field string `json:"field"`
			} `json:"fieldViolations"`
		} `json:"details"`
	} `json:"error"`
}

func (a *answer) fields() []string {
	var fields []string
	for _, d := range a.Error.Details {
		for _, v := range d.Violations {
			fields = append(fields, v.Field)
		}
	}
	return fields
}

// aboutToken reports whether the invalid argument is the registration token. FCM names it as a field or, for an unreadable
// token, only in its text.
func aboutToken(body []byte) bool {
	var a answer
	if json.Unmarshal(body, &a) != nil {
		return false
	}
	named := a.fields()
	for _, f := range named {
		if f == "message.token" {
			return true
		}
	}
	return len(named) == 0 && strings.Contains(a.Error.Message, "registration token is not a valid FCM registration token")
}

// field matches a path in a message, without the parts that the caller has named.
var field = regexp.MustCompile(`^message(\.[a-z_]+|\[\d+\])*$`)

func fields(body []byte) string {
	var a answer
	_ = json.Unmarshal(body, &a) // an unnamed field is no fault of the message
	var known []string
	for _, f := range a.fields() {
		if field.MatchString(f) && len(known) < 5 {
			known = append(known, f)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return ": " + strings.Join(known, ", ")
}

// unquoted returns the SDK's text about a message that it does not send, up to the first quoted value.
func unquoted(err error) string {
	if err == nil {
		return "the SDK did not send the message"
	}
	text := strings.TrimPrefix(err.Error(), "invalid message at index 0: ")
	text, _, _ = strings.Cut(text, `"`)
	return strings.TrimRight(text, ": ")
}
