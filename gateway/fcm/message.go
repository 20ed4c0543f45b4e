package fcm

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxTTL is how long FCM keeps a message for a device that is away.
const maxTTL = 28 * 24 * time.Hour

// build makes FCM's message of m, and the fields that the SDK cannot write. What the platform blocks say stands; what they leave out
// comes from the common fields and from what remains until the notification expires.
//
// A repeated message (FCM may have taken one that it answered with an error) replaces the first on the device instead of
// standing beside it: the collapse key, else the notification's id, is its Android tag and apns-collapse-id. The id is no
// Android collapse_key and no Web Push topic: those choose what a device that is away gets later, and it keeps four.
func build(m *notify.Message, now time.Time) (*messaging.Message, extras, error) {
	p := m.Push
	if p == nil {
		return nil, extras{}, errors.New("this gateway sends channel push only")
	}
	out := &messaging.Message{Data: p.Data}
	err := address(out, m)
	if err != nil {
		return nil, extras{}, err
	}
	var more extras
	out.Android, more.android, err = android(p.Android)
	if err != nil {
		return nil, extras{}, err
	}
	out.APNS, more.silent, err = apns(p.APNs)
	if err != nil {
		return nil, extras{}, err
	}
	out.Webpush, err = webpush(p.WebPush)
	if err != nil {
		return nil, extras{}, err
	}
	if p.Title != "" || p.Body != "" || p.Image != "" {
		out.Notification = &messaging.Notification{Title: p.Title, Body: p.Body, ImageURL: p.Image}
	}
	iphone(out, p.Image)
	collapse(out, p.CollapseKey, m.ID)
	prioritise(out, p.Priority)
	if m.ExpiresAt != nil {
		expire(out, *m.ExpiresAt, now)
	}
	return out, more, nil
}

func address(out *messaging.Message, m *notify.Message) error {
	switch m.RecipientType {
	case "", notify.RecipientFCM:
		out.Token = m.Address
	case notify.RecipientTopic:
		out.Topic = m.Address
	case notify.RecipientCondition:
		out.Condition = m.Address
	default:
		return errors.New("recipient_type must be fcm, topic or condition for this gateway")
	}
	return nil
}

// collapse makes no notification of a message that only carries data: an empty block would.
func collapse(out *messaging.Message, key, id string) {
	unique := key
	if unique == "" {
		unique = id
	}
	if out.Notification != nil && out.Android.Notification == nil {
		out.Android.Notification = &messaging.AndroidNotification{}
	}
	if n := out.Android.Notification; n != nil && n.Tag == "" {
		n.Tag = unique
	}
	out.APNS.Headers = with(out.APNS.Headers, "apns-collapse-id", fitted(unique, 64))
	if key == "" {
		return
	}
	if out.Android.CollapseKey == "" {
		out.Android.CollapseKey = key
	}
	out.Webpush.Headers = with(out.Webpush.Headers, "Topic", topic(key))
}

func prioritise(out *messaging.Message, priority string) {
	if priority == "" {
		return
	}
	if out.Android.Priority == "" {
		out.Android.Priority = priority
	}
	out.Webpush.Headers = with(out.Webpush.Headers, "Urgency", priority)
	switch {
	case priority != "high":
		out.APNS.Headers = with(out.APNS.Headers, "apns-priority", "5")
	case out.Notification != nil: // APNs refuses 10 for a message that shows nothing
		out.APNS.Headers = with(out.APNS.Headers, "apns-priority", "10")
	}
}

func expire(out *messaging.Message, at, now time.Time) {
	ttl := min(max(at.Sub(now), 0), maxTTL).Truncate(time.Second)
	if out.Android.TTL == nil {
		out.Android.TTL = &ttl
	}
	out.APNS.Headers = with(out.APNS.Headers, "apns-expiration", strconv.FormatInt(at.Unix(), 10))
	out.Webpush.Headers = with(out.Webpush.Headers, "TTL", strconv.FormatInt(int64(ttl/time.Second), 10))
}

// with adds a header that the caller has not set, in whatever case.
func with(headers map[string]string, name, value string) map[string]string {
	for set := range headers {
		if strings.EqualFold(set, name) {
			return headers
		}
	}
	if value == "" {
		return headers
	}
	if headers == nil {
		headers = map[string]string{}
	}
	headers[name] = value
	return headers
}

// fitted gives key, or a name of it that fits into n bytes.
func fitted(key string, n int) string {
	if len(key) <= n {
		return key
	}
	return name(key)
}

// topics is what a Web Push topic may be (RFC 8030 §5.4).
var topics = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func topic(key string) string {
	if topics.MatchString(key) {
		return key
	}
	return name(key)
}

// name gives 32 characters that differ when keys do.
func name(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}
