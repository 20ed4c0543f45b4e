package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const httpSection = `
gateways:
  api:
    type: http
    url: https://api.example.com/v1/{{path .id}}
    headers: {X-API-Version: "2", Idempotency-Key: "{{.id}}", X-Note: "a  b"}
    body: |
      {"to": {{json .address}},
       "text":  {{json .sms.body}}}
    token: hunter2
    from: ACME
    signing: {secret: hunter2, header: X-Signature, timestamp_header: X-Timestamp}
    success: {status: [200, "2xx"], path: /messages/0/status, values: ["0"]}
    id_path: /messages/0/id
    code_path: /error~1code
    rules:
      - {status: 400, code: ["21610", opted-out], verdict: gone, reason: opted_out}
      - {status: [409, 5xx], verdict: transient}
    check: {url: "https://api.example.com/v1/account"}
channels: {sms: {gateways: [api]}}`

func TestHTTPSection(t *testing.T) {
	g := mustLoad(t, httpSection).Gateways["api"]
	h := g.HTTP
	require.Equal(t, map[string]string{"X-API-Version": "2", "Idempotency-Key": "{{.id}}", "X-Note": "a  b"}, h.Headers, "names are as they were written")
	require.Equal(t, "{\"to\": {{json .address}},\n \"text\":  {{json .sms.body}}}\n", h.Body)
	require.Equal(t, Statuses{"200", "2xx"}, h.Success.Status)
	require.Equal(t, []HTTPRule{
		{Status: Statuses{"400"}, Code: []string{"21610", "opted-out"}, Verdict: "gone", Reason: "opted_out"},
		{Status: Statuses{"409", "5xx"}, Verdict: "transient"},
	}, h.Rules)
	require.Equal(t, HTTPCheck{Method: "GET", URL: "https://api.example.com/v1/account"}, h.Check)
	require.Equal(t, "sha256", h.Signing.Algorithm)
	require.Equal(t, []string{"fcm", "topic", "condition"}, h.RecipientTypes)
	require.Equal(t, "https://api.example.com", h.Base())
	require.Equal(t, 8*time.Second, g.Timeout())
	require.True(t, g.HasSender())
	require.True(t, g.Serves("email") && g.Serves("sms") && g.Serves("push"))
	require.Empty(t, h.Faults("gateways.api"))
}

func TestHTTPPrintLoadsAgain(t *testing.T) {
	c := mustLoad(t, httpSection)
	text := c.Print()
	require.NotContains(t, text, "hunter2")
	again := mustLoad(t, strings.ReplaceAll(text, "'***'", "hunter2"))
	require.Equal(t, text, again.Print())
	require.Equal(t, c.Gateways["api"].HTTP.Body, again.Gateways["api"].HTTP.Body)
	require.Equal(t, c.Gateways["api"].HTTP.Headers, again.Gateways["api"].HTTP.Headers)
}

func TestHTTPFromTheEnvironmentAndFlags(t *testing.T) {
	c, err := Load(Source{
		Env: []string{
			"LAUDSPEAKER_GATEWAYS_API_TYPE=http", "LAUDSPEAKER_GATEWAYS_API_URL=https://api.example.com",
			"LAUDSPEAKER_GATEWAYS_API_HEADERS={X-API-Key: '{{secret}}'}", "LAUDSPEAKER_GATEWAYS_API_SECRET_FILE=" + writeFile(t, "hunter2\n"),
			"LAUDSPEAKER_GATEWAYS_API_RULES=[{status: 4xx, verdict: transient}]", "LAUDSPEAKER_GATEWAYS_API_SUCCESS_STATUS=200, 202",
			"LAUDSPEAKER_CHANNELS_SMS_GATEWAYS=api",
		},
		Flags: map[string]string{"gateways.api.signing.secret": "hunter2", "gateways.api.signing.header": "X-Signature"},
	})
	require.NoError(t, err)
	h := c.Gateways["api"].HTTP
	require.Equal(t, map[string]string{"X-API-Key": "{{secret}}"}, h.Headers)
	require.Equal(t, Secret("hunter2"), h.Secret)
	require.Equal(t, []HTTPRule{{Status: Statuses{"4xx"}, Verdict: "transient"}}, h.Rules)
	require.True(t, h.Success.Status.Has(202))
	require.False(t, h.Success.Status.Has(204))
	require.Equal(t, Secret("hunter2"), h.Signing.Secret)
}

func TestHTTPSender(t *testing.T) {
	for body, has := range map[string]bool{
		`{"from": {{json .from}}}`: false, `{"from": {{.from | json}}}`: false, `{"to": {{json .address}}, "from": "me"}`: true, "{{json .}}": true,
	} {
		require.Equal(t, has, Gateway{HTTP: &HTTP{Body: body}}.HasSender(), body)
	}
	require.False(t, Gateway{HTTP: &HTTP{Headers: map[string]string{"X-From": "{{.from}}"}}}.HasSender())
	require.True(t, Gateway{HTTP: &HTTP{Body: "{{json .from}}", From: "ACME"}}.HasSender())
}

// Whatever stands before the first slash is the host, and the credentials go there.
func TestHTTPBase(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.example": "https://a.example", "https://a.example:8443/x?y={{query .id}}": "https://a.example:8443", "http://[::1]:80?a": "http://[::1]:80",
		"https://a.example#b": "", "https://a.example@evil.example/": "", "https://a.example\\@evil.example/": "", "https://{{.id}}/": "",
		"https://a.example.{{.id}}/": "", "ftp://a.example/": "", "//a.example/": "", "{{.id}}": "", "https:///a": "", "https://a.example/x\n": "", "": "",
	} {
		require.Equal(t, want, (&HTTP{URL: url}).Base(), url)
	}
}
