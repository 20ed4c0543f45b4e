package cmd

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// One gateway of type http, described by nothing but settings, serves every channel.
func TestEveryChannelThroughAnHTTPGateway(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := apitest.New(t, false)
		own := "type: http, url: '" + fake.URL + apitest.Messages + "', token: " + apitest.Token + ", body: '{{json .}}', headers: {Idempotency-Key: '{{.id}}'}, " +
			"id_path: /messages/0/id, code_path: /error/code, rules: [{code: [stop], verdict: gone, reason: opted_out}], check: {url: '" + fake.URL + apitest.Account + "'}"
		settings := yaml(b, map[string]string{"own": own}, map[string]string{
			"email": "gateways: [own]", "sms": "gateways: [own]", "push": "gateways: [own]",
		})
		p := boot(t, "all", settings)
		for topic, body := range map[string]string{
			"email_topic": `{"channel":"email","recipient":"Ada <ada@example.com>","payload":{"from":"a@acme.example","subject":"Hello","text":"Grüße"}}`,
			"sms_topic":   `{"channel":"sms","recipient":"+14155550101","payload":{"body":"Grüße"}}`,
			"push_topic":  `{"channel":"push","recipient":"token","payload":{"title":"Grüße"}}`,
		} {
			id := p.post(body)
			o := b.outcome(id)
			require.Equal(t, notify.StateSent, o.State, topic)
			require.Regexp(t, "^msg_[0-9]{6}$", o.ProviderID)
			taken := fake.Accepted()[len(fake.Accepted())-1]
			require.Equal(t, id, taken.Header.Get("Idempotency-Key"))
			require.Contains(t, taken.Body, "Grüße")
		}
		fake.Fail(http.StatusBadRequest, "stop", nil)
		o := b.outcome(p.post(`{"channel":"sms","recipient":"+14155550101","payload":{"body":"Grüße"}}`))
		require.Equal(t, []string{string(notify.StateRejected), notify.ReasonOptedOut, "stop"}, []string{string(o.State), o.Reason, o.Code})
		for _, secret := range []string{apitest.Token, "+1415555", "Grüße"} {
			require.NotContains(t, p.Log.String()+string(o.Value), secret)
		}
	})
}
