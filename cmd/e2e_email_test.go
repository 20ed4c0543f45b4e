package cmd

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	picture = "\x89PNG\r\n\x1a\n.\r\n..\r\n"
	invoice = "%PDF-1.7\n\x00\xff"
)

// everything is an e-mail with all that the contract knows.
func everything() map[string]any {
	return map[string]any{
		"channel": "email", "recipient": "Ada Lovelace <ada@Example.COM>", "reference": "order <4711> & more", "metadata": map[string]any{"shop": "Zürich"},
		"ordering_key": "customer 7", "expires_at": "2040-01-31T09:30:00+02:00", "tenant": "shop-1",
		"payload": map[string]any{
			"from": `"Acme, Inc." <billing@acme.example>`, "reply_to": []any{"Help <help@acme.example>"},
			"cc": []any{"Grace <grace@example.com>", "zoë@bücher.example"}, "bcc": []any{"Secret Reader <audit@example.com>"},
			"subject": "Grüße 🎉 <&>", "text": "Hällo\r\n.\r\n🚀 plain", "html": `<p>Hällo <img src="cid:logo"> & 🚀</p>`,
			"headers": map[string]any{"X-Campaign": "spring 🎉", "List-Unsubscribe": "<https://acme.example/u>"},
			"attachments": []any{
				map[string]any{"filename": "Rechnung Nº 1.pdf", "content_type": "application/pdf", "content": base64.StdEncoding.EncodeToString([]byte(invoice))},
				map[string]any{"filename": "logo.png", "content_type": "image/png", "content": base64.StdEncoding.EncodeToString([]byte(picture)), "content_id": "logo"},
			},
		},
	}
}

// jsonOf is v without HTML escapes, as most clients send it.
func jsonOf(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v))
	return b.String()
}

func TestEmailFromThePostToTheRelay(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := newRelay(t)
		settings := yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"})
		worker := boot(t, "work --channel email", settings)
		api := boot(t, "serve-api", settings)
		id := api.post(jsonOf(t, everything()))

		o := b.outcome(id)
		job := b.job("email_topic", id)
		requireTheDocumentedRecord(t, b, job, id)
		b.requireOutcome(o, notify.StateSent, notify.ChannelEmail, job)
		require.Len(t, o.Tries, 1)
		require.Equal(t, notify.Try{Gateway: "mail", Verdict: notify.Accepted, Millis: o.Tries[0].Millis}, o.Tries[0])
		require.Equal(t, []any{1, "mail", "shop-1", "order <4711> & more", false}, []any{o.Attempt, o.Gateway, o.Tenant, o.Reference, o.Simulated})
		require.NotEmpty(t, o.ProviderID)
		require.Empty(t, o.Warnings)
		require.Nil(t, o.Origin)
		require.NotContains(t, string(o.Value), "example.com", "no recipient in an event")

		mails := r.taken("ada@example.com")
		require.Len(t, mails, 1)
		requireTheMail(t, mails[0], id)
		b.noDeadLetters("email_topic")
		for _, p := range []*program{api, worker} {
			for _, secret := range []string{relayPassword, "ada@", "audit@", "Hällo"} {
				require.NotContains(t, p.Log.String(), secret)
			}
		}
		require.Contains(t, worker.Log.String(), `"recipient":"a***@example.com"`)
	})
}

// requireTheDocumentedRecord: the job is what was submitted, with what the API fills in.
func requireTheDocumentedRecord(t *testing.T, b *bus, job *kafka.Record, id string) {
	t.Helper()
	want := everything()
	want["id"], want["lane"], want["expires_at"] = id, "normal", "2040-01-31T07:30:00Z"
	require.JSONEq(t, jsonOf(t, want), string(job.Value))
	require.Contains(t, string(job.Value), "<&>", "no HTML escapes")
	require.Equal(t, "customer 7", string(job.Key))
	headers := headersOf(job)
	accepted, err := time.Parse(time.RFC3339, headers[notify.HeaderAcceptedAt])
	require.NoError(t, err)
	require.WithinDuration(t, job.Timestamp, accepted, time.Minute)
	delete(headers, notify.HeaderAcceptedAt)
	require.Equal(t, map[string]string{"ls-schema": "1", "ls-id": id, "ls-lane": "normal"}, headers)
}

func requireTheMail(t *testing.T, m received, id string) {
	t.Helper()
	require.Equal(t, "billing@acme.example", m.from)
	require.Equal(t, []string{"ada@example.com", "grace@example.com", "zoë@xn--bcher-kva.example", "audit@example.com"}, m.to)
	require.True(t, m.utf8, "a local part is not ASCII")
	require.NotContains(t, string(m.data), "audit@", "bcc shows nowhere")
	require.NotContains(t, string(m.data), "Secret Reader")
	h, parts := m.open(t)
	require.Equal(t, "Grüße 🎉 <&>", decoded(t, h.Get("Subject")))
	require.Equal(t, `"Acme, Inc." <billing@acme.example>`, h.Get("From"))
	require.Equal(t, `"Ada Lovelace" <ada@example.com>`, h.Get("To"))
	require.Equal(t, `"Help" <help@acme.example>`, h.Get("Reply-To"))
	require.Contains(t, h.Get("Cc"), "grace@example.com")
	require.Empty(t, h.Get("Bcc"))
	require.Equal(t, "spring 🎉", decoded(t, h.Get("X-Campaign")))
	require.Equal(t, "<https://acme.example/u>", h.Get("List-Unsubscribe"))
	require.Equal(t, "<"+id+"@acme.example>", h.Get("Message-Id"))
	require.Regexp(t, regexp.MustCompile(`\d{4} \d\d:\d\d:\d\d`), h.Get("Date"))
	require.ElementsMatch(t, []leaf{
		{"text/plain", "", "", "", "Hällo\r\n.\r\n🚀 plain"},
		{"text/html", "", "", "", `<p>Hällo <img src="cid:logo"> & 🚀</p>`},
		{"image/png", "inline", "logo.png", "<logo>", picture},
		{"application/pdf", "attachment", "Rechnung Nº 1.pdf", "", invoice},
	}, parts)
}

// One transaction: a refused copy refuses the notification and is named; nobody gets it.
func TestEmailIsAllOrNothing(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := newRelay(t)
		r.says(func(to string, _ int, rcpt bool) error {
			switch {
			case rcpt && (to == "gone@example.com" || to == "nobody@example.com"):
				return reply(550, 5, 1, 1, "no such user "+to)
			case !rcpt && to == "policy@example.com":
				return reply(554, 5, 7, 1, "looks like spam")
			}
			return nil
		})
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		mail := func(to string, cc ...string) string {
			return p.post(jsonOf(t, map[string]any{
				"channel": "email", "recipient": to, "payload": map[string]any{"subject": "s", "text": "t", "cc": append([]string{}, cc...)},
			}))
		}
		id := mail("nobody@example.com")
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelEmail, b.job("email_topic", id))
		require.Equal(t, []string{notify.ReasonRecipientGone, "550 5.1.1"}, []string{o.Reason, o.Code})
		require.Equal(t, []notify.Verdict{notify.Permanent}, verdicts(o.Event))
		require.NotContains(t, string(o.Value), "nobody", "relays repeat the address")
		b.noDeadLetters("email_topic")

		for _, id := range []string{mail("ada@example.com", "grace@example.com", "gone@example.com"), mail("policy@example.com")} {
			o, job := b.outcome(id), b.job("email_topic", id)
			b.requireOutcome(o, notify.StateRejected, notify.ChannelEmail, job)
			d := b.deadLetter("email_topic", id)
			b.requireDeadLetter(d, job, o, o.Tries[0].Reason)
			require.NotContains(t, string(o.Value), "gone@")
			require.Contains(t, o.Reason, map[bool]string{true: "cc[1]", false: "the message"}[o.Code == "550 5.1.1"])
		}
		require.Zero(t, r.total())
		require.NotContains(t, p.Log.String(), "gone@")
	})
}
