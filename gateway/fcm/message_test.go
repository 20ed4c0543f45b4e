package fcm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// written returns the message as FCM gets it.
func written(m *messaging.Message, more extras) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return more.add(text)
}

// built returns a part of FCM's JSON of a message that expires a minute and a half after noon.
func built(t *testing.T, part string, p notify.Push) string {
	t.Helper()
	m, at := gatewaytest.Push(1), noon.Add(90500*time.Millisecond)
	m.Push = &p
	m.ExpiresAt = &at
	m.ID = "id"
	out, more, err := build(m, noon)
	require.NoError(t, err)
	text, err := written(out, more)
	require.NoError(t, err)
	var parts map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &parts))
	return string(parts[part])
}

func TestMessage_Defaults(t *testing.T) {
	p := notify.Push{Title: "t"}
	require.JSONEq(t, `{"ttl": "90s", "notification": {"tag": "id"}}`, built(t, "android", p))
	require.JSONEq(t, `{"headers": {"apns-expiration": "1777636890", "apns-collapse-id": "id"}}`, built(t, "apns", p))
	require.JSONEq(t, `{"headers": {"TTL": "90"}}`, built(t, "webpush", p))
}

func TestMessage_DataAloneShowsNothing(t *testing.T) {
	p := notify.Push{Data: map[string]string{"k": "v"}, Priority: "high"}
	require.JSONEq(t, `{"ttl": "90s", "priority": "high"}`, built(t, "android", p))
	require.Contains(t, built(t, "apns", p), `"apns-priority":"5"`)
	require.Empty(t, built(t, "notification", p))
}

func TestMessage_Priority(t *testing.T) {
	p := notify.Push{Title: "t", Priority: "normal"}
	require.Contains(t, built(t, "android", p), `"priority":"normal"`)
	require.Contains(t, built(t, "apns", p), `"apns-priority":"5"`)
	require.Contains(t, built(t, "webpush", p), `"Urgency":"normal"`)
}

func TestMessage_CallerFieldsAreKept(t *testing.T) {
	p := notify.Push{
		Title: "t", Priority: "high", CollapseKey: "key",
		Android: json.RawMessage(`{"ttl":"5s","priority":"NORMAL","collapse_key":"mine","notification":{"tag":"mine"}}`),
		APNs:    json.RawMessage(`{"headers":{"APNS-Priority":"1","apns-expiration":"0","Apns-Collapse-Id":"mine"}}`),
		WebPush: json.RawMessage(`{"headers":{"TTL":"5","urgency":"low","topic":"mine"}}`),
	}
	require.JSONEq(t, `{"ttl":"5s","priority":"normal","collapse_key":"mine","notification":{"tag":"mine"}}`, built(t, "android", p))
	require.JSONEq(t, string(p.APNs), built(t, "apns", p))
	require.JSONEq(t, string(p.WebPush), built(t, "webpush", p))
}

// TestMessage_LongKeys: each platform has its own limit, and different keys stay different.
func TestMessage_LongKeys(t *testing.T) {
	long := strings.Repeat("é", 60)
	apns, web := built(t, "apns", notify.Push{CollapseKey: long}), built(t, "webpush", notify.Push{CollapseKey: long})
	require.Regexp(t, `"apns-collapse-id":"[A-Za-z0-9_-]{32}"`, apns)
	require.Regexp(t, `"Topic":"[A-Za-z0-9_-]{32}"`, web)
	require.NotEqual(t, apns, built(t, "apns", notify.Push{CollapseKey: long + "x"}))
	require.Regexp(t, `"Topic":"[A-Za-z0-9_-]{32}"`, built(t, "webpush", notify.Push{CollapseKey: "a b"}))
	require.Contains(t, built(t, "apns", notify.Push{CollapseKey: "a b"}), `"apns-collapse-id":"a b"`)
}

func TestMessage_TTLWithinLimits(t *testing.T) {
	for remains, want := range map[time.Duration]string{
		-time.Minute: `"ttl":"0s"`, 999 * time.Millisecond: `"ttl":"0s"`, 1000 * time.Hour: `"ttl":"2419200s"`,
	} {
		m, at := gatewaytest.Push(1), noon.Add(remains)
		m.ExpiresAt = &at
		out, more, err := build(m, noon)
		require.NoError(t, err)
		text, err := written(out, more)
		require.NoError(t, err)
		require.Contains(t, string(text), want)
	}
}

func TestMessage_Recipients(t *testing.T) {
	for kind, want := range map[string]string{
		"": `"token":"news"`, notify.RecipientFCM: `"token":"news"`,
		notify.RecipientTopic: `"topic":"news"`, notify.RecipientCondition: `"condition":"news"`,
	} {
		m := gatewaytest.Push(1)
		m.RecipientType, m.Address = kind, "news"
		out, more, err := build(m, noon)
		require.NoError(t, err)
		text, err := written(out, more)
		require.NoError(t, err)
		require.Contains(t, string(text), want)
	}
	for _, kind := range []string{notify.RecipientAPNs, notify.RecipientWebPush} {
		m := gatewaytest.Push(1)
		m.RecipientType = kind
		_, _, err := build(m, noon)
		require.ErrorContains(t, err, "recipient_type")
	}
}
