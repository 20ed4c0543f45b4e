package smtp

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newSender(t testing.TB, f *fake, change ...func(*config.SMTP)) *Sender {
	cfg := f.config()
	for _, c := range change {
		c(&cfg)
	}
	s, err := New("mail", cfg, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func send(t testing.TB, s *Sender, m *notify.Message) (notify.Receipt, *notify.Failure) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	receipt, err := s.Send(ctx, m)
	return receipt, notify.Judge(err)
}

func copies(e *notify.Email) {
	e.CC, e.BCC = []string{"Grace <grace@example.com>", "gone@example.com"}, []string{"Blind <blind@example.com>"}
}

func pipelined(f *fake) { f.ext = []string{"PIPELINING"} }
func oneByOne(*fake)    {}

// TestTransaction_Envelope: one transaction has all recipients, no header names the bcc recipient, and dots are doubled.
func TestTransaction_Envelope(t *testing.T) {
	for name, set := range map[string]func(*fake){"pipelined": pipelined, "one by one": oneByOne} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, set)
			m := message(`"o d"@example.com`, copies, func(e *notify.Email) { e.Text = ".\r\n..\r\nend\n." })
			receipt, failure := send(t, newSender(t, f), m)
			require.Nil(t, failure)
			require.Equal(t, "4XyZ01abc", receipt.ProviderID)
			got := f.mails()
			require.Len(t, got, 1)
			require.Equal(t, "FROM:<no-reply@acme.example>", got[0].from)
			require.Equal(t, []string{`"o d"@example.com`, "grace@example.com", "gone@example.com", "blind@example.com"}, got[0].to)
			require.NotContains(t, got[0].data, "lind")
			require.Contains(t, got[0].data, "\r\n\r\n.\r\n..\r\nend\r\n.\r\n")
			require.Contains(t, got[0].data, "Message-ID: <"+m.ID+"@acme.example>")
		})
	}
}

// TestTransaction_RefusedCopyStopsAll: if one copy is refused, nobody gets the mail; the reason names the field, and the
// connection is reused.
func TestTransaction_RefusedCopyStopsAll(t *testing.T) {
	for name, set := range map[string]func(*fake){"pipelined": pipelined, "one by one": oneByOne} {
		for reply, want := range map[string]notify.Verdict{"550 5.1.1 {local} unknown": notify.Permanent, "450 4.2.1 {local} busy": notify.Transient} {
			t.Run(name+" "+reply, func(t *testing.T) {
				f := newFake(t, set, func(f *fake) { f.refuse = map[string]string{"gone@example.com": reply} })
				s := newSender(t, f)
				_, failure := send(t, s, message("ada@example.com", copies))
				require.Equal(t, want, failure.Verdict)
				require.Contains(t, failure.Reason, "cc[1]")
				require.Contains(t, failure.Reason, hidden)
				require.False(t, failure.Gone)
				require.Empty(t, f.mails())
				_, failure = send(t, s, message("ada@example.com"))
				require.Nil(t, failure)
				require.Equal(t, 1, f.connections())
				require.Contains(t, f.commands(), "RSET")
			})
		}
	}
	t.Run("the gravest counts", func(t *testing.T) {
		f := newFake(t, pipelined, func(f *fake) {
			f.refuse = map[string]string{"ada@example.com": "450 4.2.1 busy", "grace@example.com": "550 5.1.1 no", "gone@example.com": "550 5.1.1 no"}
		})
		_, failure := send(t, newSender(t, f), message("ada@example.com", copies))
		require.Equal(t, notify.Permanent, failure.Verdict)
		require.Contains(t, failure.Reason, "cc[0]")
	})
}

// TestTransaction_GoAheadAfterRefusal: a relay may answer 354 although it refused the only recipient (RFC 2920 §3.1). Then no
// mail may follow, not even an empty one.
func TestTransaction_GoAheadAfterRefusal(t *testing.T) {
	f := newFake(t, pipelined, func(f *fake) { f.refuse = map[string]string{"ada@example.com": "550 5.1.1 no"} })
	s := newSender(t, f)
	_, failure := send(t, s, message("ada@example.com"))
	require.True(t, failure.Gone)
	_, failure = send(t, s, message("grace@example.com"))
	require.Nil(t, failure)
	require.Len(t, f.mails(), 1)
	require.Equal(t, 2, f.connections(), "the first one waited for a mail that did not come")
}

// TestTransaction_UTF8: the extension is requested only if needed, and a relay without it gets no such mail.
func TestTransaction_UTF8(t *testing.T) {
	able := newFake(t, func(f *fake) { f.ext = []string{"8BITMIME", "SMTPUTF8"} })
	s := newSender(t, able)
	_, failure := send(t, s, message("ada@bücher.example"))
	require.Nil(t, failure)
	require.Equal(t, "FROM:<no-reply@acme.example>", able.mails()[0].from)
	_, failure = send(t, s, message("zoë@bücher.example"))
	require.Nil(t, failure)
	require.Equal(t, "FROM:<no-reply@acme.example> BODY=8BITMIME SMTPUTF8", able.mails()[1].from)
	require.Equal(t, []string{"zoë@xn--bcher-kva.example"}, able.mails()[1].to)

	unable := newFake(t)
	s = newSender(t, unable)
	_, failure = send(t, s, message("ada@example.com", func(e *notify.Email) { e.ReplyTo = []string{"zoë@example.com"} }))
	require.Equal(t, notify.Permanent, failure.Verdict)
	require.Contains(t, failure.Reason, "SMTPUTF8")
	_, failure = send(t, s, message("ada@bücher.example"))
	require.Nil(t, failure)
	require.Equal(t, 1, unable.connections())
}

func TestTransaction_Size(t *testing.T) {
	f := newFake(t, func(f *fake) { f.ext = []string{"SIZE 5000"} })
	s := newSender(t, f)
	_, failure := send(t, s, message("ada@example.com", func(e *notify.Email) { e.Text = strings.Repeat("long line\n", 1000) }))
	require.Equal(t, []any{notify.Permanent, notify.ReasonTooLarge}, []any{failure.Verdict, failure.Reason})
	_, failure = send(t, s, message("ada@example.com"))
	require.Nil(t, failure)
	require.Regexp(t, `^FROM:<no-reply@acme.example> SIZE=\d+$`, f.mails()[0].from)
}

// TestTransaction_LostWhileWriting: the mail is larger than all buffers, so the relay cannot have the final dot.
func TestTransaction_LostWhileWriting(t *testing.T) {
	f := newFake(t)
	f.on(atContent, act{drop: true})
	noise := make([]byte, 32<<20)
	_, _ = rand.Read(noise)
	_, failure := send(t, newSender(t, f), message("ada@example.com", func(e *notify.Email) {
		e.Attachments = []notify.Attachment{{Filename: "noise", Content: noise}}
	}))
	require.Equal(t, notify.Transient, failure.Verdict)
	require.Contains(t, failure.Reason, string(atContent))
}

// TestTransaction_EndlessReply: a relay cannot fill the memory.
func TestTransaction_EndlessReply(t *testing.T) {
	for at, want := range map[step]notify.Verdict{atGreeting: notify.Transient, atMail: notify.Transient, atDot: notify.Ambiguous} {
		f := newFake(t)
		f.on(at, act{reply: "250 " + strings.Repeat("x", 2*maxReplies)})
		_, failure := send(t, newSender(t, f), message("ada@example.com"))
		require.Equal(t, want, failure.Verdict)
		require.ErrorIs(t, failure, errEndless)
	}
}

func TestTransaction_ProviderID(t *testing.T) {
	e := &envelope{id: "id@acme.example"}
	for answer, want := range map[string]string{
		"2.0.0 Ok: queued as 4XyZ01abc": "4XyZ01abc",
		"OK id=1rQ2Zt-0004Ab-2x":        "1rQ2Zt-0004Ab-2x",
		"Ok 0100018c-abcd-000000":       "0100018c-abcd-000000",
		"2.0.0 Ok":                      "id@acme.example",
		"Message accepted":              "id@acme.example",
		"":                              "id@acme.example",
	} {
		require.Equal(t, want, providerID(answer, e), answer)
	}
}

func TestEnvelope_DotStuffing(t *testing.T) {
	for raw, want := range map[string]string{
		"":                  "\r\n.\r\n",
		"a\r\n":             "a\r\n.\r\n",
		"a":                 "a\r\n.\r\n",
		".\r\n..\r\na.\r\n": "..\r\n...\r\na.\r\n.\r\n",
		"a\n.\nb":           "a\n..\nb\r\n.\r\n",
	} {
		require.Equal(t, want, string(dotStuff([]byte(raw))), fmt.Sprintf("%q", raw))
	}
}
