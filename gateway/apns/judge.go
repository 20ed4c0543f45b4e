package apns

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Remedies for answers that are about the gateway and not about the message.
const (
	fixKey     = "check team_id, key_id and key_file against Apple's developer account, that the key is not revoked and is for this environment and topic, and that the clock of this host is right"
	fixTopic   = "check that topic is the bundle id of an app of this team, that its App ID has Push Notifications, and that the key may send to it"
	fixAddress = "check endpoint, or leave it out for Apple's own"
	fixDevices = "check environment (production, or sandbox for apps that Xcode has signed) and topic (the bundle id of the app whose devices these are)"
	fixUpdates = "nothing has to be done if it passes within 20 minutes; otherwise start processes less often, for each signs a token of its own"
)

const expiredProviderToken = "ExpiredProviderToken"

// reasons are APNs' error codes
// (https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns#Understand-error-codes).
// Codes that are only about one message, such as BadPriority, are missing: their status is 400.
var reasons = map[string]notify.Failure{
	// Also a good token of the other environment or of another app: a gateway for these may know the token.
	"BadDeviceToken":         {Verdict: notify.Permanent, Gone: true, Next: true, Reason: notify.ReasonBadRecipient, Remedy: fixDevices},
	"DeviceTokenNotForTopic": {Verdict: notify.Permanent, Gone: true, Next: true, Reason: notify.ReasonBadRecipient, Remedy: fixDevices},
	"Unregistered":           {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonRecipientGone},
	"ExpiredToken":           {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonRecipientGone},

	"PayloadTooLarge": {Verdict: notify.Permanent, Reason: notify.ReasonTooLarge},

	"IdleTimeout":         {Verdict: notify.Transient, Reason: "APNs was just closing the connection"},
	"InternalServerError": {Verdict: notify.Transient, Reason: "APNs failed"},
	"ServiceUnavailable":  {Verdict: notify.Transient, Reason: "APNs is unavailable"},
	"Shutdown":            {Verdict: notify.Transient, Reason: "APNs is shutting this server down"},

	"TooManyRequests": {Verdict: notify.Throttled, Reason: "too many messages to this device one after the other"},

	expiredProviderToken:          {Verdict: notify.Unavailable, Reason: "APNs finds the provider token too old", Remedy: fixKey},
	"InvalidProviderToken":        {Verdict: notify.Unavailable, Reason: "APNs does not know the provider token", Remedy: fixKey},
	"MissingProviderToken":        {Verdict: notify.Unavailable, Reason: "the provider token did not reach APNs", Remedy: fixAddress},
	"UnrelatedKeyIdInToken":       {Verdict: notify.Unavailable, Reason: "APNs knows the connection by another key", Remedy: fixKey},
	"BadEnvironmentKeyIdInToken":  {Verdict: notify.Unavailable, Reason: "the key is for the other environment", Remedy: fixKey},
	"TooManyProviderTokenUpdates": {Verdict: notify.Unavailable, Reason: "APNs has had too many provider tokens from us", Remedy: fixUpdates},
	"Forbidden":                   {Verdict: notify.Unavailable, Reason: "APNs does not allow it", Remedy: fixTopic},
	"BadCertificate":              {Verdict: notify.Unavailable, Reason: "APNs refuses the certificate", Remedy: fixKey},
	"BadCertificateEnvironment":   {Verdict: notify.Unavailable, Reason: "the certificate is for the other environment", Remedy: fixKey},
	"BadTopic":                    {Verdict: notify.Unavailable, Reason: "APNs finds the topic invalid", Remedy: fixTopic},
	"TopicDisallowed":             {Verdict: notify.Unavailable, Reason: "APNs does not allow the topic", Remedy: fixTopic},
	"MissingTopic":                {Verdict: notify.Unavailable, Reason: "the topic did not reach APNs", Remedy: fixTopic},
	"BadPath":                     {Verdict: notify.Unavailable, Reason: "there is no APNs at this address", Remedy: fixAddress},
	"MethodNotAllowed":            {Verdict: notify.Unavailable, Reason: "there is no APNs at this address", Remedy: fixAddress},
}

// statuses are for answers without a known reason: from APNs with a new reason or a lost body, or from a proxy before APNs.
// Missing statuses are permanent below 500, and ambiguous from 500 on, as APNs documents no others.
var statuses = map[int]notify.Failure{
	http.StatusUnauthorized:          {Verdict: notify.Unavailable, Reason: "access is denied", Remedy: fixKey},
	http.StatusForbidden:             {Verdict: notify.Unavailable, Reason: "APNs refuses the provider token", Remedy: fixKey},
	http.StatusNotFound:              {Verdict: notify.Unavailable, Reason: "there is no APNs at this address", Remedy: fixAddress},
	http.StatusMethodNotAllowed:      {Verdict: notify.Unavailable, Reason: "there is no APNs at this address", Remedy: fixAddress},
	http.StatusProxyAuthRequired:     {Verdict: notify.Unavailable, Reason: "the HTTP proxy wants credentials", Remedy: "set them in HTTPS_PROXY"},
	http.StatusRequestTimeout:        {Verdict: notify.Transient, Reason: "the request did not arrive whole in time"},
	http.StatusGone:                  {Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonRecipientGone},
	http.StatusRequestEntityTooLarge: {Verdict: notify.Permanent, Reason: notify.ReasonTooLarge},
	http.StatusMisdirectedRequest:    {Verdict: notify.Transient, Reason: "the request reached another server"},
	http.StatusTooEarly:              {Verdict: notify.Transient, Reason: "the request was refused for now"},
	http.StatusTooManyRequests:       {Verdict: notify.Throttled, Reason: "too many requests"},
	http.StatusServiceUnavailable:    {Verdict: notify.Transient, Reason: "APNs is unavailable"},
}

// judge returns APNs' ID of an accepted message, or the failure that the answer means.
func judge(x *gateway.Exchange, ownTopic bool, now time.Time) (id string, f *notify.Failure) {
	if x.Status == 0 {
		return "", x.Lost()
	}
	if x.OK() {
		if id, ok := notify.ParseID(x.Header.Get("apns-id")); ok {
			return id, nil
		}
		return "", &notify.Failure{
			Verdict: notify.Ambiguous, Code: "HTTP " + strconv.Itoa(x.Status),
			Reason: "the answer is not APNs'; check endpoint if this goes on",
		}
	}
	f = refusal(x.Status, reason(x), ownTopic)
	wait := gateway.RetryAfter(x.Header, now)
	if wait > 0 && (f.Verdict == notify.Throttled || x.Status == http.StatusServiceUnavailable && f.Verdict == notify.Transient) {
		f.Verdict, f.After = notify.Throttled, wait
	}
	return "", f
}

func refusal(status int, reason string, ownTopic bool) *notify.Failure {
	f, known := reasons[reason]
	if !known {
		f, known = statuses[status]
	}
	switch {
	case ownTopic && (reason == "BadTopic" || reason == "TopicDisallowed"):
		f = notify.Failure{Verdict: notify.Permanent, Reason: "APNs refuses the apns-topic of the message"}
	case ownTopic && reason == "DeviceTokenNotForTopic":
		f = notify.Failure{Verdict: notify.Permanent, Reason: "the device belongs to another app than the apns-topic of the message names"}
	case known:
	case status < 400:
		f = notify.Failure{Verdict: notify.Unavailable, Reason: "endpoint answers with a redirect, which is never followed", Remedy: fixAddress}
	case status >= 500:
		f = notify.Failure{Verdict: notify.Ambiguous, Reason: "APNs failed; the message may have been taken"}
	default:
		f = notify.Failure{Verdict: notify.Permanent, Reason: "APNs refused the message"}
	}
	f.Code = reason
	if reason == "" {
		f.Code = "HTTP " + strconv.Itoa(status)
	}
	return &f
}

// reasonPattern matches APNs' reasons. It matches no part of a request: tokens have digits, and texts have spaces.
var reasonPattern = regexp.MustCompile(`^[A-Z][A-Za-z]{3,39}$`)

// reason returns APNs' reason for a refusal, or an empty text.
func reason(x *gateway.Exchange) string {
	var answer struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(x.Body, &answer) != nil || !reasonPattern.MatchString(answer.Reason) {
		return ""
	}
	return answer.Reason
}
