package smtp

import (
	"bytes"
	"net/mail"
	"regexp"

	"github.com/laudspeaker/laudspeaker/internal/email"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// envelope holds the data of one transaction.
type envelope struct {
	message *notify.Message
	id      string   // the Message-ID without brackets
	from    string   // <address>
	to      []string // <address>
	fields  []string // name of each recipient in the notification, such as cc[0]
	ownFrom bool     // the sender is from the gateway's configuration, not from the message
	utf8    bool     // it needs SMTPUTF8
	data    []byte   // the mail, dots stuffed, the final dot included
	size    int      // of the mail
	part    bool     // other recipients of the mail are in other transactions
	lenient bool     // a refused recipient does not stop the others
}

// only returns an envelope for some of e's recipients, by their indexes.
func (e *envelope) only(indexes []int) *envelope {
	part := *e
	part.part = true
	part.to = nil
	part.fields = nil
	for _, i := range indexes {
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
	e.data = dotStuff(msg.Data)
	return e, nil
}

// probe returns an envelope from the gateway's own sender to the same address, without a mail.
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

// dotStuff doubles the dots at the beginning of lines and adds the final dot, so that one write sends all of it.
func dotStuff(raw []byte) []byte {
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

// queueID finds the queue ID in the final reply of Postfix, Exim and similar relays; it contains a digit.
var queueID = regexp.MustCompile(`(?i)(?:queued as |queued mail as |\bid=|^(?:2\.\d\.\d )?ok:? )([\w-]*\d[\w.-]{3,100})\b`)

func providerID(answer string, e *envelope) string {
	if m := queueID.FindStringSubmatch(answer); m != nil {
		return m[1]
	}
	return e.id
}
