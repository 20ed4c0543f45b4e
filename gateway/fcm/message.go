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

// maxTTL is how long FCM keeps a message for a device that is offline.
const maxTTL = 28 * 24 * time.Hour

// build returns FCM's message for m, and the fields that the SDK cannot write. Fields of the platform blocks are kept. Missing fields
// come from the common fields, and the TTL from the time until the notification expires.
//
// A repeated message (FCM may have accepted one that it answered with an error) replaces the first one on the device: the collapse
// key, or else the notification's ID, is its Android tag and apns-collapse-id. The ID does not become an Android collapse_key or a
// Web Push topic: these choose the messages that an offline device gets later, and FCM keeps only four of them.
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

// collapse returns nil for a message that only carries data: an empty block would make it a notification.
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
	out.APNS.Headers = withHeader(out.APNS.Headers, "apns-collapse-id", shortened(unique, 64))
	if key == "" {
		return
	}
	if out.Android.CollapseKey == "" {
		out.Android.CollapseKey = key
	}
	out.Webpush.Headers = withHeader(out.Webpush.Headers, "Topic", topic(key))
}

func prioritise(out *messaging.Message, priority string) {
	if priority == "" {
		return
	}
	if out.Android.Priority == "" {
		out.Android.Priority = priority
	}
	out.Webpush.Headers = withHeader(out.Webpush.Headers, "Urgency", priority)
	switch {
	case priority != "high":
		out.APNS.Headers = withHeader(out.APNS.Headers, "apns-priority", "5")
	case out.Notification != nil: // APNs refuses 10 for a message that shows nothing
		out.APNS.Headers = withHeader(out.APNS.Headers, "apns-priority", "10")
	}
}

func expire(out *messaging.Message, at, now time.Time) {
	ttl := min(max(at.Sub(now), 0), maxTTL).Truncate(time.Second)
	if out.Android.TTL == nil {
		out.Android.TTL = &ttl
	}
	out.APNS.Headers = withHeader(out.APNS.Headers, "apns-expiration", strconv.FormatInt(at.Unix(), 10))
	out.Webpush.Headers = withHeader(out.Webpush.Headers, "TTL", strconv.FormatInt(int64(ttl/time.Second), 10))
}

// withHeader adds a header that the caller has not set, in any case of its name.
func withHeader(headers map[string]string, name, value string) map[string]string {
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

// shortened returns key, or a replacement for it that fits into n bytes.
func shortened(key string, n int) string {
	if len(key) <= n {
		return key
	}
	return shortHash(key)
}

// webPushTopics matches Web Push topics (RFC 8030 §5.4).
var webPushTopics = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func topic(key string) string {
	if webPushTopics.MatchString(key) {
		return key
	}
	return shortHash(key)
}

// shortHash returns 32 characters that differ for different keys.
func shortHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}
