package config

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereReceiptsGo(t *testing.T) {
	const gateways = "\ngateways: {texts: {type: twilio, account_sid: AC0123456789abcdef0123456789abcdef, %s}}\nchannels: {sms: {gateways: [texts]}}"
	const key = "api_key: SK0123456789abcdef0123456789abcdef, api_secret: s"
	for _, c := range []struct{ public, credentials, callback, token, host string }{
		{"", "auth_token: t", "", "t", ""},
		{"https://notify.example.com", "auth_token: t", "https://notify.example.com/v1/receipts/texts", "t", "notify.example.com"},
		{"https://example.com:8443/notify/", "auth_token: t", "https://example.com:8443/notify/v1/receipts/texts", "t", "example.com:8443"},
		{"http://127.0.0.1:80", key, "", "", "127.0.0.1:80"},
		{"http://127.0.0.1:80", key + ", receipts: {auth_token: u}", "http://127.0.0.1:80/v1/receipts/texts", "u", "127.0.0.1:80"},
		{"https://a.example", "auth_token: t, receipts: {auth_token: u}", "https://a.example/v1/receipts/texts", "u", "a.example"},
	} {
		loaded := mustLoad(t, "api: {public_url: '"+c.public+"'}"+fmt.Sprintf(gateways, c.credentials))
		texts := loaded.Gateways["texts"].Twilio
		require.Equal(t, c.callback, texts.Callback)
		require.Equal(t, Secret(c.token), texts.ReceiptToken())
		require.Equal(t, c.host, loaded.API.PublicHost())
	}
}

func TestReceiptsOfAnHTTPGateway(t *testing.T) {
	c := mustLoad(t, "gateways: {own: {type: http, url: 'https://a.example', receipts: {secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}}\nchannels: {sms: {gateways: [own]}}")
	require.Equal(t, Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), c.Gateways["own"].HTTP.Receipts.Secret)
}
