package email

import (
	"errors"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const id = "0190163d-8694-739b-aea5-966c26f8ad91"

func message(recipient string, e notify.Email) *notify.Message {
	return &notify.Message{Notification: notify.Notification{ID: id, Channel: notify.ChannelEmail, Recipient: recipient}, Email: &e}
}

// TestGolden: what a mail client makes of each mail, one outline a file.
func TestGolden(t *testing.T) {
	logo := notify.Attachment{Filename: "logo.png", ContentType: "image/png", Content: []byte{0x89, 'P', 'N', 'G'}, ContentID: "logo"}
	bill := notify.Attachment{Filename: "Rechnung Nº 7 🧾.pdf", ContentType: "application/pdf", Content: []byte("%PDF")}
	for name, m := range map[string]*notify.Message{
		"text":         message("ada@example.com", notify.Email{Subject: "Hello", Text: "line one\n.\n..two\r\nend"}),
		"html":         message("ada@example.com", notify.Email{Subject: "Hello", HTML: "<p>hi</p>"}),
		"alternatives": message("ada@example.com", notify.Email{Subject: "Hello", Text: "hi", HTML: "<p>hi</p>"}),
		"inline":       message("ada@example.com", notify.Email{Subject: "s", HTML: `<img src="cid:logo">`, Attachments: []notify.Attachment{logo}}),
		"attachment":   message("ada@example.com", notify.Email{Subject: "s", Text: "see file", Attachments: []notify.Attachment{bill, {Filename: "raw", Content: nil}}}),
		"everything": message(`"Lovelace, Ada" <ada@example.com>`, notify.Email{
			From: "Zoë 🚀 <zoe@bücher.example>", ReplyTo: []string{"help@acme.example", "Desk <desk@acme.example>"},
			CC: []string{"Grace <grace@example.com>", "x@example.com"}, BCC: []string{"secret@example.com"},
			Subject: "Grüße 🚀 aus Köln – " + strings.Repeat("sehr lang 🎉 ", 12),
			Text:    "Grüße 🚀\n" + strings.Repeat("long ", 60), HTML: "<p>Grüße 🚀</p>",
			Headers:     map[string]string{"X-Campaign": "späť 🎉", "List-Unsubscribe": "<https://acme.example/u?" + strings.Repeat("abc", 40) + ">"},
			Attachments: []notify.Attachment{logo, bill},
		}),
		"message": message("ada@example.com", notify.Email{Subject: "s", Text: "t", Attachments: []notify.Attachment{
			{Filename: "x.eml", ContentType: "message/rfc822", Content: []byte("Subject: inner\r\n\r\n.body\n")}, {Filename: "y.eml", ContentType: "message/rfc822", Content: []byte("Subject: \xfc\r\n\r\n")},
		}}),
		"one address":   message("ada@example.com", notify.Email{Subject: "s", Text: "t", CC: []string{"Ada <ada@EXAMPLE.com>", "b@example.com"}, BCC: []string{"ada@example.com", "b@example.com", "Ada@example.com"}}),
		"looks encoded": message(`"=?utf-8?q?Eve?=" <ada@example.com>`, notify.Email{Subject: "literal =?utf-8?q?Hi?= text", Text: "t", Headers: map[string]string{"X-Campaign": "=?x"}}),
		"long words": message(strings.Repeat("a", 64)+"@"+strings.Repeat("b", 60)+".example", notify.Email{
			Subject: strings.Repeat("w", 998), Text: "t", Headers: map[string]string{"X-Campaign": strings.Repeat("x", 998), "Auto-Submitted": "no"},
		}),
		"long first":   message(strings.Repeat("Ü", 40)+" <ada@example.com>", notify.Email{Subject: strings.Repeat("Über", 30), Text: "t"}),
		"utf8 address": message("Δοκιμή <δοκιμή@παράδειγμα.example>", notify.Email{Subject: "s", Text: "t"}),
		"quoted local": message(`"a b>c"@example.com`, notify.Email{Subject: "s", Text: "t"}),
		"blanks":       message(`"A   B" <ada@example.com>`, notify.Email{Subject: "  two  " + strings.Repeat(" ", 90) + strings.Repeat("w", 90), Text: "t"}),
	} {
		t.Run(name, func(t *testing.T) {
			msg, err := compose(m, "Acme <no-reply@acme.example>", time.Unix(1700000000, 0).UTC())
			require.NoError(t, err)
			sound(t, string(msg.Data), msg.UTF8)
			outline := "MAIL FROM " + msg.From + "\nRCPT TO"
			for _, r := range msg.To {
				outline += " " + r.Address
			}
			outline += "\n" + outlineOf(t, string(msg.Data))
			golden(t, strings.ReplaceAll(name, " ", "_"), outline)
		})
	}
}

func golden(t *testing.T, name, got string) {
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// sound: lines end with CRLF only and are never too long, headers hold no line of blanks, and ASCII unless promised.
func sound(t testing.TB, raw string, utf8 bool) {
	require.NotContains(t, strings.ReplaceAll(raw, "\r\n", ""), "\n")
	require.NotContains(t, strings.ReplaceAll(raw, "\r\n", ""), "\r")
	require.NotContains(t, raw, "\x00")
	head, _, found := strings.Cut(raw, "\r\n\r\n")
	require.True(t, found)
	for line := range strings.SplitSeq(head, "\r\n") {
		require.NotEmpty(t, strings.TrimSpace(line), "a line of blanks ends the headers for some")
		require.NotRegexp(t, `^[^ ]+:$`, line, "the first line of a header is empty")
		require.True(t, len(line) <= 76 || !strings.Contains(line, "=?") || strings.Count(line, " ") < 2, "a long line with an encoded word: %s", line)
	}
	for line := range strings.SplitSeq(raw, "\r\n") {
		require.LessOrEqual(t, len(line), 998)
		require.True(t, utf8 || ascii(line), "beyond ASCII: %q", line)
	}
}

// outlineOf shows the mail as a reader sees it: decoded headers and the tree of parts.
func outlineOf(t testing.TB, raw string) string {
	m, err := mail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	var out strings.Builder
	for _, name := range []string{"Date", "Message-Id", "From", "To", "Cc", "Bcc", "Reply-To", "Subject", "X-Campaign", "List-Unsubscribe", "User-Agent", "Auto-Submitted", "Mime-Version"} {
		for _, v := range m.Header[name] {
			dec := mime.WordDecoder{}
			v, err := dec.DecodeHeader(v)
			require.NoError(t, err)
			out.WriteString(name + ": " + v + "\n")
		}
	}
	outlinePart(t, &out, "", textproto.MIMEHeader(m.Header), m.Body)
	return out.String()
}

func outlinePart(t testing.TB, out *strings.Builder, indent string, h textproto.MIMEHeader, body io.Reader) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	require.NoError(t, err)
	out.WriteString(indent + kind)
	if params["type"] != "" {
		out.WriteString(" type=" + params["type"])
	}
	if d := h.Get("Content-Disposition"); d != "" {
		d, dp, err := mime.ParseMediaType(d)
		require.NoError(t, err)
		require.Equal(t, dp["filename"], params["name"])
		out.WriteString(" " + d + " " + dp["filename"] + " " + h.Get("Content-Id"))
	}
	out.WriteString("\n")
	if strings.HasPrefix(kind, "multipart/") {
		for r := multipart.NewReader(body, params["boundary"]); ; {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			require.NoError(t, err)
			outlinePart(t, out, indent+"  ", p.Header, p)
		}
	}
	text := decoded(t, h.Get("Content-Transfer-Encoding"), body)
	for l := range strings.SplitAfterSeq(text, "\n") {
		out.WriteString(indent + "  | " + strings.TrimRight(l, "\r\n") + "\n")
	}
}
