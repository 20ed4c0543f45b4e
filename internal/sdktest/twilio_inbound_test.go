package sdktest

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go/client"
	"github.com/twilio/twilio-go/twiml"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
)

// TestTwilio_Inbound: the SDK verifies the texts that the fake brings, our code reads the same ones, and our answer is what the SDK
// makes of no instructions.
func TestTwilio_Inbound(t *testing.T) {
	const address = "https://notify.example.com/hook/v1/inbound/texts"
	reader := twilio.NewInbound(config.Twilio{AccountSID: twiliotest.AccountSID, AuthToken: twiliotest.AuthToken, From: "+15005550006", Inbound: address})
	r := twiliotest.Inbound(address, twiliotest.SID(1), "+14155550123", "+15005550006", "Grüße & = % 👋")
	body := bodyOf(t, r)
	validator := client.NewRequestValidator(twiliotest.AuthToken)
	require.True(t, validator.ValidateBody(address, body, r.Header.Get("X-Twilio-Signature")))
	in, err := reader.Read(r, body)
	require.NoError(t, err)
	require.Equal(t, "Grüße & = % 👋", in.Text)
	form, err := url.ParseQuery(string(body))
	require.NoError(t, err)
	require.Equal(t, twiliotest.SID(1), form.Get("MessageSid"))

	empty, err := twiml.Messages(nil)
	require.NoError(t, err)
	kind, answer := reader.Answer()
	require.Equal(t, "text/xml; charset=utf-8", kind)
	require.Equal(t, compact(empty), compact(string(answer)))
}

// compact leaves out how an empty element is written.
func compact(xml string) string {
	return strings.ReplaceAll(xml, "<Response/>", "<Response></Response>")
}
