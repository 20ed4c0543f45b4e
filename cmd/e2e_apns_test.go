package cmd

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/apns/apnstest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func apples(f *apnstest.Server) string {
	return "type: apns, team_id: " + apnstest.TeamID + ", key_id: " + apnstest.KeyID + ", key_file: '" + f.KeyFile +
		"', topic: " + apnstest.Topic + ", endpoint: '" + f.URL + "'"
}

func TestPushFromThePostToAPNs(t *testing.T) {
	t.Parallel()
	device := strings.Repeat("5ec4e7AB", 8)
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := apnstest.New(t, false)
		settings := yaml(b, map[string]string{"apples": apples(fake)}, map[string]string{"push": "gateways: [apples]"})
		worker, api := boot(t, "work --channel push", settings), boot(t, "serve-api", settings)
		id := api.post(jsonOf(t, map[string]any{
			"channel": "push", "recipient": device, "recipient_type": "apns",
			"payload": map[string]any{"title": "Grüße <🎉>", "body": "It works.", "data": map[string]any{"order": "42"}, "priority": "high"},
		}))
		o, job := b.outcome(id), b.job("push_topic", id)
		b.requireOutcome(o, notify.StateSent, notify.ChannelPush, job)
		require.Equal(t, id, o.ProviderID, "APNs knows it by the notification's id")
		require.Equal(t, strings.ToLower(device), string(job.Key))
		require.Len(t, fake.Accepted(), 1)
		got := fake.Accepted()[0]
		require.Equal(t, strings.ToLower(device), got.Token)
		require.JSONEq(t, `{"aps":{"alert":{"title":"Grüße <🎉>","body":"It works."}},"order":"42"}`, string(got.Payload))
		require.Equal(t, []string{id, "10"}, []string{got.Header.Get("apns-collapse-id"), got.Header.Get("apns-priority")})

		fake.Fail(http.StatusGone, "Unregistered", nil)
		id = api.post(`{"channel":"push","recipient":"` + device + `","recipient_type":"apns","payload":{"body":"anyone there?"}}`)
		o = b.outcome(id)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelPush, b.job("push_topic", id))
		require.Equal(t, []string{notify.ReasonRecipientGone, "Unregistered"}, []string{o.Reason, o.Code})
		b.noDeadLetters("push_topic")

		response, err := http.Post(api.API+"/v1/notifications", "application/json",
			strings.NewReader(`{"channel":"push","recipient":"`+deviceToken+`","payload":{"body":"to another gateway"}}`))
		require.NoError(t, err)
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, response.StatusCode)
		require.Contains(t, string(content), `"#/recipient_type"`)
		require.Contains(t, string(content), "give apns")
		for _, secret := range []string{"5ec4e7AB", "5ec4e7ab", "It works.", "anyone", "eyJhbGciOi"} {
			require.NotContains(t, worker.Log.String()+api.Log.String()+string(o.Value), secret)
		}
	})
}

// TestGatewaysTakeRecipientsThatExist: config spells these words itself, and what takes everything takes all of them.
func TestGatewaysTakeRecipientsThatExist(t *testing.T) {
	t.Parallel()
	for _, g := range []config.Gateway{{FCM: &config.FCM{}}, {APNs: &config.APNs{}}} {
		require.NotEmpty(t, g.RecipientTypes())
		require.Subset(t, notify.RecipientTypes(), g.RecipientTypes())
	}
	for _, typ := range []string{"capture", "sim"} {
		require.Equal(t, notify.RecipientTypes(), config.Gateway{Type: typ}.RecipientTypes())
	}
}
