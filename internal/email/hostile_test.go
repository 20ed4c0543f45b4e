package email

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func decoded(t testing.TB, encoding string, body io.Reader) string {
	switch encoding {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "7bit":
	default:
		t.Fatalf("encoding %q", encoding)
	}
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(text)
}

// TestRefused: what would break out of its header is refused by field, and shown nowhere.
func TestRefused(t *testing.T) {
	att := func(a notify.Attachment) notify.Email { return notify.Email{Attachments: []notify.Attachment{a}} }
	for field, m := range map[string]*notify.Message{
		"recipient":                         message("evil@example.com\r\nBcc: x@example.com", notify.Email{}),
		"recipient ":                        message("=?utf-8?q?evil=0d=0aBcc:_x?= <ada@example.com>", notify.Email{}),
		"recipient  ":                       message("evil", notify.Email{}),
		"recipient   ":                      message("evil@exa mple.com", notify.Email{}),
		"recipient    ":                     message(`"evil@xn--a.example" <a@xn--a.example>`, notify.Email{}),
		"recipient     ":                    message("evil@example.com, b@example.com", notify.Email{}),
		"from":                              message("a@example.com", notify.Email{From: "evil <a@acme.example>\nX: y"}),
		"cc[1]":                             message("a@example.com", notify.Email{CC: []string{"a@example.com", "evil\x00@example.com"}}),
		"bcc[0]":                            message("a@example.com", notify.Email{BCC: []string{"evil"}}),
		"reply_to[0]":                       message("a@example.com", notify.Email{ReplyTo: []string{"evil\n <a@example.com>"}}),
		"subject":                           message("a@example.com", notify.Email{Subject: "evil\r\nBcc: x@example.com"}),
		"subject  ":                         message("a@example.com", notify.Email{Subject: "evil\rBcc: x@example.com"}),
		"recipient      ":                   message("=?utf-8?q?evil=07?= <ada@example.com>", notify.Email{}),
		"attachments[0].content_type    ":   message("a@example.com", att(notify.Attachment{Filename: "a", ContentType: "text/plain; evil"})),
		"subject ":                          message("a@example.com", notify.Email{Subject: "evil\x00"}),
		"headers":                           message("a@example.com", notify.Email{Headers: map[string]string{"X-A": "evil\nBcc: x"}}),
		"headers ":                          message("a@example.com", notify.Email{Headers: map[string]string{"X-evil: y\r\nBcc": "x"}}),
		"headers  ":                         message("a@example.com", notify.Email{Headers: map[string]string{"Bcc": "evil@example.com"}}),
		"headers   ":                        message("a@example.com", notify.Email{Headers: map[string]string{"List-": "evil"}}),
		"attachments[0].filename":           message("a@example.com", att(notify.Attachment{Filename: "evil\r\n\r\n"})),
		"attachments[0].filename ":          message("a@example.com", att(notify.Attachment{ContentType: "text/evil"})),
		"attachments[0].content_type":       message("a@example.com", att(notify.Attachment{Filename: "a", ContentType: "text/plain\r\nX-Evil: evil"})),
		"attachments[0].content_type ":      message("a@example.com", att(notify.Attachment{Filename: "a", ContentType: "multipart/evil"})),
		"attachments[0].content_type  ":     message("a@example.com", att(notify.Attachment{Filename: "a", ContentType: "evil"})),
		"attachments[0].content_type     ":  message("a@example.com", att(notify.Attachment{Filename: "evil", ContentType: "message/partial; id=1"})),
		"attachments[0].content_type      ": message("a@example.com", att(notify.Attachment{Filename: "evil", ContentType: "message/external-body; access-type=x"})),
		"recipient       ":                  message("evil\u200b@example.com", notify.Email{}),
		"recipient        ":                 message("evil\u00a0@example.com", notify.Email{}),
		"recipient         ":                message("evil@-a.example", notify.Email{}),
		"headers    ":                       message("a@example.com", notify.Email{Headers: map[string]string{"List-Id": strings.Repeat("evil", 249)}}),
		"attachments[0].content_id":         message("a@example.com", att(notify.Attachment{Filename: "a", ContentID: "evil>\r\n"})),
	} {
		t.Run(field, func(t *testing.T) {
			_, err := Compose(m, "no-reply@acme.example")
			f := notify.Judge(err)
			require.NotNil(t, f)
			require.Equal(t, notify.Permanent, f.Verdict)
			require.True(t, strings.HasPrefix(f.Reason, strings.TrimSpace(field)+" "), f.Reason)
			require.NotContains(t, fmt.Sprintf("%v %#v", err, err), "evil")
		})
	}
}

func TestSenderAndID(t *testing.T) {
	_, err := Compose(message("a@example.com", notify.Email{}), "")
	require.ErrorContains(t, err, "set one of them")
	_, err = Compose(message("a@example.com", notify.Email{}), "nobody")
	require.ErrorContains(t, err, "the gateway's from")
	_, err = Compose(&notify.Message{}, "a@example.com")
	require.ErrorContains(t, err, "is not an e-mail")
	m := message("a@example.com", notify.Email{})
	m.ID = "a> b"
	_, err = Compose(m, "a@example.com")
	require.ErrorContains(t, err, "Message-ID")
	m = message("a@example.com", notify.Email{From: "Me <me@BÜCHER.example>"})
	for range 2 {
		msg, err := Compose(m, "a@other.example")
		require.NoError(t, err)
		require.Equal(t, id+"@xn--bcher-kva.example", msg.ID)
	}
}

// FuzzCompose: whatever is composed parses again, with the recipients in no header but their own and the parts intact.
func FuzzCompose(f *testing.F) {
	f.Add("ada@example.com", "Acme <a@acme.example>", "Hello 🚀", "text\r\n.\r\n", "<p>é</p>", "X-A", "b", "file 🧾.pdf", "text/plain; charset=x")
	f.Add(`"a@b\"c" <"d e"@example.com>`, "=?utf-8?q?x?= <a@a.example>", "a"+strings.Repeat(" ", 200)+"b", ".", "", "List-Id", "  ", "a/b", "")
	f.Fuzz(func(t *testing.T, to, from, subject, text, html, header, value, filename, kind string) {
		m := message(to, notify.Email{
			From: from, Subject: subject, Text: text, HTML: html, Headers: map[string]string{header: value}, BCC: []string{"hidden@example.com"},
			Attachments: []notify.Attachment{{Filename: filename, ContentType: kind, Content: []byte(text)}, {Filename: "b", ContentID: "c"}},
		})
		if len(to)+len(from) > 600 || len(subject) > 700 || len(value) > 700 {
			t.Skip("longer than a line, which validation refuses")
		}
		msg, err := compose(m, "", time.Unix(0, 0))
		if err != nil {
			require.Equal(t, notify.Permanent, notify.Judge(err).Verdict)
			return
		}
		sound(t, string(msg.Data), msg.UTF8)
		parsed, err := mail.ReadMessage(bytes.NewReader(msg.Data))
		require.NoError(t, err)
		require.Empty(t, parsed.Header["Bcc"])
		for name, values := range parsed.Header {
			require.Len(t, values, 1, name)
			require.NotContains(t, values[0], "hidden@", name)
		}
		for _, name := range []string{"From", "To"} {
			list, err := parsed.Header.AddressList(name)
			require.NoError(t, err)
			require.Len(t, list, 1)
		}
	})
}
