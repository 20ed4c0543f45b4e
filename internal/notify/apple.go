package notify

import (
	"slices"
	"strings"
)

// applePushType is a value of the header apns-push-type and the ending that it requires of apns-topic
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
type applePushType struct{ name, suffix string }

// The types without an ending come first: any topic without one of the endings is theirs. A topic of type mdm is the
// UID of a certificate.
var applePushTypes = []applePushType{
	{"alert", ""},
	{"background", ""},
	{"mdm", ""},
	{"complication", ".complication"},
	{"controls", ".push-type.controls"},
	{"fileprovider", ".pushkit.fileprovider"},
	{"liveactivity", ".push-type.liveactivity"},
	{"location", ".location-query"},
	{"pushtotalk", ".voip-ptt"},
	{"voip", ".voip"},
	{"widgets", ".push-type.widgets"},
}

// ApplePushTypes lists the values of the header apns-push-type.
func ApplePushTypes() []string {
	names := make([]string, len(applePushTypes))
	for i, t := range applePushTypes {
		names[i] = t.name
	}
	return names
}

// AppleTopicSuffix returns the ending that a push type requires of apns-topic, and whether the type is known.
func AppleTopicSuffix(pushType string) (suffix string, known bool) {
	at := slices.IndexFunc(applePushTypes, func(t applePushType) bool { return t.name == pushType })
	if at < 0 {
		return "", false
	}
	return applePushTypes[at].suffix, true
}

// ApplePushType returns the push type that the ending of a topic requires; "" when the topic has none of the endings.
func ApplePushType(topic string) string {
	for _, t := range applePushTypes {
		if t.suffix != "" && strings.HasSuffix(topic, t.suffix) {
			return t.name
		}
	}
	return ""
}
