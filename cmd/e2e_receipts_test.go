package cmd

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	publicly     = "api: {public_url: 'https://notify.example.com/hook'}\n"
	receiptsKey  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	textsReceive = "https://notify.example.com/hook/v1/receipts/texts"
)

// forward sends a provider's request on as a proxy does: it takes the prefix of the public address off and keeps the host's name.
func (p *program) forward(r *http.Request) *http.Response {
	p.t.Helper()
	at, err := url.Parse(p.API)
	require.NoError(p.t, err)
	r.Host = "notify.example.com"
	r.URL.Scheme, r.URL.Host, r.URL.Path = at.Scheme, at.Host, strings.TrimPrefix(r.URL.Path, "/hook")
	response, err := http.DefaultClient.Do(r)
	require.NoError(p.t, err)
	return response
}

// bring forwards a receipt and returns the result that the API answers, or the code of its problem.
func (p *program) bring(r *http.Request) (status int, result string) {
	p.t.Helper()
	response := p.forward(r)
	defer response.Body.Close()
	var answer struct{ Result, Code string }
	require.NoError(p.t, json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer.Result + answer.Code
}

// What Twilio says later becomes the state, once; what it has not said, or says of nothing, changes nothing.
func TestReceiptsOfTwilio(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := publicly + yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"})
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		requireBrought := func(r *http.Request, status int, result string) {
			t.Helper()
			gotStatus, gotResult := api.bring(r)
			require.Equal(t, []any{status, result}, []any{gotStatus, gotResult})
		}
		first := api.post(smsOfEachKind["plain"])
		require.False(t, api.awaitState(first, notify.StateSent).Final, "a receipt is awaited")

		forged := fake.Report(0, "delivered", "")
		forged.Header.Set("X-Twilio-Signature", "AAAA")
		requireBrought(forged, 403, "forbidden")
		requireBrought(fake.Report(0, "sent", ""), 200, "acknowledged")
		require.Equal(t, notify.StateSent, api.awaitState(first, notify.StateSent).State)
		requireBrought(fake.Report(0, "delivered", ""), 200, "recorded")
		life := api.awaitState(first, notify.StateDelivered)
		require.True(t, life.Final)
		require.Len(t, life.Timeline, 3)
		requireBrought(fake.Report(0, "delivered", ""), 200, "repeated")
		requireBrought(fake.Report(0, "undelivered", "30003"), 200, "recorded")
		require.Len(t, api.awaitState(first, notify.StateBounced).Timeline, 4, "a late bounce counts")
		requireBrought(fake.Report(0, "delivered", ""), 200, "repeated")
		require.Len(t, api.awaitState(first, notify.StateBounced).Timeline, 4)

		second := api.post(smsOfEachKind["sender"])
		api.awaitState(second, notify.StateSent)
		requireBrought(fake.Report(1, "undelivered", "30005"), 200, "recorded")
		life = api.awaitState(second, notify.StateBounced)
		require.Equal(t, []any{"30005", notify.ReasonRecipientGone, true, "texts"}, []any{life.Code, life.Reason, life.Final, life.Gateway})
		o := b.event(second, func(e notify.Event) bool { return e.State == notify.StateBounced })
		require.Empty(t, headersOf(o.Record), "it is none of the worker's ledger")

		says := url.Values{"MessageStatus": {"delivered"}}
		requireBrought(twiliotest.Signed(textsReceive+"?id="+notify.NewID()+"&run=0", says, twiliotest.AuthToken), 404, "not-found")
		requireBrought(twiliotest.Signed(strings.Replace(textsReceive, "texts", "nobody", 1), says, twiliotest.AuthToken), 404, "not-found")
		require.Zero(t, worker.stop())
		third := api.post(smsOfEachKind["picture"])
		failed := url.Values{"MessageStatus": {"failed"}}
		requireBrought(twiliotest.Signed(textsReceive+"?id="+third+"&run=0", failed, twiliotest.AuthToken), 200, "kept")
		require.Equal(t, notify.StateQueued, api.awaitState(third, notify.StateQueued).State)
		for result, n := range map[string]int{"forged": 1, "acknowledged": 1, "recorded": 3, "repeated": 2, "unknown": 2, "kept": 1} {
			require.EqualValues(t, n, api.sum("laudspeaker_receipts_total", `result="`+result+`"`), result)
		}
	})
}

// TestADeliveredTextIsNotSentAgain: Twilio fails, so that nobody knows whether it has the text, and reports it as delivered while
// the job waits. The text is delivered, and the job ends without another call. The same holds for a receipt that comes before the
// worker has reported its call at all.
func TestADeliveredTextIsNotSentAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := publicly + yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts], retries: {normal: {first: 1s}}"})
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		delivered := func(id string) {
			t.Helper()
			callback := textsReceive + "?id=" + id + "&run=0"
			status, result := api.bring(twiliotest.Signed(callback, url.Values{"MessageStatus": {"delivered"}, "MessageSid": {"SM1"}}, twiliotest.AuthToken))
			require.Equal(t, []any{200, "resolved"}, []any{status, result})
			life := api.awaitState(id, notify.StateDelivered)
			require.True(t, life.Final)
			require.Equal(t, "texts", life.Gateway)
		}
		fake.Fail(500, 20500, nil)
		waiting := api.post(smsOfEachKind["plain"])
		b.event(waiting, func(e notify.Event) bool { return e.State == notify.StateRetrying })
		require.Zero(t, worker.stop())
		fake.Accept()
		queued := api.post(smsOfEachKind["sender"])
		delivered(waiting)
		delivered(queued)
		worker = boot(t, "work --channel=sms", settings)
		ended := func() bool { return worker.sum("laudspeaker_jobs_ended_total", `state="delivered"`) == 2 }
		require.Eventually(t, ended, patience, 20*time.Millisecond)
		require.Empty(t, fake.Accepted())
		for _, id := range []string{waiting, queued} {
			require.Equal(t, notify.StateDelivered, api.awaitState(id, notify.StateDelivered).State)
		}
	})
}

// TestABounceOfAnOptOutSuppresses as the same code in a response does.
func TestABounceOfAnOptOutSuppresses(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := publicly + yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"})
		api, _ := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		file, first := write(t, settings), api.post(smsOfEachKind["plain"])
		api.awaitState(first, notify.StateSent)
		status, result := api.bring(fake.Report(0, "failed", "21610"))
		require.Equal(t, []any{200, "recorded"}, []any{status, result})
		api.awaitState(first, notify.StateBounced)
		require.Eventually(t, func() bool {
			_, out, _ := run(t, "suppress", "--list", "--config", file)
			return regexp.MustCompile(`^sms/\+14155550101  since \d{4}-.*, opted_out 21610, of sender \+15005550006, by gateway texts\n$`).MatchString(out)
		}, patience, 50*time.Millisecond)
	})
}

// A redelivery of a job that was sent, and whose receipt is awaited, is not sent again, not even by another worker.
func TestAnAwaitedReceiptIsNoReasonToSendAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := publicly + yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"})
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		id := api.post(smsOfEachKind["plain"])
		api.awaitState(id, notify.StateSent)
		require.Zero(t, worker.stop())
		job := b.job("sms_topic", id)
		b.publish(kafka.Message{
			Topic: job.Topic, Partition: job.Partition, Key: job.Key, Value: job.Value,
			Headers: append(job.Headers, kafka.Header{Key: notify.HeaderStep, Value: []byte("1")}), // as from a ladder that is late
		})
		worker = boot(t, "work --channel=sms", settings)
		require.Eventually(t, func() bool { return worker.sum("laudspeaker_duplicates_dropped_total") == 1 }, patience, 20*time.Millisecond)
		require.Len(t, fake.Accepted(), 1)
	})
}

// Any API's receipts are signed by the Standard Webhooks scheme, and name the message as its answer did.
func TestReceiptsOfAnHTTPGateway(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := apitest.New(t, false)
		settings := publicly + yaml(b, map[string]string{
			"own": "type: http, url: '" + fake.URL + apitest.Messages + "', token: " + apitest.Token + `, body: '{{json .}}', id_path: /messages/0/id, receipts: {secret: ` + receiptsKey + "}",
		}, map[string]string{"sms": "gateways: [own]"})
		api := boot(t, "serve-api", settings)
		boot(t, "work --channel=sms", settings)
		id := api.post(`{"channel":"sms","recipient":"+14155550101","payload":{"body":"hi","from":"ACME"}}`)
		life := api.awaitState(id, notify.StateSent)
		require.False(t, life.Final)
		require.NotEmpty(t, life.ProviderID)
		receipt := func(body string, at time.Time) *http.Request {
			r, err := http.NewRequest(http.MethodPost, "https://notify.example.com/hook/v1/receipts/own", strings.NewReader(body))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Webhook-Id", "r-1")
			r.Header.Set("Webhook-Timestamp", number(at.Unix()))
			r.Header.Set("Webhook-Signature", apitest.WebhookSignature(receiptsKey, "r-1", at, body))
			return r
		}
		body := `{"provider_id":"` + life.ProviderID + `","state":"bounced","code":"5.1.1","reason":"no such user"}`
		status, result := api.bring(receipt(body, time.Now().Add(-6*time.Minute)))
		require.Equal(t, []any{403, "forbidden"}, []any{status, result}, "a replay")
		status, result = api.bring(receipt(`{"provider_id":"another","state":"delivered"}`, time.Now()))
		require.Equal(t, []any{200, "kept"}, []any{status, result}, "its attempt may become known")
		status, result = api.bring(receipt(`{"notification_id":"`+notify.NewID()+`","state":"delivered"}`, time.Now()))
		require.Equal(t, []any{404, "not-found"}, []any{status, result})
		arrived := strings.Replace(body, "bounced", "delivered", 1)
		status, result = api.bring(receipt(arrived, time.Now()))
		require.Equal(t, []any{200, "recorded"}, []any{status, result})
		api.awaitState(id, notify.StateDelivered)
		status, result = api.bring(receipt(body, time.Now()))
		require.Equal(t, []any{200, "recorded"}, []any{status, result}, "it came back after it had arrived")
		life = api.awaitState(id, notify.StateBounced)
		require.Equal(t, []string{"5.1.1", "no such user"}, []string{life.Code, life.Reason})
		for _, again := range []string{body, arrived} {
			status, result = api.bring(receipt(again, time.Now()))
			require.Equal(t, []any{200, "repeated"}, []any{status, result})
		}
		var states []notify.State
		for _, e := range api.awaitState(id, notify.StateBounced).Timeline {
			states = append(states, e.State)
		}
		require.Equal(t, []notify.State{notify.StateQueued, notify.StateSent, notify.StateDelivered, notify.StateBounced}, states)
	})
}
