package smtp

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestSplit_ManyRecipients: the relay accepts two recipients per transaction. Each address gets the mail once, or nobody gets
// it. If the relay accepts one transaction at a time, the warnings list the refused recipients.
func TestSplit_ManyRecipients(t *testing.T) {
	five := func(e *notify.Email) {
		e.CC, e.BCC = []string{"b@example.com", "c@example.com"}, []string{"d@example.com", "e@example.com"}
	}
	everyone := []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"}
	for _, c := range []struct {
		name     string
		full     string // the reply to the third recipient
		bad      string // a recipient whom the relay does not know
		dot      string // a recipient whose mail the relay refuses
		single   bool   // no second connection
		got      []string
		warnings []string
		verdict  notify.Verdict
	}{
		{name: "in three transactions", full: "452 4.5.3 Too many recipients", got: everyone},
		{name: "by a permanent code", full: "552 5.5.3 Too many recipients", got: everyone},
		{name: "without a code", full: "452 Error: too many recipients", got: everyone},
		{name: "one is unknown", full: "452 4.5.3 Too many recipients", bad: "e@example.com", verdict: notify.Permanent},
		{name: "a mail is refused later", full: "452 4.5.3 Too many recipients", dot: "e@example.com", got: everyone[:4], warnings: []string{"it was not sent to bcc[1] (554 5.7.1)"}},
		{name: "a mail is refused at first", full: "452 4.5.3 Too many recipients", dot: "a@example.com", verdict: notify.Permanent},
		{name: "one at a time", full: "452 4.5.3 Too many recipients", single: true, got: everyone},
		{name: "one at a time, one is unknown", full: "452 4.5.3 Too many recipients", single: true, bad: "c@example.com", got: slices.Delete(slices.Clone(everyone), 2, 3), warnings: []string{"it was not sent to cc[1] (550 5.1.1)"}},
	} {
		for variant, extensions := range map[string][]string{"pipelined": {"PIPELINING"}, "one by one": nil} {
			t.Run(c.name+" "+variant, func(t *testing.T) {
				r := smtptest.New(t)
				r.Announce(extensions...)
				r.Script(func(cmd smtptest.Command) string {
					switch {
					case c.single && cmd.Verb == smtptest.Greeting && cmd.Connection > 1:
						return "421 4.3.2 one at a time"
					case cmd.Verb == "RCPT" && len(cmd.To) >= 2:
						return c.full
					case c.bad != "" && cmd.Verb == "RCPT" && strings.Contains(cmd.Argument, c.bad):
						return "550 5.1.1 unknown"
					case cmd.Verb == smtptest.Dot && slices.Contains(cmd.To, c.dot):
						return "554 5.7.1 spam"
					}
					return ""
				})
				s, err := New("mail", config.SMTP{Host: "127.0.0.1", Port: r.Port, TLS: plain, Connections: 1}, zap.NewNop())
				require.NoError(t, err)
				receipt, failure := send(t, s, message("a@example.com", five))
				require.NoError(t, s.Close())
				var got []string
				for _, m := range r.Mails() {
					got = append(got, m.To...)
				}
				slices.Sort(got)
				require.Equal(t, c.got, got)
				if c.verdict != "" {
					require.Equal(t, c.verdict, failure.Verdict)
					return
				}
				require.Nil(t, failure)
				require.Len(t, receipt.Warnings, len(c.warnings))
				for i, w := range c.warnings {
					require.Contains(t, receipt.Warnings[i], w)
				}
			})
		}
	}
}
