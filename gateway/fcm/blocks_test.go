package fcm

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
)

func TestBlocks_ArriveComplete(t *testing.T) {
	for given, want := range map[string]string{
		``:     `{}`,
		`null`: `{}`,
		`{}`:   `{}`,
		`{"ttl":"0.050s","direct_boot_ok":true,"restricted_package_name":"p"}`:                                                               `{"ttl":"0.050000000s","direct_boot_ok":true,"restricted_package_name":"p"}`,
		`{"ttl":"86400s","data":{"a":"b"},"fcm_options":{"analytics_label":"l"}}`:                                                            `{"ttl":"86400s","data":{"a":"b"},"fcm_options":{"analytics_label":"l"}}`,
		`{"ttl":"1.000s","priority":"HIGH"}`:                                                                                                 `{"ttl":"1s","priority":"high"}`,
		`{"direct_boot_ok":false,"notification":{"sticky":false,"title_loc_args":[]}}`:                                                       `{"notification":{}}`,
		`{"notification":{"event_time":"2026-05-01T12:00:00+02:00"}}`:                                                                        `{"notification":{"event_time":"2026-05-01T10:00:00.000000000Z"}}`,
		`{"notification":{"vibrate_timings":["0.25s","1s"],"notification_count":0}}`:                                                         `{"notification":{"vibrate_timings":["0.250000000s","1s"],"notification_count":0}}`,
		`{"notification":{"notification_priority":"PRIORITY_MAX","visibility":"SECRET","proxy":"DENY"}}`:                                     `{"notification":{"notification_priority":"PRIORITY_MAX","visibility":"SECRET","proxy":"DENY"}}`,
		`{"notification":{"light_settings":{"color":{"red":0,"green":0.02,"blue":1},"light_on_duration":"3.5s","light_off_duration":"1s"}}}`: `{"notification":{"light_settings":{"color":{"red":0,"green":0.0196078431372549,"blue":1,"alpha":1},"light_on_duration":"3.500000000s","light_off_duration":"1s"}}}`,
	} {
		config, _, err := android([]byte(given))
		require.NoError(t, err, given)
		got, err := json.Marshal(config)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
	for given, want := range map[string]string{
		`{"headers":{"apns-priority":"5"},"payload":{"aps":{"alert":"hi","sound":"default","content-available":1}}}`:  "",
		`{"payload":{"aps":{"alert":{"title":"t","loc-args":["a"]},"sound":{"critical":1,"name":"n","volume":0.5}}}}`: "",
		`{"payload":{"aps":{"content-available":0,"badge":0},"own":{"a":[null,1.0]}}}`:                                "",
		`{"payload":{"aps":{"sound":{"critical":0,"name":"n"}}}}`:                                                     `{"payload":{"aps":{"sound":{"name":"n"}}}}`,
		`{"payload":{"own":1}}`: `{"payload":{"own":1,"aps":{}}}`,
		`{"fcm_options":{"image":"https://a.example/1.png"},"live_activity_token":"t"}`: "",
	} {
		config, _, err := apns([]byte(given))
		require.NoError(t, err, given)
		got, err := json.Marshal(config)
		require.NoError(t, err)
		if want == "" {
			want = given
		}
		require.JSONEq(t, want, string(got))
	}
}

func TestBlocks_UnknownFieldsAreRefused(t *testing.T) {
	for given, path := range map[string]string{
		`{"collapseKey":"k"}`:                                 "payload.android.collapseKey",
		`{"Collapse_Key":"k"}`:                                "payload.android.Collapse_Key",
		`{"tomorrow":true}`:                                   "payload.android.tomorrow",
		`{"bandwidth_constrained_ok":5}`:                      "payload.android.bandwidth_constrained_ok must be true or false",
		`{"notification":{"sound":"s","colour":"x"}}`:         "payload.android.notification.colour",
		`{"notification":{"bypass_proxy_notification":true}}`: "payload.android.notification.bypass_proxy_notification",
		`{"notification":{"vibrate_timings":["0.0001s"]}}`:    "payload.android.notification.vibrate_timings[0]",
		`{"ttl":"soon gwsecret"}`:                             `payload.android.ttl must be seconds`,
		`{"ttl":"-5s"}`:                                       `payload.android.ttl must be seconds`,
		`{"ttl":5}`:                                           "payload.android has a value of the wrong type",
		`{"priority":5}`:                                      "payload.android has a value of the wrong type",
		`{"notification":"gwsecret"}`:                         "payload.android has a value of the wrong type",
		`{"notification":{"visibility":"gwsecret"}}`:          "payload.android has a value of the wrong type",
		`{"notification":{"event_time":"gwsecret"}}`:          "payload.android.notification.event_time must be an RFC 3339 time",
		`{"notification":{"vibrate_timings":[5]}}`:            "payload.android.notification.vibrate_timings[0] must be seconds",
		`{"notification":{"light_settings":{}}}`:              "payload.android.notification.light_settings must have a color",
		`{"notification":{"light_settings":{"color":{"red":2},"light_on_duration":"1s","light_off_duration":"1s"}}}`:      "between 0 and 1",
		`{"notification":{"light_settings":{"color":{"red":1},"light_on_duration":"1s"}}}`:                                "light_off_duration",
		`{"notification":{"light_settings":{"color":{"red":1},"light_on_duration":"1s","light_off_duration":"0.0001s"}}}`: "whole milliseconds",
		`{"notification":{"light_settings":{"color":{"rot":1}}}}`:                                                         "must have a color",
		`["gwsecret"]`:          "payload.android must be a JSON object",
		`{} {}`:                 "payload.android must be a JSON object",
		`{"gwsecret word":"x"}`: "payload.android would not reach FCM",
	} {
		_, _, err := android([]byte(given))
		require.ErrorContains(t, err, path, given)
		require.NotContains(t, err.Error(), "gwsecret")
	}
	for given, path := range map[string]string{
		`{"payload":{"aps":{"alert":{"title":"t","colour":"x"}}}}`: "payload.apns.payload.aps.alert.colour",
		// the SDK reads numbers as float64
		`{"payload":{"aps":{},"large":12345678901234567}}`: "payload.apns.payload.large",
		`{"payload":{"aps":{"mutable-content":true}}}`:     "payload.apns has a value of the wrong type",
		`{"Headers":{"a":"b"}}`:                            "payload.apns.Headers",
	} {
		_, _, err := apns([]byte(given))
		require.ErrorContains(t, err, path, given)
	}
	for given, path := range map[string]string{
		`{"fcm_options":{"link":"https://a.example","analytics_label":"l"}}`: "payload.webpush.fcm_options.analytics_label",
		`{"notification":{"actions":[{"action":"a","colour":"x"}]}}`:         "payload.webpush.notification.actions[0].colour",
		`{"data":{"k":1}}`: "payload.webpush has a value of the wrong type",
	} {
		_, err := webpush([]byte(given))
		require.ErrorContains(t, err, path, given)
	}
}

// FuzzBlocks: no block causes a panic, not even in a goroutine of the SDK, which would end the process.
func FuzzBlocks(f *testing.F) {
	f.Add(`{"ttl":"3.5s","notification":{"light_settings":{"color":{"red":0.1},"light_on_duration":"1s","light_off_duration":"0s"}}}`)
	f.Add(`{"notification":{"event_time":"2026-05-01T12:00:00Z","vibrate_timings":["1s"],"notification_count":3}}`)
	f.Add(`{"payload":{"aps":{"alert":{"title":"t"},"sound":{"critical":1}},"own":1e300}}`)
	f.Add(`{"headers":{"TTL":"5"},"notification":{"actions":[null],"timestamp":5,"silent":false},"CustomData":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		m := gatewaytest.Push(1)
		m.Push.Android = []byte(text)
		m.Push.APNs = nil
		m.Push.WebPush = nil
		for range 3 {
			if out, more, err := build(m, noon); err == nil {
				_, _ = written(out, more) // may refuse, must not panic
			}
			push := *m.Push
			m.Push.Android = push.WebPush
			m.Push.APNs = push.Android
			m.Push.WebPush = push.APNs
		}
	})
}
