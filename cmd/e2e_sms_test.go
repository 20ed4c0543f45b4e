package cmd

import (
	"net/http"
	"net/url"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// texts is the section of a gateway to the fake, or to whatever else speaks like Twilio.
func texts(base string) string {
	return "type: twilio, account_sid: " + twiliotest.AccountSID + ", auth_token: " + twiliotest.AuthToken +
		", from: '+15005550006', base_url: '" + base + "'"
}

var smsOfEachKind = map[string]string{
	"plain":   `{"channel":"sms","recipient":"+14155550101","payload":{"body":"Grüße 👋 & = %"}}`,
	"sender":  `{"channel":"sms","recipient":"+14155550102","payload":{"body":"hi","from":"ACME"}}`,
	"picture": `{"channel":"sms","recipient":"+14155550103","payload":{"media_urls":["https://a.example/1.png","https://a.example/2.png"]},"expires_at":"2040-01-01T00:00:00Z"}`,
}

func TestSMSFromThePostToTwilio(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"})
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		for _, body := range smsOfEachKind {
			id := api.post(body)
			o := b.outcome(id)
			b.requireOutcome(o, notify.StateSent, notify.ChannelSMS, b.job("sms_topic", id))
			require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event))
			require.Regexp(t, "^SM[0-9a-f]{32}$", o.ProviderID)
		}
		got := map[string]url.Values{}
		for _, p := range fake.Accepted() {
			period, err := strconv.Atoi(p.Get("ValidityPeriod"))
			require.NoError(t, err)
			require.Greater(t, period, 35_000, "what remains, and ten hours at most")
			p.Del("ValidityPeriod")
			got[p.Get("To")] = p
		}
		require.Equal(t, map[string]url.Values{
			"+14155550101": {"To": {"+14155550101"}, "From": {"+15005550006"}, "Body": {"Grüße 👋 & = %"}},
			"+14155550102": {"To": {"+14155550102"}, "From": {"ACME"}, "Body": {"hi"}},
			"+14155550103": {"To": {"+14155550103"}, "From": {"+15005550006"}, "MediaUrl": {"https://a.example/1.png", "https://a.example/2.png"}},
		}, got)
		require.Len(t, fake.Accepted(), len(smsOfEachKind))

		fake.Fail(http.StatusBadRequest, 21610, nil)
		id := api.post(smsOfEachKind["plain"])
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelSMS, b.job("sms_topic", id))
		require.Equal(t, []string{notify.ReasonOptedOut, "21610"}, []string{o.Reason, o.Code})
		b.noDeadLetters("sms_topic")
		for _, secret := range []string{twiliotest.AuthToken, "+1415555", "Grüße"} {
			require.NotContains(t, worker.Log.String()+api.Log.String()+string(o.Value), secret)
		}
	})
}

// The same against a server that holds every request against Twilio's own description of its API.
func TestSMSByTwiliosOwnDescription(t *testing.T) {
	t.Parallel()
	base := os.Getenv("LAUDSPEAKER_TEST_TWILIO")
	if base == "" {
		t.Skip("needs Twilio's OpenAPI: run `scripts/prism.sh start` and set LAUDSPEAKER_TEST_TWILIO as it prints")
	}
	onEachBus(t, func(t *testing.T, b *bus) {
		p := boot(t, "all", yaml(b, map[string]string{"texts": texts(base)}, map[string]string{"sms": "gateways: [texts]"}))
		for _, body := range smsOfEachKind {
			o := b.outcome(p.post(body))
			require.Equal(t, notify.StateSent, o.State, "%s", o.Value)
			require.Regexp(t, "^SM[0-9a-f]{32}$", o.ProviderID)
		}
	})
}
