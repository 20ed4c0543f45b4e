package apns

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxCollapse is the longest collapse ID.
const maxCollapse = 64

// tokens matches APNs' device tokens in hexadecimal: 32 bytes today, more for a Live Activity, and up to 100 according to Apple
// (https://developer.apple.com/documentation/uikit/uiapplicationdelegate/application(_:didregisterforremotenotificationswithdevicetoken:)).
// A token becomes part of a path.
var tokens = regexp.MustCompile(`^([0-9A-Fa-f]{2}){32,100}$`)

// build returns the request of m, or the failure of a message that cannot be sent.
func (s *Sender) build(m *notify.Message) (*message, *notify.Failure) {
	invalid := func(text string) *notify.Failure {
		return &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": " + text}
	}
	switch {
	case m.Push == nil:
		return nil, invalid("this gateway sends channel push only")
	case m.RecipientType != notify.RecipientAPNs:
		return nil, invalid("recipient_type must be apns for this gateway")
	case !tokens.MatchString(m.Address):
		return nil, &notify.Failure{Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonBadRecipient}
	}
	b, err := readBlock(m.Push.APNs)
	if err != nil {
		return nil, invalid(err.Error())
	}
	kind, topic, err := s.address(b)
	if err != nil {
		return nil, invalid(err.Error())
	}
	payload, kind, err := compose(m.Push, b, kind)
	switch {
	case err != nil:
		return nil, invalid(err.Error())
	case len(payload) > maxPayload:
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonTooLarge}
	}
	h := headersOf(m, b, kind, topic)
	return &message{device: m.Address, header: h, payload: payload, ownTopic: h.Get("apns-topic") != s.topic}, nil
}

// address returns the push type and the topic of a message. If the block names only one of them, the other follows from it: for
// some types APNs requires a topic that ends in the name of the type. Kind is empty for a message whose type follows from its
// content.
func (s *Sender) address(b *block) (kind, topic string, err error) {
	kind, own := b.headers["apns-push-type"], b.headers["apns-topic"]
	topic = first(own, s.topic)
	byTopic := notify.ApplePushType(topic)
	if kind == "" {
		return byTopic, topic, nil
	}
	suffix, known := notify.AppleTopicSuffix(kind)
	switch {
	case !known || byTopic == kind || suffix == "" && byTopic == "":
		return kind, topic, nil
	case own != "":
		return "", "", errors.New("payload.apns.headers.apns-topic and apns-push-type contradict each other: leave one of them out")
	}
	app, _ := notify.AppleTopicSuffix(byTopic) // the gateway's topic may have the ending of another type
	return kind, strings.TrimSuffix(topic, app) + suffix, nil
}

// headersOf returns the headers of the block, completed. The collapse key of the message, or else the notification's ID,
// becomes the collapse ID: a repeated message, whose first answer may have been lost, then replaces the first one on the
// device.
func headersOf(m *notify.Message, b *block, kind, topic string) http.Header {
	h := http.Header{}
	set := func(name, value string) {
		if own, ok := b.headers[name]; ok {
			value = own
		}
		if value != "" {
			h.Set(name, value)
		}
	}
	set("apns-topic", topic)
	set("apns-push-type", kind)
	set("apns-priority", priority(m.Push.Priority, h.Get("apns-push-type")))
	set("apns-collapse-id", shortened(first(m.Push.CollapseKey, m.ID)))
	expires := ""
	if m.ExpiresAt != nil {
		expires = strconv.FormatInt(m.ExpiresAt.Unix(), 10)
	}
	set("apns-expiration", expires)
	id, _ := notify.ParseID(m.ID) // "": APNs chooses one
	set("apns-id", id)
	return h
}

// priority returns 5 for every background message: APNs refuses 10 for it.
func priority(word, kind string) string {
	switch {
	case kind == "background", word == "normal":
		return "5"
	case word == "high":
		return "10"
	}
	return "" // the default of APNs is 10
}

// shortened returns key if a header can carry it, or else 32 characters that differ for different keys.
func shortened(key string) string {
	if key == "" || len(key) <= maxCollapse && printable.MatchString(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}
