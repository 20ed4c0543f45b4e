package apns

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const id = "0190163d-8694-739b-aea5-966c26f8ad91"

// built returns the request of a message that expires at 2026-05-01 12:01:30.5 UTC.
func built(p notify.Push) (*message, *notify.Failure) {
	m, at := push(1), time.Date(2026, 5, 1, 12, 1, 30, 5e8, time.UTC)
	m.Push = &p
	m.ExpiresAt = &at
	m.ID = id
	return (&Sender{topic: "com.example.app"}).build(m)
}

func TestPayload_Fields(t *testing.T) {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for name, c := range map[string]struct {
		push notify.Push
		want string
	}{
		"text":                   {notify.Push{Title: "t", Body: "Grüße <👋> & \"b\""}, `{"aps":{"alert":{"title":"t","body":"Grüße <👋> & \"b\""}}}`},
		"title alone":            {notify.Push{Title: "t"}, `{"aps":{"alert":{"title":"t"}}}`},
		"data":                   {notify.Push{Body: "b", Data: map[string]string{"order": "42"}}, `{"aps":{"alert":{"body":"b"}},"order":"42"}`},
		"data alone":             {notify.Push{Data: map[string]string{"order": "42"}}, `{"aps":{"content-available":1},"order":"42"}`},
		"image":                  {notify.Push{Body: "b", Image: "https://a.example/1.png"}, `{"aps":{"alert":{"body":"b"},"mutable-content":1},"fcm_options":{"image":"https://a.example/1.png"}}`},
		"image of the block":     {notify.Push{Body: "b", Image: "https://a.example/1", APNs: raw(`{"fcm_options":{"image":"https://a.example/2"}}`)}, `{"aps":{"alert":{"body":"b"},"mutable-content":1},"fcm_options":{"image":"https://a.example/2"}}`},
		"block wins":             {notify.Push{Title: "t", Body: "b", Data: map[string]string{"k": "v", "l": "w"}, APNs: raw(`{"payload":{"aps":{"alert":{"title":"mine","subtitle":"s"},"badge":0},"k":[1,2.50,12345678901234567]}}`)}, `{"aps":{"alert":{"title":"mine","subtitle":"s","body":"b"},"badge":0},"k":[1,2.50,12345678901234567],"l":"w"}`},
		"text as alert":          {notify.Push{Body: "b", APNs: raw(`{"payload":{"aps":{"alert":"mine"}}}`)}, `{"aps":{"alert":"mine"}}`},
		"text as alert, a title": {notify.Push{Title: "t", Body: "b", APNs: raw(`{"payload":{"aps":{"alert":"mine"}}}`)}, `{"aps":{"alert":{"title":"t","body":"mine"}}}`},
		"localised":              {notify.Push{Title: "t", Body: "b", APNs: raw(`{"payload":{"aps":{"alert":{"title-loc-key":"T","loc-key":"B"}}}}`)}, `{"aps":{"alert":{"title-loc-key":"T","loc-key":"B"}}}`},
		"null is absent":         {notify.Push{Body: "b", APNs: raw(`{"headers":null,"payload":{"aps":{"alert":null,"badge":null},"k":null}}`)}, `{"aps":{"alert":{"body":"b"}},"k":null}`},
		"newer than this code":   {notify.Push{Body: "b", APNs: raw(`{"payload":{"aps":{"interruption-level":"time-sensitive","relevance-score":0.50}}}`)}, `{"aps":{"alert":{"body":"b"},"interruption-level":"time-sensitive","relevance-score":0.50}}`},
		"background by block":    {notify.Push{APNs: raw(`{"payload":{"aps":{"content-available":1}}}`)}, `{"aps":{"content-available":1}}`},
		"another type":           {notify.Push{APNs: raw(`{"headers":{"apns-push-type":"voip"},"payload":{"call":"1"}}`)}, `{"aps":{},"call":"1"}`},
		"other platforms":        {notify.Push{Body: "b", Android: raw(`{"ttl":"1s"}`), WebPush: raw(`{}`)}, `{"aps":{"alert":{"body":"b"}}}`},
	} {
		m, refused := built(c.push)
		require.Nil(t, refused, name)
		require.JSONEq(t, c.want, string(m.payload), name)
		for _, number := range []string{"12345678901234567", "0.50"} {
			if strings.Contains(c.want, number) {
				require.Contains(t, string(m.payload), number, "numbers stay as they were written")
			}
		}
		require.NotContains(t, string(m.payload), `\u003c`, name)
	}
}

func TestHeaders_OfMessage(t *testing.T) {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	usual := func(change map[string]string) http.Header {
		h := http.Header{
			"Apns-Topic": {"com.example.app"}, "Apns-Push-Type": {"alert"}, "Apns-Collapse-Id": {id}, "Apns-Expiration": {"1777636890"}, "Apns-Id": {id},
		}
		for name, value := range change {
			h.Set(name, value)
		}
		return h
	}
	for name, c := range map[string]struct {
		push notify.Push
		want http.Header
	}{
		"usual":         {notify.Push{Body: "b"}, usual(nil)},
		"high":          {notify.Push{Body: "b", Priority: "high"}, usual(map[string]string{"apns-priority": "10"})},
		"normal":        {notify.Push{Body: "b", Priority: "normal"}, usual(map[string]string{"apns-priority": "5"})},
		"key":           {notify.Push{Body: "b", CollapseKey: "score of the day"}, usual(map[string]string{"apns-collapse-id": "score of the day"})},
		"long key":      {notify.Push{Body: "b", CollapseKey: strings.Repeat("k", 65)}, usual(map[string]string{"apns-collapse-id": shortened(strings.Repeat("k", 65))})},
		"other letters": {notify.Push{Body: "b", CollapseKey: "größe"}, usual(map[string]string{"apns-collapse-id": shortened("größe")})},
		"background": {
			notify.Push{Data: map[string]string{"k": "v"}, Priority: "high"}, usual(map[string]string{"apns-push-type": "background", "apns-priority": "5"}),
		},
		"badge alone": {notify.Push{APNs: raw(`{"payload":{"aps":{"badge":0}}}`)}, usual(nil)},
		"block wins": {
			notify.Push{Body: "b", Priority: "high", CollapseKey: "key", APNs: raw(`{"headers":{"APNS-Priority":"1","apns-expiration":"0","Apns-Collapse-Id":"mine","apns-topic":"com.example.app.voip","apns-push-type":"voip","apns-id":"0190163D-8694-739B-AEA5-966C26F8AD92"}}`)},
			http.Header{
				"Apns-Topic": {"com.example.app.voip"}, "Apns-Push-Type": {"voip"}, "Apns-Priority": {"1"}, "Apns-Expiration": {"0"},
				"Apns-Collapse-Id": {"mine"}, "Apns-Id": {"0190163d-8694-739b-aea5-966c26f8ad92"},
			},
		},
	} {
		m, refused := built(c.push)
		require.Nil(t, refused, name)
		require.Equal(t, c.want, m.header, name)
		require.LessOrEqual(t, len(m.header.Get("apns-collapse-id")), maxCollapse)
		require.Equal(t, name == "block wins", m.ownTopic)
	}
	require.NotEqual(t, shortened(strings.Repeat("k", 65)), shortened(strings.Repeat("k", 66)))
	m := push(1)
	m.ExpiresAt, m.ID = nil, "no uuid"
	r, _ := (&Sender{topic: "a"}).build(m)
	require.NotContains(t, r.header, "Apns-Expiration")
	require.NotContains(t, r.header, "Apns-Id")
}

// TestHeaders_TopicAndPushType: each follows from the other.
func TestHeaders_TopicAndPushType(t *testing.T) {
	for _, c := range []struct{ gateway, headers, topic, kind, payload string }{
		{"com.example.app", ``, "com.example.app", "background", `{"aps":{"content-available":1},"k":"v"}`},
		{"com.example.app", `"apns-push-type":"voip"`, "com.example.app.voip", "voip", `{"aps":{},"k":"v"}`},
		{"com.example.app", `"apns-push-type":"liveactivity"`, "com.example.app.push-type.liveactivity", "liveactivity", `{"aps":{},"k":"v"}`},
		{"com.example.app", `"apns-push-type":"pushtotalk"`, "com.example.app.voip-ptt", "pushtotalk", `{"aps":{},"k":"v"}`},
		{"com.example.app", `"apns-topic":"com.example.app.voip"`, "com.example.app.voip", "voip", `{"aps":{},"k":"v"}`},
		{"com.example.app", `"apns-topic":"com.example.other"`, "com.example.other", "background", `{"aps":{"content-available":1},"k":"v"}`},
		{"com.example.app.voip", ``, "com.example.app.voip", "voip", `{"aps":{},"k":"v"}`},
		{"com.example.app.voip", `"apns-push-type":"voip"`, "com.example.app.voip", "voip", `{"aps":{},"k":"v"}`},
		{"com.example.app.voip", `"apns-push-type":"background"`, "com.example.app", "background", `{"aps":{},"k":"v"}`},
		{"com.example.app.voip", `"apns-push-type":"complication"`, "com.example.app.complication", "complication", `{"aps":{},"k":"v"}`},
	} {
		m := push(1)
		m.Push = &notify.Push{Data: map[string]string{"k": "v"}, APNs: json.RawMessage(`{"headers":{` + c.headers + `}}`)}
		r, refused := (&Sender{topic: c.gateway}).build(m)
		require.Nil(t, refused)
		require.Equal(t, []string{c.topic, c.kind}, []string{r.header.Get("apns-topic"), r.header.Get("apns-push-type")}, c)
		require.JSONEq(t, c.payload, string(r.payload), c)
		require.Equal(t, c.topic != c.gateway, r.ownTopic)
	}
	for _, headers := range []string{
		`"apns-push-type":"voip","apns-topic":"com.example.app"`, `"apns-push-type":"alert","apns-topic":"com.example.app.voip"`,
		`"apns-push-type":"voip","apns-topic":"com.example.app.complication"`,
	} {
		_, refused := built(notify.Push{Body: "b", APNs: json.RawMessage(`{"headers":{` + headers + `}}`)})
		require.NotNil(t, refused, headers)
		require.Contains(t, refused.Reason, "contradict")
	}
}

func TestPayload_RefusedMessages(t *testing.T) {
	for text, want := range map[string]string{
		`["gwsecret"]`:                                                       "payload.apns must be a JSON object",
		`{"gwsecret word":1}`:                                                "payload.apns, a name in it, is not known",
		`{"Headers":{}}`:                                                     "payload.apns.Headers is not known",
		`{"headers":{"apns-priority":5}}`:                                    "payload.apns.headers must be an object of strings",
		`{"headers":{"host":"gwsecret"}}`:                                    "payload.apns.headers.host is no header",
		`{"headers":{"apns-channel-id":"gwsecret"}}`:                         "payload.apns.headers.apns-channel-id is no header",
		`{"headers":{"apns-id":"gwsecret"}}`:                                 "payload.apns.headers.apns-id must be a UUID",
		`{"headers":{"apns-topic":"gwsecret topic"}}`:                        "payload.apns.headers.apns-topic must be a bundle id",
		`{"headers":{"apns-topic":""}}`:                                      "payload.apns.headers.apns-topic must be ASCII",
		`{"headers":{"apns-priority":"5","APNS-Priority":"5"}}`:              "payload.apns.headers.apns-priority is given twice",
		`{"headers":{"apns-collapse-id":"` + strings.Repeat("k", 65) + `"}}`: "must have at most 64 bytes",
		`{"payload":["gwsecret"]}`:                                           "payload.apns.payload must be a JSON object",
		`{"payload":{"aps":"gwsecret"}}`:                                     "payload.apns.payload.aps must be a JSON object",
		`{"fcm_options":{"analytics_label":"gwsecret"}}`:                     "payload.apns.fcm_options.analytics_label is for FCM",
		`{"fcm_options":{"image":["gwsecret"]}}`:                             "payload.apns.fcm_options.image must be a string",
		`{"fcm_options":5}`:                                                  "payload.apns.fcm_options must be a JSON object",
	} {
		_, refused := built(notify.Push{Body: "b", APNs: json.RawMessage(text)})
		require.NotNil(t, refused, text)
		require.Equal(t, notify.Permanent, refused.Verdict)
		require.False(t, refused.Gone)
		require.Contains(t, refused.Reason, want)
		require.NotContains(t, refused.Reason, "gwsecret")
	}
	for want, p := range map[string]notify.Push{
		"nothing for Apple's devices":     {Android: json.RawMessage(`{}`), APNs: json.RawMessage(`{"headers":{"apns-priority":"5"}}`)},
		"payload.data.aps cannot":         {Data: map[string]string{"aps": "v"}},
		"payload.data.fcm_options cannot": {Data: map[string]string{"fcm_options": "v"}},
		"payload.image needs a title":     {Image: "https://a.example/1.png"},
	} {
		_, refused := built(p)
		require.NotNil(t, refused, want)
		require.Contains(t, refused.Reason, want)
	}
}

// TestHeaders_HostileTokens: they are refused before a request is made, so that none becomes part of a path.
func TestHeaders_HostileTokens(t *testing.T) {
	long := strings.Repeat("5ec4e7", 11)
	for _, token := range []string{
		"", long[:62], long + "0", strings.Repeat("5ec4e7", 34), "../../3/device/" + long, long + "/../x", long + "%2e%2e%2f",
		long + "\r\napns-topic: x", long + "\n", long + "?a#b", long + " ", "<" + long + ">", long + "é",
	} {
		m := push(1)
		m.Address = token
		r, refused := (&Sender{topic: "com.example.app"}).build(m)
		require.Nil(t, r, token)
		require.Equal(t, notify.Failure{Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonBadRecipient}, *refused)
	}
}

// TestPayload_Largest: the limit applies to the bytes that are sent.
func TestPayload_Largest(t *testing.T) {
	const frame = len(`{"aps":{"alert":{"body":""}}}`)
	m, refused := built(notify.Push{Body: strings.Repeat("<", maxPayload-frame)})
	require.Nil(t, refused)
	require.Len(t, m.payload, maxPayload)
	_, refused = built(notify.Push{Body: strings.Repeat("<", maxPayload-frame+1)})
	require.Equal(t, notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonTooLarge}, *refused)
}

func TestNew_NamesFaults(t *testing.T) {
	good := section(&fake{URL: "https://apns.example.com", KeyFile: newProvider(t).file})
	for field, change := range map[string]func(*config.APNs){
		"team_id":     func(c *config.APNs) { c.TeamID = "acme" },
		"key_id":      func(c *config.APNs) { c.KeyID = "AuthKey_ABC123DEFG.p8" },
		"key_file":    func(c *config.APNs) { c.KeyFile = "no-such-file.p8" },
		"topic":       func(c *config.APNs) { c.Topic = "com.example.app\r\n" },
		"environment": func(c *config.APNs) { c.Environment = "development" },
		"endpoint":    func(c *config.APNs) { c.Endpoint = "http://apns.example.com" },
	} {
		cfg := good
		change(&cfg)
		_, err := New("apples", cfg)
		require.ErrorContains(t, err, "gateways.apples."+field)
		require.NotContains(t, err.Error(), "\n", "one fault, one line")
	}
	for environment, host := range map[string]string{"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"} {
		cfg := good
		cfg.Endpoint, cfg.Environment = "", environment
		s, err := New("apples", cfg)
		require.NoError(t, err)
		require.Equal(t, "https://"+host, s.base.String())
	}
	_, err := New("apples", config.APNs{})
	require.Len(t, strings.Split(err.Error(), "\n"), 5, "all faults at once")
}
