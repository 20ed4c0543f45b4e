// Package email turns a message of channel email into RFC 5322 mail.
//
// It alone knows how a notification becomes headers and MIME parts. It trusts nobody to have looked before: whatever
// could break out of its header is refused as a permanent [notify.Failure] that names the field and never its content.
// It does no I/O and keeps nothing.
package email

import (
	"crypto/rand"
	"maps"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Mail is a composed mail and its envelope.
type Mail struct {
	ID   string      // of the Message-ID, without brackets
	From string      // <address>
	To   []Recipient // each address once
	UTF8 bool        // only a relay that offers SMTPUTF8 can take it (RFC 6531): a local part is not ASCII
	Data []byte      // lines end with CRLF and have at most 998 bytes
}

// Recipient is an address of the envelope.
type Recipient struct {
	Address string // <address>
	Field   string // the first field of the notification that names it, such as cc[1]
}

// Compose builds the mail that m asks for. From is the gateway's own sender, for mail that names none; it may be empty.
//
// The Message-ID is <id@domain of the sender>: the same on every attempt, so that bounces and copies are recognised.
func Compose(m *notify.Message, from string) (*Mail, error) {
	return compose(m, from, time.Now())
}

func compose(m *notify.Message, from string, at time.Time) (*Mail, error) {
	if m.Email == nil {
		return nil, fault("payload", "is not an e-mail")
	}
	a, err := addressesOf(m, from)
	if err != nil {
		return nil, err
	}
	if _, err := line("id", m.ID); err != nil || strings.ContainsAny(m.ID, "<>@ ") {
		return nil, fault("id", "cannot stand in a Message-ID")
	}
	id := m.ID + a.from.Address[strings.LastIndexByte(a.from.Address, '@'):]
	out := &Mail{ID: id, From: angle(a.from), To: a.recipients(), UTF8: a.utf8()}
	var h header
	h.add("Date", at.Format(time.RFC1123Z))
	h.add("Message-ID", "<"+id+">")
	a.write(&h)
	if err := writeHeaders(&h, m.Email); err != nil {
		return nil, err
	}
	h.add("MIME-Version", "1.0")
	body, err := bodyOf(m.Email)
	if err != nil {
		return nil, err
	}
	body.header.lines = append(h.lines, body.header.lines...)
	out.Data = body.append(nil)
	return out, nil
}

// autoSubmitted keeps mail robots from answering (RFC 3834).
const autoSubmitted = "Auto-Submitted"

func writeHeaders(h *header, e *notify.Email) error {
	subject, err := line("subject", e.Subject)
	if err != nil {
		return err
	}
	if err := h.text("Subject", subject); err != nil {
		return err
	}
	automatic := "auto-generated"
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		if !ours(name) {
			return fault("headers", "has a name that does not begin with X- or List-, or that is no header name")
		}
		value, err := line("headers", e.Headers[name])
		if err != nil {
			return err
		}
		if strings.EqualFold(name, autoSubmitted) {
			automatic = value
			continue
		}
		if err := h.text(name, value); err != nil {
			return err
		}
	}
	return h.text(autoSubmitted, automatic)
}

// ours reports whether a caller may set the header: it changes neither the mail's meaning nor its parts.
func ours(name string) bool {
	for _, r := range name {
		if r <= ' ' || r == ':' || r >= 0x7f {
			return false
		}
	}
	folded := strings.ToLower(name)
	return len(name) <= 76 && (len(name) > 2 && strings.HasPrefix(folded, "x-") || len(name) > 5 && strings.HasPrefix(folded, "list-") || strings.EqualFold(name, autoSubmitted))
}

// bodyOf gives the tree of parts: mixed(related(alternative(text, html), inline parts), attachments), without the levels
// that have one part only.
func bodyOf(e *notify.Email) (*part, error) {
	var texts []*part
	if e.Text != "" || e.HTML == "" {
		texts = append(texts, textPart("text/plain", e.Text))
	}
	if e.HTML != "" {
		texts = append(texts, textPart("text/html", e.HTML))
	}
	attached, inline, err := files(e.Attachments)
	if err != nil {
		return nil, err
	}
	body := group("alternative", texts)
	if len(inline) > 0 { // RFC 2387 3.1: the type of the first part
		body = group("related; type=\""+body.kind+"\"", append([]*part{body}, inline...))
	}
	return group("mixed", append([]*part{body}, attached...)), nil
}

// line refuses what would end a header's line, and makes one space of several: folded, they could leave a line of nothing
// but blanks, which some take for the end of the headers.
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

// boundary is one that no part holds.
func boundary() string {
	return "=_" + rand.Text()
}

// addresses are the parsed mailboxes of one mail, the domains in ASCII.
type addresses struct {
	from             *mail.Address
	to               *mail.Address
	cc, bcc, replyTo []*mail.Address // nil: a copy that is left out
}

func (a *addresses) write(h *header) {
	h.mailboxes("From", a.from)
	h.mailboxes("To", a.to)
	h.mailboxes("Cc", a.cc...)
	h.mailboxes("Reply-To", a.replyTo...)
}

// recipients gives each address of the envelope once, however often the headers name it.
func (a *addresses) recipients() (all []Recipient) {
	seen := map[string]bool{}
	add := func(box *mail.Address, field string) {
		if box == nil {
			return
		}
		if address := angle(box); !seen[address] {
			seen[address] = true
			all = append(all, Recipient{Address: address, Field: field})
		}
	}
	add(a.to, "recipient")
	for i, box := range a.cc {
		add(box, element("cc", i))
	}
	for i, box := range a.bcc {
		add(box, element("bcc", i))
	}
	return all
}

func (a *addresses) utf8() bool {
	for _, list := range [][]*mail.Address{{a.from, a.to}, a.cc, a.bcc, a.replyTo} {
		for _, box := range list {
			if box != nil && !ascii(box.Address) {
				return true
			}
		}
	}
	return false
}

// angle is the bare address as RFC 5321 writes it, the local part quoted if it must be.
func angle(a *mail.Address) string { return (&mail.Address{Address: a.Address}).String() }
