package smtp

import (
	"bytes"
	"net/mail"
	"regexp"

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
	part    bool     // other recipients of the mail are in other transactions
	lenient bool     // a refused recipient does not stop the others
}

// only is e for some of its recipients, by their places.
func (e *envelope) only(places []int) *envelope {
	part := *e
	part.part, part.to, part.fields = true, nil, nil
	for _, i := range places {
		part.to = append(part.to, e.to[i])
		part.fields = append(part.fields, e.fields[i])
	}
	return &part
}

func (s *Sender) envelope(m *notify.Message) (*envelope, error) {
	msg, err := email.Compose(m, s.from)
	if err != nil {
		return nil, err
	}
	e := &envelope{message: m, id: msg.ID, from: msg.From, ownFrom: m.Email.From == "", utf8: msg.UTF8, size: len(msg.Data)}
	for _, r := range msg.To {
		e.to = append(e.to, r.Address)
		e.fields = append(e.fields, r.Field)
	}
	e.data = stuffed(msg.Data)
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
