package smtp

import (
	"bytes"
	"net/mail"
	"regexp"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/email"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// envelope is one transaction, ready for the wire.
type envelope struct {
	message *notify.Message
	id      string   // the Message-ID without brackets
	from    string   // <address>
	to      []string // <address>
	fields  []string // what each of to is called in the notification
	ownFrom bool     // the sender is the gateway's, not the message's
	utf8    bool     // it needs SMTPUTF8
	data    []byte   // the mail, dots stuffed, the final dot included
	size    int      // of the mail
}

func (s *Sender) envelope(m *notify.Message) (*envelope, error) {
	msg, err := email.Compose(m, s.from)
	if err != nil {
		return nil, err
	}
	e := &envelope{message: m, id: strings.Trim(msg.GetMessageID(), "<>"), ownFrom: m.Email.From == "", utf8: email.NeedsUTF8(msg)}
	if e.from, err = msg.GetSender(false); err == nil {
		e.to, err = msg.GetRecipients()
	}
	var raw bytes.Buffer
	if err == nil {
		_, err = msg.WriteTo(&raw)
	}
	if err != nil {
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: "the mail cannot be composed"}
	}
	e.fields = append(e.fields, "recipient")
	for i := range m.Email.CC {
		e.fields = append(e.fields, "cc["+strconv.Itoa(i)+"]")
	}
	for i := range m.Email.BCC {
		e.fields = append(e.fields, "bcc["+strconv.Itoa(i)+"]")
	}
	e.size = raw.Len()
	e.data = stuffed(raw.Bytes())
	return e, nil
}

// probe is an envelope from the gateway's own sender to the same address, without a mail.
func (s *Sender) probe() (*envelope, error) {
	from, err := mail.ParseAddress(s.from)
	if err != nil {
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: "the gateway's from is not one mailbox"}
	}
	return s.envelope(&notify.Message{
		Notification: notify.Notification{ID: notify.NewID(), Channel: notify.ChannelEmail, Recipient: (&mail.Address{Address: from.Address}).String()},
		Email:        &notify.Email{Subject: "check", Text: "check"},
	})
}

// stuffed doubles the dots that begin lines and adds the final one, so that all goes out in one write.
func stuffed(raw []byte) []byte {
	if bytes.Contains(raw, []byte("\n.")) {
		raw = bytes.ReplaceAll(raw, []byte("\n."), []byte("\n.."))
	}
	if bytes.HasPrefix(raw, []byte(".")) {
		raw = append([]byte("."), raw...)
	}
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		raw = append(raw, "\r\n"...)
	}
	return append(raw, ".\r\n"...)
}

// queueID finds the relay's name for the message in what Postfix, Exim and the like say of it; names have a digit.
var queueID = regexp.MustCompile(`(?i)(?:queued as |queued mail as |\bid=|^(?:2\.\d\.\d )?ok:? )([\w-]*\d[\w.-]{3,100})\b`)

func providerID(answer string, e *envelope) string {
	if m := queueID.FindStringSubmatch(answer); m != nil {
		return m[1]
	}
	return e.id
}
