package fcm

import (
	"encoding/json"
	"strings"

	"firebase.google.com/go/v4/messaging"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// iphone adds to the block apns the fields that Apple devices need in addition to FCM's common fields. Fields of the caller are kept.
//
// A message that carries data and shows nothing is a background push. Without content-available it starts no app, and APNs refuses it
// with a priority other than 5
// (https://developer.apple.com/documentation/usernotifications/pushing-background-updates-to-your-app). A picture is fetched by the
// app's service extension, which mutable-content starts (https://firebase.google.com/docs/cloud-messaging/ios/send-image).
func iphone(out *messaging.Message, image string) {
	a := out.APNS
	kind := header(a.Headers, "apns-push-type")
	if kind == "" {
		kind = notify.ApplePushType(header(a.Headers, "apns-topic"))
		a.Headers = withHeader(a.Headers, "apns-push-type", kind)
	}
	if shows(out) {
		if image == "" && a.FCMOptions != nil {
			image = a.FCMOptions.ImageURL
		}
		showImage(a, image)
		return
	}
	carries := len(out.Data) > 0 || a.Payload != nil
	if !carries || a.LiveActivityToken != "" || kind != "" && kind != "background" {
		return
	}
	if aps := apsOf(a); !sets(aps, "content-available") {
		aps.ContentAvailable = true
	}
	a.Headers = withHeader(a.Headers, "apns-push-type", "background")
	a.Headers = withHeader(a.Headers, "apns-priority", "5")
}

// shows reports whether an Apple device shows, plays or counts anything of a message.
func shows(out *messaging.Message) bool {
	if out.Notification != nil {
		return true
	}
	if out.APNS.Payload == nil || out.APNS.Payload.Aps == nil {
		return false
	}
	aps := out.APNS.Payload.Aps
	return aps.AlertString != "" || aps.Alert != nil || aps.Badge != nil || aps.Sound != "" || aps.CriticalSound != nil
}

func showImage(a *messaging.APNSConfig, image string) {
	if image == "" {
		return
	}
	if aps := apsOf(a); !sets(aps, "mutable-content") {
		aps.MutableContent = true
	}
	if a.FCMOptions == nil {
		a.FCMOptions = &messaging.APNSFCMOptions{}
	}
	if a.FCMOptions.ImageURL == "" {
		a.FCMOptions.ImageURL = image
	}
}

// sets reports whether the caller has set a field of aps to 0, which the SDK takes for an unknown field.
func sets(aps *messaging.Aps, name string) bool {
	_, set := aps.CustomData[name]
	return set
}

func apsOf(a *messaging.APNSConfig) *messaging.Aps {
	if a.Payload == nil {
		a.Payload = &messaging.APNSPayload{}
	}
	if a.Payload.Aps == nil {
		a.Payload.Aps = &messaging.Aps{}
	}
	return a.Payload.Aps
}

// header returns the value of a header, in any case of its name.
func header(headers map[string]string, name string) string {
	for given, value := range headers {
		if strings.EqualFold(given, name) {
			return value
		}
	}
	return ""
}

// extras are fields of FCM's message that the SDK cannot write: fields that it does not know, and a zero that it leaves out.
type extras struct {
	android map[string]any // fields of message.android
	silent  bool           // message.apns.payload.aps.sound.volume is 0
}

// none reports whether there are no extras.
func (e extras) none() bool { return len(e.android) == 0 && !e.silent }

// add adds the extras to the JSON of a message.
func (e extras) add(message []byte) ([]byte, error) {
	if e.none() {
		return message, nil
	}
	m, err := object(message)
	if err != nil {
		return nil, err
	}
	for name, value := range e.android {
		inner(m, "android")[name] = value
	}
	if e.silent {
		inner(m, "apns", "payload", "aps", "sound")["volume"] = json.Number("0")
	}
	return json.Marshal(m)
}

// inner returns the object at a path, which it creates if it is missing.
func inner(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		next, ok := m[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[name] = next
		}
		m = next
	}
	return m
}
