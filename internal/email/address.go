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
			if s == "" && list.field != "reply_to" { // a suppressed copy, left out; the others keep their place
				*list.to = append(*list.to, nil)
				continue
			}
			box, err := mailbox(element(list.field, i), s)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, box)
		}
	}
	return &a, nil
}

// mailbox parses one RFC 5322 mailbox. An encoded word may hold a line break: the name is searched too.
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
	if strings.ContainsFunc(local+domain, invisible) {
		return nil, fault(field, "has an address with an invisible character")
	}
	if domain, err = hosts.ToASCII(domain); err != nil || !ascii(domain) || hyphenated(domain) {
		return nil, fault(field, "has a domain that is no host name")
	}
	a.Address = local + "@" + domain
	a.Name, err = line(field, a.Name)
	for word := range strings.SplitSeq(a.Name, " ") {
		if len(word) > longest/2 {
			return nil, fault(field, "has a name with a word that is longer than a line")
		}
	}
	return a, err
}

// hosts are the names that DNS knows. Two hyphens are no fault (RFC 5891 reserves them for IDNA alone).
var hosts = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.CheckHyphens(false)) //nolint:gochecknoglobals // never changed

// hyphenated reports whether a label begins or ends with a hyphen (RFC 1123 2.1).
func hyphenated(domain string) bool {
	return strings.Contains("."+domain+".", ".-") || strings.Contains("."+domain+".", "-.")
}

// invisible reports whether r shows nothing, so that two addresses look the same. A quoted local part may hold a space.
func invisible(r rune) bool {
	return r != ' ' && unicode.In(r, unicode.Zs, unicode.Cf, unicode.Cc)
}
