package apns

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxCollapse is how long a collapse id may be.
const maxCollapse = 64

// tokens are APNs' device tokens in hexadecimal: 32 bytes today, more for a Live Activity, up to 100 by Apple's word
// (https://developer.apple.com/documentation/uikit/uiapplicationdelegate/application(_:didregisterforremotenotificationswithdevicetoken:)).
// One becomes part of a path.
var tokens = regexp.MustCompile(`^([0-9A-Fa-f]{2}){32,100}$`)

// build makes the request of m, or says why it cannot be sent.
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
	payload, shows, err := compose(m.Push, b)
	switch {
	case err != nil:
		return nil, invalid(err.Error())
	case len(payload) > maxPayload:
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonTooLarge}
	}
	h := s.headers(m, b, shows)
	return &message{device: m.Address, header: h, payload: payload, ownTopic: h.Get("apns-topic") != s.topic}, nil
}

// headers are the block's, and what it leaves out.
//
// A repeated message (its first answer may have been lost) replaces the first on the device instead of standing beside it: the
// collapse key, else the notification's id, is its collapse id.
func (s *Sender) headers(m *notify.Message, b *block, shows bool) http.Header {
	h := http.Header{}
	set := func(name, value string) {
		if own, ok := b.headers[name]; ok {
			value = own
		}
		if value != "" {
			h.Set(name, value)
		}
	}
	kind := "background"
	if shows {
		kind = "alert"
	}
	set("apns-topic", s.topic)
	set("apns-push-type", kind)
	set("apns-priority", priority(m.Push.Priority, h.Get("apns-push-type")))
	set("apns-collapse-id", fitted(first(m.Push.CollapseKey, m.ID)))
	expires := ""
	if m.ExpiresAt != nil {
		expires = strconv.FormatInt(m.ExpiresAt.Unix(), 10)
	}
	set("apns-expiration", expires)
	id, _ := notify.ParseID(m.ID) // "": APNs makes one
	set("apns-id", id)
	return h
}

// priority of a background message is always 5: APNs refuses 10 for it.
func priority(word, kind string) string {
	switch {
	case kind == "background", word == "normal":
		return "5"
	case word == "high":
		return "10"
	}
	return "" // APNs takes 10
}

// fitted gives key, or a name of it that a header can carry: 32 characters that differ when keys do.
func fitted(key string) string {
	if key == "" || len(key) <= maxCollapse && printable.MatchString(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}
