package cmd

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// relay serves SMTP and gives its port.
func (s *sink) relay(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) { return &mailSession{sink: s, conn: c}, nil }))
	server.AllowInsecureAuth = true
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

// refuse makes the relay forget its password, or know it again. Connections from before are ended at their next message.
func (s *sink) refuse(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = yes
}

// refused counts a refusal, if it is to be.
func (s *sink) refused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		s.refusals++
	}
	return s.refuses
}

func (s *sink) loginsRefused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals
}

type mailSession struct {
	sink *sink
	conn *gosmtp.Conn
	to   string
}

func (m *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (m *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error {
		if m.sink.refused() {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "the password is wrong"}
		}
		return nil
	}), nil
}

func (m *mailSession) Mail(string, *gosmtp.MailOptions) error {
	m.sink.mu.Lock()
	defer m.sink.mu.Unlock()
	if m.sink.refuses {
		return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 7, 0}, Message: "log in again"}
	}
	return nil
}

func (m *mailSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	m.to = to
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(content), "Subject: ")
	subject, _, _ := strings.Cut(after, "\r\n")
	defer m.sink.take(m.conn.Hostname(), m.to, subject)()
	if wait := m.sink.answerAfter(); wait > 0 {
		<-time.After(wait)
	}
	return nil
}

func (m *mailSession) Reset()        { m.to = "" }
func (m *mailSession) Logout() error { return nil }
