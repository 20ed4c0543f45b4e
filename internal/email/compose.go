// Package email turns a message of channel email into RFC 5322 mail.
//
// It alone knows how a notification becomes headers and MIME parts. It trusts nobody to have looked before: whatever
// could break out of its header is refused as a permanent [notify.Failure] that names the field and never its content.
// It does no I/O and keeps nothing.
package email

import (
	"net/mail"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Compose builds the mail that m asks for, its envelope included ([gomail.Msg.GetSender], [gomail.Msg.GetRecipients]).
// From is the gateway's own sender, for mail that names none; it may be empty.
//
// The Message-ID is <id@domain of the sender>: the same on every attempt, so that bounces and copies are recognised.
func Compose(m *notify.Message, from string) (*gomail.Msg, error) {
	return compose(m, from, time.Now())
}

func compose(m *notify.Message, from string, at time.Time) (*gomail.Msg, error) {
	if m.Email == nil {
		return nil, fault("payload", "is not an e-mail")
	}
	a, err := addressesOf(m, from)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	a.set(msg)
	if err := setHeaders(msg, m, a.from.Address, at); err != nil {
		return nil, err
	}
	setBody(msg, m.Email)
	return msg, setFiles(msg, m.Email.Attachments)
}

// NeedsUTF8 reports whether msg can only go to a relay that offers SMTPUTF8 (RFC 6531): a local part is not ASCII.
func NeedsUTF8(msg *gomail.Msg) bool {
	for _, h := range []gomail.AddrHeader{gomail.HeaderFrom, gomail.HeaderTo, gomail.HeaderCc, gomail.HeaderBcc, gomail.HeaderReplyTo} {
		for _, a := range msg.GetAddrHeader(h) {
			if !ascii(a.Address) {
				return true
			}
		}
	}
	return false
}

func setHeaders(msg *gomail.Msg, m *notify.Message, from string, at time.Time) error {
	subject, err := line("subject", m.Email.Subject)
	if err != nil {
		return err
	}
	msg.Subject(subject)
	msg.SetDateWithValue(at)
	if _, err := line("id", m.ID); err != nil || strings.ContainsAny(m.ID, "<>@ ") {
		return fault("id", "cannot stand in a Message-ID")
	}
	msg.SetMessageIDWithValue(m.ID + from[strings.LastIndexByte(from, '@'):])
	for name, value := range m.Email.Headers {
		if !ours(name) {
			return fault("headers", "has a name that does not begin with X- or List-, or that is no header name")
		}
		if value, err = line("headers", value); err != nil {
			return err
		}
		msg.SetGenHeader(gomail.Header(name), value)
	}
	return nil
}

// ours reports whether a caller may set the header: it changes neither the mail's meaning nor its parts.
func ours(name string) bool {
	for _, r := range name {
		if r <= ' ' || r == ':' || r >= 0x7f {
			return false
		}
	}
	folded := strings.ToLower(name)
	return len(name) <= 76 && (len(name) > 2 && strings.HasPrefix(folded, "x-") || len(name) > 5 && strings.HasPrefix(folded, "list-"))
}

func setBody(msg *gomail.Msg, e *notify.Email) {
	if e.Text != "" || e.HTML == "" {
		msg.SetBodyString(gomail.TypeTextPlain, e.Text)
	}
	if e.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, e.HTML)
	}
}

// line refuses what would end a header's line, and makes one space of several: folded by go-mail, they could leave a line
// of nothing but blanks, which some take for the end of the headers.
func line(field, s string) (string, error) {
	if strings.ContainsAny(s, "\r\n\x00") {
		return "", fault(field, "holds a line break or a NUL character")
	}
	if !strings.ContainsAny(s, " \t") {
		return s, nil
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' }), " "), nil
}

func fault(field, what string) error {
	return &notify.Failure{Verdict: notify.Permanent, Reason: field + " " + what}
}

func element(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// addresses are the parsed mailboxes of one mail, the domains in ASCII.
type addresses struct {
	from             *mail.Address
	to               *mail.Address
	cc, bcc, replyTo []*mail.Address
}

func (a *addresses) set(msg *gomail.Msg) {
	msg.FromMailAddress(a.from)
	msg.ToMailAddress(a.to)
	msg.CcMailAddress(a.cc...)
	msg.BccMailAddress(a.bcc...)
	msg.ReplyToMailAddress(a.replyTo...)
}
