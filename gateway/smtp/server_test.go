package smtp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtpd "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestSender_RealServer sends to the server of another library, with all extensions.
func TestSender_RealServer(t *testing.T) {
	ca, cert := authority(t)
	b := &backend{}
	addr := startServer(t, b, cert)
	s := newSender(t, &fake{listener: addr, auth: true}, func(c *config.SMTP) { c.TLS, c.CAFile = mandatory, ca })
	for _, m := range []*notify.Message{
		message("Ada <ada@example.com>", copies), message("zoë@bücher.example"), message(`"o d"@example.com`),
		message("ada@example.com", func(e *notify.Email) { e.Text = "🚀\n.\n" }),
	} {
		_, failure := send(t, s, m)
		require.Nil(t, failure)
	}
	_, failure := send(t, s, message("nobody@example.com"))
	require.True(t, failure.Gone)
	_, failure = send(t, s, message("ada@example.com"))
	require.Nil(t, failure)
	require.Equal(t, []string{
		"ada@example.com", "grace@example.com", "gone@example.com", "blind@example.com",
		"zoë@xn--bcher-kva.example", "o d@example.com", "ada@example.com", "ada@example.com",
	}, b.to)
	require.Equal(t, 5, b.mails)
}

type backend struct {
	mu    sync.Mutex
	to    []string
	mails int
}

func startServer(t testing.TB, b *backend, cert *tls.Config) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := gosmtpd.NewServer(b)
	server.Domain = "relay.example"
	server.TLSConfig = cert
	server.EnableSMTPUTF8 = true
	server.MaxMessageBytes = 10 << 20
	server.AllowInsecureAuth = cert == nil
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		<-done
	})
	return listener
}

func (b *backend) NewSession(*gosmtpd.Conn) (gosmtpd.Session, error) {
	return &session{backend: b}, nil
}

type session struct {
	*backend
	known bool
	rcpt  []string
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		s.known = username == user && password == pass
		if !s.known {
			return errors.New("no")
		}
		return nil
	}), nil
}

func (s *session) Mail(string, *gosmtpd.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *gosmtpd.RcptOptions) error {
	if to == "nobody@example.com" {
		return &gosmtpd.SMTPError{Code: 550, EnhancedCode: gosmtpd.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.rcpt = append(s.rcpt, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, s.rcpt...)
	s.mails++
	return nil
}

func (s *session) Reset()        { s.rcpt = nil }
func (s *session) Logout() error { return nil }
