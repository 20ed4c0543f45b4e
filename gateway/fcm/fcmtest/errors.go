package fcmtest

import (
	"encoding/json"
	"net/http"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
)

// Answer names one of FCM's errors. Errors with FCM's own code contain it.
type Answer string

// FCM's errors.
const (
	Unregistered     Answer = "UNREGISTERED"
	SenderIDMismatch Answer = "SENDER_ID_MISMATCH"
	QuotaExceeded    Answer = "QUOTA_EXCEEDED"
	Unavailable      Answer = "UNAVAILABLE"
	Internal         Answer = "INTERNAL"
	ThirdPartyAuth   Answer = "THIRD_PARTY_AUTH_ERROR"
	InvalidArgument  Answer = "INVALID_ARGUMENT"

	BadToken         Answer = "INVALID_ARGUMENT, the token in the sentence"
	BadTokenByField  Answer = "INVALID_ARGUMENT, the token as a field"
	BadValue         Answer = "no code, a value as a field"
	Unauthenticated  Answer = "no code, 401"
	PermissionDenied Answer = "no code, 403"
	NoProject        Answer = "no code, 404"
	RateLimited      Answer = "no code, 429"
)

type errorBody struct {
	status      int    // of HTTP
	word        string // the status word of Google's APIs
	text        string // followed by the whole request, as FCM's texts quote it
	code, field string // FCM's own code, the field at fault; "" = none
}

// answers are the examples of https://firebase.google.com/docs/cloud-messaging/error-codes.
var answers = map[Answer]errorBody{
	Unregistered:     {404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED", ""},
	SenderIDMismatch: {403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH", ""},
	QuotaExceeded:    {429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Send requests'.", "QUOTA_EXCEEDED", ""},
	Unavailable:      {503, "UNAVAILABLE", "The service is currently unavailable.", "UNAVAILABLE", ""},
	Internal:         {500, "INTERNAL", "Internal error encountered.", "INTERNAL", ""},
	ThirdPartyAuth:   {401, "UNAUTHENTICATED", "Request is missing required authentication credential.", "THIRD_PARTY_AUTH_ERROR", ""},
	InvalidArgument:  {400, "INVALID_ARGUMENT", "Request contains an invalid argument.", "INVALID_ARGUMENT", "message.android.ttl"},
	BadToken:         {400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", "INVALID_ARGUMENT", ""},
	BadTokenByField:  {400, "INVALID_ARGUMENT", "Invalid registration token.", "INVALID_ARGUMENT", "message.token"},
	BadValue:         {400, "INVALID_ARGUMENT", "Invalid value at 'message.data[0].value' (TYPE_STRING), 12", "", "message.data[0].value"},
	Unauthenticated:  {401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", "", ""},
	PermissionDenied: {403, "PERMISSION_DENIED", "Permission 'cloudmessaging.messages.create' denied on resource.", "", ""},
	NoProject:        {404, "NOT_FOUND", "Requested entity was not found.", "", ""},
	RateLimited:      {429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", "", ""},
}

func (e errorBody) json() string {
	details := []any{}
	if e.code != "" {
		details = append(details, map[string]any{
			"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": e.code,
		})
	}
	text := e.text + " " + gatewaytest.Request
	if e.field != "" {
		details = append(details, map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []any{map[string]any{"field": e.field, "description": text}},
		})
	}
	body, _ := json.MarshalIndent(map[string]any{"error": map[string]any{
		"code": e.status, "message": text, "status": e.word, "details": details,
	}}, "", "  ")
	return string(body)
}

func (a Answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(answers[a].status)
	_, _ = w.Write([]byte(answers[a].json()))
}
