package cmd

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// secret is a word that a sensitive notification says.
const secret = "hush-4711"

// What a sensitive notification says is delivered, and redriven, and shows nowhere else.
func TestWhatASensitiveOneSaysIsShownNowhere(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		relay := largeRelay(t)
		data := t.TempDir()
		settings := "data_dir: '" + data + "'\n" + yaml(
			b, map[string]string{"mail": relay.gateway(), "files": "type: capture"},
			map[string]string{"email": "gateways: [mail]", "sms": "gateways: [files]"},
		)
		p, file := boot(t, "all", settings), write(t, settings)
		refused := p.post(`{"channel":"email","recipient":"policy@example.com","sensitive":true,"payload":{"subject":"` + secret + `","text":"` + secret + `"}}`)
		kept := p.post(`{"channel":"sms","recipient":"+14155550100","sensitive":true,"payload":{"from":"+14155550199","body":"` + secret + `"}}`)
		require.Equal(t, notify.StateRejected, b.outcome(refused).State)
		require.Equal(t, notify.StateSent, b.outcome(kept).State)
		b.deadLetter("email_topic", refused)

		said := map[string]string{"the API": bodyOf(t, p.API+"/v1/outbox") + bodyOf(t, p.API+"/v1/outbox/"+kept)}
		for _, args := range []string{
			"dlq list --config " + file, "dlq list --json --config " + file, "dlq show " + refused + " --config " + file,
			"dlq show " + refused + " --json --config " + file, "dlq redrive " + refused + " --dry-run --config " + file,
			"outbox --server " + p.API, "outbox --json --server " + p.API, "outbox " + kept + " --server " + p.API,
		} {
			code, out, errs := run(t, strings.Fields(args)...)
			require.Zero(t, code, errs)
			said[args] = out + errs
		}
		require.Contains(t, said["dlq list --config "+file], refused)
		require.Contains(t, said["outbox --server "+p.API], "(sensitive: not kept)")

		relay.says(func(string, int, bool) error { return nil })
		code, _, errs := run(t, "dlq", "redrive", refused, "--config", file)
		require.Zero(t, code, errs)
		b.event(refused, func(e notify.Event) bool { return e.Run == 1 && e.State == notify.StateSent })
		mails := relay.taken("policy@example.com")
		require.Len(t, mails, 1)
		_, parts := mails[0].open(t)
		require.Contains(t, parts[0].content, secret, "who should read it, reads it")

		for _, r := range b.all("status_topic") {
			said["the events"] += string(r.Value)
		}
		require.Zero(t, p.stop())
		said["the log"] = p.Log.String() + p.Stdout.String()
		require.NoError(t, filepath.WalkDir(filepath.Join(data, "outbox"), func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				text, _ := os.ReadFile(path)
				said["the outbox"] += string(text)
			}
			return err
		}))
		require.Contains(t, said["the outbox"], "+14155550100")
		for where, text := range said {
			require.NotContains(t, text, secret, where)
		}
	})
}

// What a person could be known by leaves the store; what became of the notification stays, and so does what Kafka has.
func TestExpungeEndToEnd(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		p := boot(t, "all", simulated(b))
		post := func(members ...string) string {
			return p.post(smsTo("+14155550100", secret, append(members, `"metadata":{"k":"`+secret+`"}`)...))
		}
		ids := []string{
			post(`"reference":"` + secret + `"`), post(`"tenant":"shop"`, `"reference":"`+secret+`"`), post(`"tenant":"other"`), post(`"sensitive":true`),
		}
		for _, id := range ids {
			becomes(t, func() bool { return strings.Contains(bodyOf(t, p.API+"/v1/notifications/"+id), `"state":"sent"`) }, "it is known")
		}
		require.Contains(t, bodyOf(t, p.API+"/v1/notifications/"+ids[0]), `"payload":{"body":"`+secret)
		require.NotContains(t, bodyOf(t, p.API+"/v1/notifications/"+ids[3]), `"payload"`, "what is sensitive was never there")

		for args, want := range map[string]string{"--id " + ids[0]: "1", "--tenant shop": "1", "--tenant nobody": "0"} {
			code, out, errs := run(t, strings.Fields("expunge --yes --server "+p.API+" "+args)...)
			require.Zero(t, code, errs)
			require.Equal(t, "expunged "+want+"; what Kafka holds of them stays there until its retention\n", out)
		}
		for i, id := range ids {
			var life notify.Life
			require.Equal(t, 200, p.get("/v1/notifications/"+id, &life))
			require.Equal(t, []any{i < 2, notify.StateSent}, []any{life.Expunged, life.State})
			require.Equal(t, i < 2, life.Recipient == "" && life.Reference == "" && life.Metadata == nil && life.Payload == nil)
			require.NotEmpty(t, life.Timeline)
			if i < 2 {
				require.NotContains(t, bodyOf(t, p.API+"/v1/notifications/"+id), secret)
			}
		}
		require.NotContains(t, bodyOf(t, p.API+"/v1/notifications?tenant=shop&recipient="+url.QueryEscape("+14155550100")), ids[1], "nobody finds it by whom it was for")
		require.Contains(t, string(b.job("sms_topic", ids[0]).Value), secret)
	})
}
