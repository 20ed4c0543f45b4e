package fcm

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestMessage_IPhone: the fields that Apple devices need in addition to FCM's common fields.
func TestMessage_IPhone(t *testing.T) {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	data := map[string]string{"a": "1"}
	const background = `"apns-push-type":"background","apns-priority":"5","apns-collapse-id":"id","apns-expiration":"1777636890"`
	const usual = `"apns-collapse-id":"id","apns-expiration":"1777636890"`
	for name, c := range map[string]struct {
		push notify.Push
		want string
	}{
		"data alone":         {notify.Push{Data: data}, `{"headers":{` + background + `},"payload":{"aps":{"content-available":1}}}`},
		"data alone, normal": {notify.Push{Data: data, Priority: "normal"}, `{"headers":{` + background + `},"payload":{"aps":{"content-available":1}}}`},
		"data alone, high":   {notify.Push{Data: data, Priority: "high"}, `{"headers":{` + background + `},"payload":{"aps":{"content-available":1}}}`},
		"own keys alone":     {notify.Push{APNs: raw(`{"payload":{"own":"1"}}`)}, `{"headers":{` + background + `},"payload":{"own":"1","aps":{"content-available":1}}}`},
		"data, a badge":      {notify.Push{Data: data, APNs: raw(`{"payload":{"aps":{"badge":0}}}`)}, `{"headers":{` + usual + `},"payload":{"aps":{"badge":0}}}`},
		"data, a voip push":  {notify.Push{Data: data, APNs: raw(`{"headers":{"apns-push-type":"voip"}}`)}, `{"headers":{"apns-push-type":"voip",` + usual + `}}`},
		"data, a voip topic": {notify.Push{Data: data, APNs: raw(`{"headers":{"apns-topic":"com.example.app.voip"}}`)}, `{"headers":{"apns-topic":"com.example.app.voip","apns-push-type":"voip",` + usual + `}}`},
		"a live activity":    {notify.Push{Data: data, APNs: raw(`{"live_activity_token":"t","payload":{"aps":{"event":"update"}}}`)}, `{"headers":{` + usual + `},"payload":{"aps":{"event":"update"}},"live_activity_token":"t"}`},
		"Android alone":      {notify.Push{Android: raw(`{"notification":{"title":"t"}}`)}, `{"headers":{` + usual + `}}`},
		"data alone, as the caller has set it": {
			notify.Push{Data: data, APNs: raw(`{"payload":{"aps":{"content-available":0}}}`)},
			`{"headers":{` + background + `},"payload":{"aps":{"content-available":0}}}`,
		},
		"an image, as the caller has set it": {
			notify.Push{Title: "t", Image: "https://a.example/1.png", APNs: raw(`{"payload":{"aps":{"mutable-content":0}}}`)},
			`{"headers":{` + usual + `},"payload":{"aps":{"mutable-content":0}},"fcm_options":{"image":"https://a.example/1.png"}}`,
		},
		"an image": {
			notify.Push{Title: "t", Body: "b", Image: "https://a.example/1.png"},
			`{"headers":{` + usual + `},"payload":{"aps":{"mutable-content":1}},"fcm_options":{"image":"https://a.example/1.png"}}`,
		},
		"an image of the block": {
			notify.Push{Title: "t", Image: "https://a.example/1.png", APNs: raw(`{"fcm_options":{"image":"https://a.example/2.png"}}`)},
			`{"headers":{` + usual + `},"payload":{"aps":{"mutable-content":1}},"fcm_options":{"image":"https://a.example/2.png"}}`,
		},
		"the block wins": {
			notify.Push{Data: data, APNs: raw(`{"headers":{"APNS-Push-Type":"background","Apns-Priority":"1"},"payload":{"aps":{"content-available":1}}}`)},
			`{"headers":{"APNS-Push-Type":"background","Apns-Priority":"1",` + usual + `},"payload":{"aps":{"content-available":1}}}`,
		},
		"a silent critical alert": {
			notify.Push{Title: "t", APNs: raw(`{"payload":{"aps":{"sound":{"critical":1,"name":"n","volume":0.0}}}}`)},
			`{"headers":{` + usual + `},"payload":{"aps":{"sound":{"critical":1,"name":"n","volume":0}}}}`,
		},
	} {
		require.JSONEq(t, c.want, built(t, "apns", c.push), name)
	}
}

// TestMessage_FieldsBesideSDK: fields that the SDK does not write still reach FCM.
func TestMessage_FieldsBesideSDK(t *testing.T) {
	f := fcmtest.New(t, false)
	m := gatewaytest.Push(1)
	m.Push.Android = json.RawMessage(`{"bandwidth_constrained_ok":true,"restricted_satellite_ok":true,"priority":"HIGH"}`)
	m.Push.APNs = json.RawMessage(`{"payload":{"aps":{"sound":{"critical":1,"name":"n","volume":0}}}}`)
	s := sender(t, f, section(f))
	defer s.Close()
	_, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	text := string(f.Accepted()[0])
	for _, want := range []string{`"bandwidth_constrained_ok":true`, `"restricted_satellite_ok":true`, `"priority":"high"`, `"volume":0`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, built(t, "android", notify.Push{Title: "t", Android: json.RawMessage(`{"restricted_satellite_ok":false}`)}), "satellite")
	_, _, err = android([]byte(`{"bandwidth_constrained_ok":"gwsecret"}`))
	require.EqualError(t, err, "payload.android.bandwidth_constrained_ok must be true or false")
}
