package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShortcutEmail(t *testing.T) {
	c := mustLoad(t, "", "LAUDSPEAKER_EMAIL=smtp://user:p%40ss%2F@smtp.example.com?from=no-reply+x@acme.example&timeout=5s")
	smtp := c.Outlets(false)["email"][0].Gateway.SMTP
	require.Equal(t, "smtp.example.com", smtp.Host)
	require.Equal(t, 587, smtp.Port)
	require.Equal(t, "user", smtp.Username)
	require.Equal(t, Secret("p@ss/"), smtp.Password)
	require.Equal(t, "no-reply+x@acme.example", smtp.From)
	require.Equal(t, "mandatory", smtp.TLS)
	require.Len(t, c.Outlets(true), 1, "once one gateway is configured, the other channels are off")

	smtp = mustLoad(t, "", "LAUDSPEAKER_EMAIL=smtps://smtp.example.com").Outlets(false)["email"][0].Gateway.SMTP
	require.Equal(t, 465, smtp.Port)
	require.Equal(t, "implicit", smtp.TLS)
	smtp = mustLoad(t, "", "LAUDSPEAKER_EMAIL=smtp://[::1]:1025?tls=none").Outlets(false)["email"][0].Gateway.SMTP
	require.Equal(t, "::1", smtp.Host)
	require.Equal(t, 1025, smtp.Port)
	require.Equal(t, "none", smtp.TLS)
}

func TestShortcutSMS(t *testing.T) {
	twilio := func(url string) Twilio {
		return *mustLoad(t, "", "LAUDSPEAKER_SMS="+url).Outlets(false)["sms"][0].Gateway.Twilio
	}
	a := twilio("twilio://AC00000000000000000000000000000000:tok@?from=+14155550100")
	require.Equal(t, "AC00000000000000000000000000000000", a.AccountSID)
	require.Equal(t, Secret("tok"), a.AuthToken)
	require.Equal(t, "+14155550100", a.From)
	require.Equal(t, "https://api.twilio.com", a.BaseURL)
	require.Equal(t, "http://127.0.0.1:4010", twilio("twilio://AC00000000000000000000000000000000:tok@127.0.0.1:4010").BaseURL)
	require.Equal(t, "https://fake.example", twilio("twilio://AC00000000000000000000000000000000:tok@fake.example").BaseURL)
	require.Equal(t, "http://localhost:1", twilio("twilio://AC00000000000000000000000000000000:tok@?base_url=http://localhost:1").BaseURL)
	k := twilio("twilio://SK00000000000000000000000000000000:sec@?account_sid=AC00000000000000000000000000000000&messaging_service_sid=MG00000000000000000000000000000000")
	require.Equal(t, "SK00000000000000000000000000000000", k.APIKey)
	require.Equal(t, Secret("sec"), k.APISecret)
	require.Equal(t, "AC00000000000000000000000000000000", k.AccountSID)
}

func TestShortcutPush(t *testing.T) {
	fcm := func(url string) FCM {
		return *mustLoad(t, "", "LAUDSPEAKER_PUSH="+url).Outlets(false)["push"][0].Gateway.FCM
	}
	require.Equal(t, "/etc/creds.json", fcm("fcm:///etc/creds.json").CredentialsFile)
	require.Empty(t, fcm("fcm://").CredentialsFile)
	fake := fcm("fcm://?project_id=p&endpoint=http://127.0.0.1:1&token=t")
	require.Equal(t, FCM{ProjectID: "p", Endpoint: "http://127.0.0.1:1", Token: "t", Timeout: fake.Timeout}, fake)
}

func TestShortcutTakesMoreFromTheEnvironment(t *testing.T) {
	c := mustLoad(t, "", "LAUDSPEAKER_EMAIL=smtp://smtp.example.com", "LAUDSPEAKER_GATEWAYS_EMAIL_HELO=me.example")
	require.Equal(t, "me.example", c.Gateways["email"].SMTP.HELO)
}

func TestOnlyWithoutAnyGatewayAllCaptures(t *testing.T) {
	c := mustLoad(t, "data_dir: /d")
	require.Empty(t, c.Outlets(false))
	require.Len(t, c.Outlets(true), 3)
	require.Equal(t, "/d/outbox", c.Outlets(true)["sms"][0].Gateway.Capture.Dir)
	require.Equal(t, 500, c.Outlets(true)["sms"][0].Gateway.Capture.Keep)

	c = mustLoad(t, "data_dir: /d\ngateways: {kept: {type: capture}, spare: {type: sim}}\nchannels: {email: {gateways: [kept]}}")
	require.Len(t, c.Outlets(true), 1)
	require.Equal(t, "/d/outbox", c.Outlets(false)["email"][0].Gateway.Capture.Dir)
	require.Equal(t, []string{"spare"}, c.Unused())
}
