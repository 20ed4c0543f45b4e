package smtp

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mailRelay is a relay with a sender to it.
func mailRelay(t *testing.T, script func(smtptest.Command) string) (*smtptest.Relay, *Sender) {
	r := smtptest.New(t)
	r.Script(script)
	s, err := New("mail", config.SMTP{Host: "127.0.0.1", Port: r.Port, TLS: plain, HELO: "client.example"}, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return r, s
}

// refusing refuses recipients by their local parts.
func refusing(replies map[string]string) func(smtptest.Command) string {
	return func(c smtptest.Command) string {
		for local, reply := range replies {
			if c.Verb == "RCPT" && strings.Contains(c.Argument, "<"+local+"@") {
				return reply
			}
		}
		return ""
	}
}

func partial(done string) *notify.Message {
	m := message("ada@example.com", copies)
	m.Parts = &notify.Parts{Partial: true, Done: notify.ParseParts(done)}
	return m
}

// With partial: deliver, the recipients that the relay accepts get the mail, and each recipient has a result.
func TestPerRecipient_Results(t *testing.T) {
	for _, c := range []struct {
		name    string
		replies map[string]string
		done    string // before
		verdict notify.Verdict
		to      string // who got the mail
		after   string
		waits   string
	}{
		{"all accepted", nil, "", notify.Accepted, "ada grace gone blind", "recipient=sent;cc[0]=sent;cc[1]=sent;bcc[0]=sent", ""},
		{"a copy is unknown", map[string]string{"gone": "550 5.1.1 unknown"}, "", notify.Accepted, "ada grace blind", "cc[1]=rejected 550 5.1.1;recipient=sent;cc[0]=sent;bcc[0]=sent", ""},
		{"the recipient is unknown", map[string]string{"ada": "550 5.1.1 unknown"}, "", notify.Accepted, "grace gone blind", "recipient=rejected 550 5.1.1;cc[0]=sent;cc[1]=sent;bcc[0]=sent", ""},
		{"a copy is greylisted", map[string]string{"gone": "450 4.7.1 greylisted"}, "", notify.Throttled, "ada grace blind", "recipient=sent;cc[0]=sent;bcc[0]=sent", "cc[1]"},
		{"a mailbox is full", map[string]string{"gone": "552 5.2.2 Mailbox full"}, "", notify.Transient, "ada grace blind", "recipient=sent;cc[0]=sent;bcc[0]=sent", "cc[1]"},
		{"the relay does not relay to one", map[string]string{"gone": "554 5.7.1 Relay access denied"}, "", notify.Transient, "ada grace blind", "recipient=sent;cc[0]=sent;bcc[0]=sent", "cc[1]"},
		{"nobody is known", map[string]string{"": "550 5.1.1 unknown"}, "", notify.Permanent, "", "recipient=rejected 550 5.1.1;cc[0]=rejected 550 5.1.1;cc[1]=rejected 550 5.1.1;bcc[0]=rejected 550 5.1.1", ""},
		{"some have it", nil, "recipient=sent;cc[1]=rejected 550 5.1.1", notify.Accepted, "grace blind", "recipient=sent;cc[1]=rejected 550 5.1.1;cc[0]=sent;bcc[0]=sent", ""},
		{"all have it", nil, "recipient=sent;cc[0]=sent;cc[1]=sent;bcc[0]=sent", notify.Accepted, "", "recipient=sent;cc[0]=sent;cc[1]=sent;bcc[0]=sent", ""},
	} {
		for _, extension := range []string{"PIPELINING", "8BITMIME"} {
			t.Run(c.name+" "+extension, func(t *testing.T) {
				script := refusing(c.replies)
				if _, all := c.replies[""]; all {
					script = smtptest.At("RCPT", c.replies[""])
				}
				r, s := mailRelay(t, script)
				r.Announce(extension)
				m := partial(c.done)
				_, err := s.SendPatiently(t.Context(), m)
				verdict := notify.Accepted
				if f := notify.Judge(err); f != nil {
					verdict = f.Verdict
				}
				require.Equal(t, c.verdict, verdict)
				var to []string
				for _, mail := range r.Mails() {
					for _, address := range mail.To {
						local, _, _ := strings.Cut(address, "@")
						to = append(to, local)
					}
				}
				require.Equal(t, c.to, strings.Join(to, " "))
				require.Equal(t, c.after, m.Parts.String())
				var waits []string
				for _, p := range m.Parts.Waiting {
					waits = append(waits, p.Field)
				}
				require.Equal(t, c.waits, strings.Join(waits, " "))
			})
		}
	}
}

// A refusal of the gateway stops the whole mail, and no recipient has a result.
func TestPerRecipient_RefusalOfGatewayIsAboutAll(t *testing.T) {
	_, s := mailRelay(t, smtptest.At("RCPT", "554 5.7.1 <ada@example.com>: Relay access denied"))
	m := partial("")
	_, err := s.SendPatiently(t.Context(), m)
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
	require.Empty(t, m.Parts.Done)
}

// The relay accepts one recipient at a time. The results are recorded before each further transaction. If that fails, no
// transaction follows, and the next attempt continues there. Without partial the same holds once the first recipient has the
// mail.
func TestPerRecipient_OneTransactionAtATime(t *testing.T) {
	for _, asked := range []bool{true, false} {
		single := func(c smtptest.Command) string {
			switch {
			case c.Verb == smtptest.Greeting && c.Open > 1:
				return "421 4.3.2 busy"
			case c.Verb == "RCPT" && len(c.To) > 0:
				return "452 4.5.3 Too many recipients"
			}
			return ""
		}
		r, s := mailRelay(t, single)
		m := partial("")
		m.Parts.Partial = asked
		var records []string
		m.Parts.Record = func(context.Context) error {
			require.Len(t, r.Mails(), len(records)+1)
			records = append(records, m.Parts.String())
			if len(records) == 2 {
				return errors.New("the lease has run out")
			}
			return nil
		}
		_, err := s.SendPatiently(t.Context(), m)
		require.Equal(t, notify.Transient, notify.Judge(err).Verdict)
		require.Equal(t, []string{"recipient=sent", "recipient=sent;cc[0]=sent"}, records)
		require.Len(t, r.Mails(), 2)

		next := partial(records[0]) // what was not recorded is repeated
		next.Parts.Partial = asked
		_, err = s.SendPatiently(t.Context(), next)
		require.NoError(t, err)
		require.Len(t, r.Mails(), 5)
		require.Equal(t, []string{"grace@example.com"}, r.Mails()[2].To)
	}
}

// The final reply of a transaction is lost: the state of its recipients is unknown, and the others keep their results.
func TestPerRecipient_AmbiguousTransaction(t *testing.T) {
	f := newFake(t)
	f.on(atDot, act{drop: true})
	s := newSender(t, f)
	m := partial("recipient=sent")
	_, err := s.SendPatiently(t.Context(), m)
	require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict)
	require.Equal(t, "recipient=sent", m.Parts.String())
}
