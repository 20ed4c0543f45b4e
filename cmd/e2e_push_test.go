package cmd

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func pushes(f *fcmtest.Server) string {
	return "type: fcm, project_id: " + fcmtest.Project + ", endpoint: '" + f.URL + "', token: " + fcmtest.Token
}

const deviceToken = "dGVzdA:APA91b-e2e_0123456789"

func TestPushFromThePostToFCM(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := fcmtest.New(t, false)
		settings := yaml(b, map[string]string{"pushes": pushes(fake)}, map[string]string{"push": "gateways: [pushes]"})
		worker, api := boot(t, "work --channel push", settings), boot(t, "serve-api", settings)
		for n, c := range []struct{ kind, recipient, field, to, key string }{
			{"", deviceToken, "token", deviceToken, deviceToken},
			{"topic", "/topics/news", "topic", "news", "news"},
			{"condition", "'news' in topics && !('sport' in topics)", "condition", "'news' in topics && !('sport' in topics)", "'news' in topics && !('sport' in topics)"},
		} {
			id := api.post(jsonOf(t, map[string]any{
				"channel": "push", "recipient": c.recipient, "recipient_type": c.kind, "payload": map[string]any{
					"title": "Grüße <🎉>", "body": "It works.", "data": map[string]any{"order": "42"}, "priority": "high", "collapse_key": "k",
					"android": map[string]any{"notification": map[string]any{"color": "#336699"}}, "apns": map[string]any{"payload": map[string]any{"aps": map[string]any{"badge": 3}}},
				},
			}))
			o, job := b.outcome(id), b.job("push_topic", id)
			b.requireOutcome(o, notify.StateSent, notify.ChannelPush, job)
			require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event))
			require.NotEmpty(t, o.ProviderID)
			require.Equal(t, c.key, string(job.Key))
			require.Len(t, fake.Accepted(), n+1)
			requireThePush(t, fake.Accepted()[n], c.field, c.to)
		}

		fake.Fail(fcmtest.Unregistered, nil)
		id := api.post(`{"channel":"push","recipient":"` + deviceToken + `","payload":{"body":"anyone there?"}}`)
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelPush, b.job("push_topic", id))
		require.Equal(t, []string{notify.ReasonRecipientGone, "UNREGISTERED"}, []string{o.Reason, o.Code})
		require.Equal(t, []notify.Verdict{notify.Permanent}, verdicts(o.Event))
		b.noDeadLetters("push_topic")
		for _, secret := range []string{fcmtest.Token, deviceToken, "It works.", "anyone"} {
			require.NotContains(t, worker.Log.String()+api.Log.String()+string(o.Value), secret)
		}
	})
}

func requireThePush(t *testing.T, raw json.RawMessage, field, to string) {
	t.Helper()
	var m struct {
		Token, Topic, Condition string
		Notification            struct{ Title, Body string }
		Data                    map[string]string
		Android                 struct {
			Priority, TTL string
			Notification  struct{ Color string }
		}
		APNS struct {
			Headers map[string]string
			Payload struct{ Aps struct{ Badge int } }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &m))
	require.Equal(t, map[string]string{"token": "", "topic": "", "condition": "", field: to},
		map[string]string{"token": m.Token, "topic": m.Topic, "condition": m.Condition})
	require.Equal(t, []string{"Grüße <🎉>", "It works."}, []string{m.Notification.Title, m.Notification.Body})
	require.Equal(t, map[string]string{"order": "42"}, m.Data)
	require.Equal(t, []string{"high", "#336699"}, []string{m.Android.Priority, m.Android.Notification.Color})
	require.Equal(t, 3, m.APNS.Payload.Aps.Badge)
	seconds, err := strconv.Atoi(m.Android.TTL[:len(m.Android.TTL)-1])
	require.NoError(t, err)
	require.Greater(t, seconds, 23*60*60, "what remains of a day")
	require.LessOrEqual(t, seconds, 24*60*60)
}

// With dead_letter_rejected, what was refused because of its recipient is kept too.
func TestDeadLettersOfTheRejectedOnRequest(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := fcmtest.New(t, false)
		fake.Fail(fcmtest.Unregistered, nil)
		p := boot(t, "all", yaml(b, map[string]string{"pushes": pushes(fake)}, map[string]string{"push": "gateways: [pushes], dead_letter_rejected: true"}))
		id := p.post(samples["push"])
		o, job := b.outcome(id), b.job("push_topic", id)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelPush, job)
		b.requireDeadLetter(b.deadLetter("push_topic", id), job, o, notify.ReasonRecipientGone)
	})
}
