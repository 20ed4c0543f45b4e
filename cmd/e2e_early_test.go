package cmd

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestEarlyReceipts_OutliveTheAPIAndAreApplied: receipts that come before their message is sent are kept on Kafka. A process of the
// API that starts later applies them once the message was sent, and takes them off the topic.
func TestEarlyReceipts_OutliveTheAPIAndAreApplied(t *testing.T) {
	onEachBus(t, func(t *testing.T, b *bus) {
		twilio, own := twiliotest.New(t, false), apitest.New(t, false)
		settings := publicly + yaml(b, map[string]string{
			"texts": texts(twilio.URL),
			"own": "type: http, url: '" + own.URL + apitest.Messages + "', token: " + apitest.Token +
				`, body: '{{json .}}', id_path: /messages/0/id, receipts: {secret: ` + receiptsKey + "}",
		}, map[string]string{"sms": "gateways: [texts]", "email": "gateways: [own]"})
		api := boot(t, "serve-api", settings)
		text := api.post(smsOfEachKind["plain"])
		mail := api.post(`{"channel":"email","recipient":"ada@example.com","payload":{"from":"a@example.com","subject":"Hi","text":"Hi"}}`)

		failed := url.Values{"MessageStatus": {"failed"}, "ErrorCode": {"30003"}}
		requireKept := func(r *http.Request) {
			t.Helper()
			status, result := api.bring(r)
			require.Equal(t, []any{200, "kept"}, []any{status, result})
		}
		requireKept(twiliotest.Signed(textsReceive+"?id="+text+"&run=0", failed, twiliotest.AuthToken))
		requireKept(ownReceipt(t, `{"provider_id":"msg_000001","state":"delivered"}`))
		requireKept(ownReceipt(t, `{"provider_id":"msg_000001","state":"delivered"}`))
		requireKept(ownReceipt(t, `{"provider_id":"msg_000002","state":"delivered"}`))
		status, result := api.bring(ownReceipt(t, `{"notification_id":"`+text+`","state":"delivered"}`))
		require.Equal(t, []any{404, "not-found"}, []any{status, result}, "its channel has no such gateway")
		require.EqualValues(t, 3, api.sum("laudspeaker_receipts_kept"))
		require.Zero(t, api.stop())

		api = boot(t, "serve-api", settings)
		boot(t, "work --channel=sms,email", settings)
		life := api.awaitState(text, notify.StateBounced)
		require.Equal(t, []any{"30003", true}, []any{life.Code, life.Final})
		require.Equal(t, "msg_000001", api.awaitState(mail, notify.StateDelivered).ProviderID)
		require.Eventually(t, func() bool { return api.sum("laudspeaker_receipts_kept") == 1 }, patience, 20*time.Millisecond)
		left := map[string]bool{}
		for _, r := range b.all("control_topic") {
			if kind, name, _ := strings.Cut(string(r.Key), ":"); kind == "receipt" {
				left[name] = r.Value != nil
			}
		}
		kept := 0
		for _, is := range left {
			if is {
				kept++
			}
		}
		require.Equal(t, []int{3, 1}, []int{len(left), kept}, "what was applied is taken back")
	})
}

// ownReceipt is a receipt for the gateway called own.
func ownReceipt(t *testing.T, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "https://notify.example.com/hook/v1/receipts/own", strings.NewReader(body))
	require.NoError(t, err)
	at := time.Now()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", "r-1")
	r.Header.Set("Webhook-Timestamp", number(at.Unix()))
	r.Header.Set("Webhook-Signature", apitest.WebhookSignature(receiptsKey, "r-1", at, body))
	return r
}
