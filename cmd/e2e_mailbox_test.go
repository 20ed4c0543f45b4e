package cmd

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// relay is a mail server with one user, that keeps what it takes.
type relay struct {
	port int

	mu       sync.Mutex
	password string
	refused  int // logins
	mails    []received
	tries    map[string]int                                   // transactions by their first recipient
	answer   func(recipient string, try int, rcpt bool) error // nil accepts; rcpt: to the recipient itself, else to the mail
}

// received is one transaction.
type received struct {
	from string
	to   []string
	utf8 bool
	data []byte
}

const relayPassword = "hush-relay-0451"

func newRelay(t *testing.T) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{port: listener.Addr().(*net.TCPAddr).Port, password: relayPassword, tries: map[string]int{}}
	s := smtp.NewServer(r)
	s.Domain, s.AllowInsecureAuth, s.EnableSMTPUTF8, s.MaxMessageBytes = "relay.example", true, true, 64<<20
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	t.Cleanup(func() { _ = s.Close(); <-ended })
	return r
}

// gateway is the relay's section of a configuration.
func (r *relay) gateway() string {
	return "type: smtp, host: 127.0.0.1, port: " + strconv.Itoa(r.port) + ", tls: none, username: relay, password: " + relayPassword +
		", from: 'Acme <no-reply@acme.example>'"
}

// want changes the password that the relay knows, and gives how often it has refused another.
func (r *relay) want(password string) (refused int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.password = password
	return r.refused
}

// says sets what the relay answers to the n-th transaction for a recipient, counted from 1.
func (r *relay) says(answer func(recipient string, try int, rcpt bool) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// taken gives the mails whose first recipient is to.
func (r *relay) taken(to string) []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.mails), func(m received) bool { return m.to[0] != to })
}

func (r *relay) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mails)
}

func (r *relay) NewSession(*smtp.Conn) (smtp.Session, error) { return &transaction{relay: r}, nil }

type transaction struct {
	*relay
	known bool
	mail  received
}

func (s *transaction) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *transaction) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.known = username == "relay" && password == s.password; s.known {
			return nil
		}
		s.refused++
		return smtp.ErrAuthFailed // 535; any other error is 454, which is transient
	}), nil
}

func (s *transaction) Mail(from string, o *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.mail = received{from: from, utf8: o.UTF8}
	return nil
}

func (s *transaction) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mail.to) == 0 {
		s.tries[to]++
	}
	s.mail.to = append(s.mail.to, to)
	return s.judged(to, true)
}

func (s *transaction) Data(in io.Reader) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.judged(s.mail.to[0], false); err != nil {
		return err
	}
	s.mail.data = data
	s.mails = append(s.mails, s.mail)
	return nil
}

func (s *transaction) judged(to string, rcpt bool) error {
	if s.answer == nil {
		return nil
	}
	return s.answer(to, s.tries[s.mail.to[0]], rcpt)
}

func (s *transaction) Reset()        { s.mail = received{} }
func (s *transaction) Logout() error { return nil }

func reply(code int, class, subject, detail int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// leaf is a part of a mail that holds no others.
type leaf struct {
	kind, disposition, filename, contentID string
	content                                string
}

// open reads a mail as a mail program does.
func (m received) open(t *testing.T) (mail.Header, []leaf) {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(m.data))
	require.NoError(t, err)
	return message.Header, leaves(t, textproto.MIMEHeader(message.Header), message.Body)
}

func leaves(t *testing.T, h textproto.MIMEHeader, body io.Reader) (all []leaf) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	require.NoError(t, err)
	if strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				return all
			}
			require.NoError(t, err)
			all = append(all, leaves(t, p.Header, p)...)
		}
	}
	switch h.Get("Content-Transfer-Encoding") {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	require.NoError(t, err)
	l := leaf{kind: kind, contentID: h.Get("Content-Id"), content: string(content)}
	if d := h.Get("Content-Disposition"); d != "" {
		l.disposition, params, err = mime.ParseMediaType(d)
		require.NoError(t, err)
		l.filename = decoded(t, params["filename"])
	}
	return []leaf{l}
}

// decoded reads the encoded words of a header (RFC 2047).
func decoded(t *testing.T, s string) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(s)
	require.NoError(t, err)
	return text
}
