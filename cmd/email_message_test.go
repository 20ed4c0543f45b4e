package cmd

import (
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// messageCase is one notification, and what of it a relay gets.
type messageCase struct {
	name, recipient, payload string
	to                       string // recipients at the relay, by local parts
	header                   string // and the value that a mail reader shows of it
	shows                    string
	check                    func(t *testing.T, m readMail)
	rejected                 string // in place of all that: contained in the reason
	warns                    string
}

// readMail is a mail as a mail reader sees it.
type readMail struct {
	raw   string
	head  mail.Header
	parts []readPart // leaves, in their order
}

type readPart struct{ kind, encoding, text string }

// read parses a mail, and checks what holds for all of them.
func read(t *testing.T, raw string) readMail {
	for line := range strings.SplitSeq(strings.TrimSuffix(raw, "\r\n"), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
		require.NotContains(t, line, "\n")
	}
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			require.NotEmpty(t, strings.TrimSpace(value), "the first line of %s", name)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	out := readMail{raw: raw, head: m.Header}
	out.leaves(t, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	return out
}

func (m *readMail) leaves(t *testing.T, kind, encoding string, body io.Reader) {
	media, params, err := mime.ParseMediaType(kind)
	require.NoError(t, err)
	if !strings.HasPrefix(media, "multipart/") {
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		if strings.EqualFold(encoding, "base64") {
			text, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(text), "\r\n", ""))
			require.NoError(t, err)
		}
		m.parts = append(m.parts, readPart{media, encoding, string(text)})
		return
	}
	if media == "multipart/related" {
		require.NotEmpty(t, params["type"])
	}
	for parts := multipart.NewReader(body, params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		m.leaves(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
	}
}

func (m readMail) part(kind string) (found readPart) {
	for _, p := range m.parts {
		if p.kind == kind {
			found = p
		}
	}
	return found
}

func messageCases() []messageCase {
	const text = `"subject":"s","text":"t"`
	attached := func(kind, content string) string {
		return text + `,"attachments":[{"filename":"x.eml","content_type":"` + kind + `","content":"` + base64.StdEncoding.EncodeToString([]byte(content)) + `"}]`
	}
	subject := func(name, s string) messageCase {
		return messageCase{name: name, payload: `"subject":"` + s + `","text":"t"`, to: "ada", header: "Subject", shows: s}
	}
	return []messageCase{
		{
			name: "a mail attached", payload: attached("message/rfc822", "Subject: inner\r\n\r\nbody\r\n"), to: "ada",
			check: func(t *testing.T, m readMail) {
				p := m.part("message/rfc822")
				require.Equal(t, "7bit", strings.ToLower(p.encoding))
				require.Contains(t, p.text, "Subject: inner")
			},
		},
		{
			name: "a mail attached that is not ASCII", payload: attached("message/rfc822", "Subject: inner\r\n\r\nbüdy\r\n"), to: "ada",
			check: func(t *testing.T, m readMail) {
				require.Equal(t, "base64", m.part("application/octet-stream").encoding)
				require.Contains(t, m.part("application/octet-stream").text, "büdy")
			},
		},
		{name: "a fragment of a mail", payload: attached("message/partial", "x"), rejected: "attachments"},
		{name: "a mail that lies elsewhere", payload: attached("message/external-body", "x"), rejected: "attachments"},
		{
			name: "one address three times", payload: text + `,"cc":["ada@example.com"],"bcc":["ada@EXAMPLE.com"]`, to: "ada", header: "Cc", shows: "<ada@example.com>",
		},
		{name: "copies", payload: text + `,"cc":["Grace <grace@example.com>"],"bcc":["blind@example.com"]`, to: "ada grace blind", check: func(t *testing.T, m readMail) {
			require.NotContains(t, m.raw, "blind")
		}},
		subject("an encoded word in the subject", "literal =?utf-8?q?Hi?= text"),
		subject("two encoded words in the subject", "=?utf-8?q?Hi?= =?utf-8?b?SGk=?="),
		subject("half an encoded word", "a =?utf-8?q?b and =? c ?="),
		subject("a long word that is not ASCII", strings.Repeat("Über", 60)),
		subject("emojis", strings.Repeat("🚀", 100)),
		subject("many words", strings.TrimSpace(strings.Repeat("word ", 190))),
		subject("a word as long as a line", strings.Repeat("x", 998)),
		{name: "a header of one word", payload: text + `,"headers":{"X-Data":"` + strings.Repeat("y", 900) + `"}`, to: "ada", header: "X-Data", shows: strings.Repeat("y", 900)},
		{name: "a header like an encoded word", payload: text + `,"headers":{"X-Data":"a =?utf-8?q?Hi?= b"}`, to: "ada", header: "X-Data", shows: "a =?utf-8?q?Hi?= b"},
		{name: "what mail robots see", payload: text, to: "ada", header: "Auto-Submitted", shows: "auto-generated"},
		{name: "what mail robots see, as given", payload: text + `,"headers":{"Auto-Submitted":"auto-replied"}`, to: "ada", header: "Auto-Submitted", shows: "auto-replied"},
		{
			name: "a picture in the text", to: "ada", payload: `"subject":"s","text":"t","html":"<img src=cid:logo>","attachments":[{"filename":"l.png","content_type":"image/png","content":"AAAA","content_id":"logo"}]`,
			check: func(t *testing.T, m readMail) {
				require.Contains(t, m.raw, `type="multipart/alternative"`)
				require.NotEmpty(t, m.part("image/png").text)
			},
		},
		{name: "a zero width space", recipient: `ada\u200b@example.com`, payload: text, rejected: "zero width space"},
		{name: "a byte order mark", recipient: `\ufeffada@example.com`, payload: text, rejected: "byte order mark"},
		{name: "a no-break space", recipient: `\u00a0ada@example.com`, payload: text, rejected: "no-break space"},
		{name: "an invisible character in a copy", payload: text + `,"cc":["grace\u200d@example.com"]`, rejected: "zero width joiner"},
		{name: "two hyphens", recipient: "ada@ab--cd.example", payload: text, to: "ada"},
		{name: "two dots", recipient: "a..b@docomo.example", payload: text, rejected: `"a..b"@example.com`},
		{name: "two dots, quoted", recipient: `\"a..b\"@docomo.example`, payload: text, to: `"a..b"`},
		{name: "a suppressed copy", payload: text + `,"cc":["grace@example.com","gone@example.com"]`, to: "ada grace", warns: "cc[1] is suppressed"},
	}
}

// TestEmailCases_Message runs each message through a worker to a relay, and to the second relay when the first refuses us.
func TestEmailCases_Message(t *testing.T) {
	t.Parallel()
	for _, c := range messageCases() {
		for _, backed := range []bool{false, true} {
			t.Run(c.name+map[bool]string{false: "/alone", true: "/by the backup"}[backed], func(t *testing.T) {
				first, second := smtptest.New(t), smtptest.New(t)
				relays, takes := []*smtptest.Relay{first}, first
				if backed {
					first.Script(smtptest.At("RCPT", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked"))
					relays, takes = append(relays, second), second
				}
				w := newEmailWorker(t, relays...)
				recipient := c.recipient
				if recipient == "" {
					recipient = "ada@example.com"
				}
				e, _ := w.once(emailRecord(`{"channel":"email","recipient":"` + recipient + `","payload":{` + c.payload + `}}`))
				if c.rejected != "" {
					require.Equal(t, notify.StateRejected, e.State)
					require.Contains(t, e.Reason, c.rejected)
					require.Empty(t, append(first.Mails(), second.Mails()...))
					return
				}
				require.Equal(t, notify.StateSent, e.State, e.Reason)
				require.Equal(t, 1, len(first.Mails())+len(second.Mails()))
				got := takes.Mails()[0]
				var to []string
				for _, address := range got.To {
					to = append(to, address[:strings.LastIndexByte(address, '@')])
				}
				require.Equal(t, c.to, strings.Join(to, " "))
				m := read(t, got.Data)
				if c.header != "" {
					shown, err := new(mime.WordDecoder).DecodeHeader(m.head.Get(c.header))
					require.NoError(t, err)
					require.Equal(t, c.shows, shown)
				}
				if c.check != nil {
					c.check(t, m)
				}
				require.Contains(t, strings.Join(e.Warnings, " "), c.warns)
			})
		}
	}
}

// partialCase is a relay that refuses some recipients of ada, cc b and c, and bcc d.
type partialCase struct {
	name         string
	replies      map[string]string // to RCPT, by local part
	partial      string
	alone        partialEnd
	backed       partialEnd // the backup accepts everybody
	afterwardsTo string     // who gets the mail later, once the relay accepts everybody
}

type partialEnd struct {
	state      notify.State
	to         string // of the first relay and, after a bar, of the second
	recipients string
}

func partialCases() []partialCase {
	const everybody = "ada b c d"
	unknown, later, full := map[string]string{"b": "550 5.1.1 User unknown"}, map[string]string{"c": "450 4.7.1 greylisted for 300 seconds"}, map[string]string{"b": "552 5.2.2 Mailbox full"}
	refusal := partialEnd{state: notify.StateRejected, to: "|"}
	return []partialCase{
		{name: "unknown copy", replies: unknown, partial: "reject", alone: refusal, backed: refusal},
		{name: "unknown copy, by default", replies: unknown, alone: refusal, backed: refusal},
		{
			name: "unknown copy", replies: unknown, partial: "deliver",
			alone:  partialEnd{notify.StateSent, "ada c d|", "recipient sent, cc[0] rejected 550 5.1.1, cc[1] sent, bcc[0] sent"},
			backed: partialEnd{notify.StateSent, "ada c d|", "recipient sent, cc[0] rejected 550 5.1.1, cc[1] sent, bcc[0] sent"},
		},
		{
			name: "unknown recipient", replies: map[string]string{"ada": "550 5.1.1 User unknown"}, partial: "deliver",
			alone:  partialEnd{notify.StateSent, "b c d|", "recipient rejected 550 5.1.1, cc[0] sent, cc[1] sent, bcc[0] sent"},
			backed: partialEnd{notify.StateSent, "b c d|", "recipient rejected 550 5.1.1, cc[0] sent, cc[1] sent, bcc[0] sent"},
		},
		{
			name: "greylisted copy", replies: later, partial: "deliver", afterwardsTo: "c",
			alone:  partialEnd{notify.StateRetrying, "ada b d|", "recipient sent, cc[0] sent, cc[1] retrying 450 4.7.1, bcc[0] sent"},
			backed: partialEnd{notify.StateRetrying, "ada b d|", "recipient sent, cc[0] sent, cc[1] retrying 450 4.7.1, bcc[0] sent"},
		},
		{
			name: "full mailbox", replies: full, partial: "deliver", afterwardsTo: "b",
			alone:  partialEnd{notify.StateRetrying, "ada c d|", "recipient sent, cc[0] retrying 552 5.2.2, cc[1] sent, bcc[0] sent"},
			backed: partialEnd{notify.StateSent, "ada c d|b", "recipient sent, cc[0] sent, cc[1] sent, bcc[0] sent"},
		},
		{
			name: "refusal of us", replies: map[string]string{"ada": "554 5.7.1 Client host blocked", "b": "554 5.7.1 Client host blocked", "c": "554 5.7.1 Client host blocked", "d": "554 5.7.1 Client host blocked"}, partial: "deliver",
			alone:  partialEnd{"", "|", ""},
			backed: partialEnd{notify.StateSent, "|" + everybody, "recipient sent, cc[0] sent, cc[1] sent, bcc[0] sent"},
		},
	}
}

// TestEmailCases_Partial: who gets the mail when a relay refuses a part of the recipients, and what the event lists. Nobody gets it twice.
func TestEmailCases_Partial(t *testing.T) {
	t.Parallel()
	for _, c := range partialCases() {
		for name, end := range map[string]partialEnd{"alone": c.alone, "with a backup": c.backed} {
			t.Run(c.name+" "+c.partial+"/"+name, func(t *testing.T) {
				first, second := smtptest.New(t), smtptest.New(t)
				first.Script(func(cmd smtptest.Command) string {
					for local, reply := range c.replies {
						if cmd.Verb == "RCPT" && strings.Contains(cmd.Argument, "<"+local+"@") {
							return reply
						}
					}
					return ""
				})
				relays := []*smtptest.Relay{first}
				if name != "alone" {
					relays = append(relays, second)
				}
				w := newEmailWorker(t, relays...)
				payload := `"subject":"s","text":"t","cc":["b@example.com","c@example.com"],"bcc":["d@example.com"]`
				if c.partial != "" {
					payload += `,"partial":"` + c.partial + `"`
				}
				r := emailRecord(`{"channel":"email","recipient":"ada@example.com","payload":{` + payload + `}}`)
				e, res := w.once(r)
				require.Equal(t, end.state, e.State)
				require.Equal(t, end.to, receivers(first)+"|"+receivers(second))
				var listed []string
				for _, p := range e.Recipients {
					listed = append(listed, strings.TrimSpace(p.Field+" "+string(p.State)+" "+p.Code))
				}
				require.Equal(t, end.recipients, strings.Join(listed, ", "))
				if e.State != notify.StateRetrying {
					return
				}
				first.Script(nil)
				e = w.later(r, res)
				require.Equal(t, notify.StateSent, e.State)
				require.Equal(t, strings.TrimSuffix(end.to, "|")+" "+c.afterwardsTo, receivers(first))
			})
		}
	}
}

// receivers lists the local parts to which a relay has accepted mail.
func receivers(r *smtptest.Relay) string {
	var all []string
	for _, m := range r.Mails() {
		for _, address := range m.To {
			local, _, _ := strings.Cut(address, "@")
			all = append(all, local)
		}
	}
	return strings.Join(all, " ")
}
