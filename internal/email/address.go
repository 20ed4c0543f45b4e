package email

import (
	"net/mail"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func addressesOf(m *notify.Message, from string) (*addresses, error) {
	field := "from"
	if m.Email.From != "" {
		from = m.Email.From
	} else if field = "the gateway's from"; from == "" {
		return nil, fault("from", "is absent, and the gateway has no sender of its own: set one of them")
	}
	var a addresses
	var err error
	if a.from, err = mailbox(field, from); err != nil {
		return nil, err
	}
	if a.to, err = mailbox("recipient", m.Recipient); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		field string
		from  []string
		to    *[]*mail.Address
	}{
		{"cc", m.Email.CC, &a.cc}, {"bcc", m.Email.BCC, &a.bcc}, {"reply_to", m.Email.ReplyTo, &a.replyTo},
	} {
		for i, s := range list.from {
			box, err := mailbox(element(list.field, i), s)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, box)
		}
	}
	return &a, nil
}

// mailbox parses one RFC 5322 mailbox. Address.String, by which go-mail writes it to headers and envelope, quotes the
// local part and encodes the name; the name is searched all the same, for an encoded word may hold a line break.
func mailbox(field, s string) (*mail.Address, error) {
	if _, err := line(field, s); err != nil {
		return nil, err
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, fault(field, "is not one mailbox")
	}
	at := strings.LastIndexByte(a.Address, '@')
	local, domain := a.Address[:at], a.Address[at+1:]
	if strings.ContainsFunc(a.Name+local, unicode.IsControl) {
		return nil, fault(field, "holds a control character")
	}
	if domain, err = idna.Lookup.ToASCII(domain); err != nil || !ascii(domain) {
		return nil, fault(field, "has a domain that is no host name")
	}
	a.Address = local + "@" + domain
	a.Name, err = line(field, a.Name)
	return a, err
}
