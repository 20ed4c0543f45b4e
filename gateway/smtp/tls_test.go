package smtp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// authority returns a CA with one certificate for 127.0.0.1: its file, and the certificate of the relay.
func authority(t testing.TB) (file string, relay *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return file, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}} //nolint:gosec // a test's
}

// TestTLS_Modes: each mode with each kind of relay. The test only connects.
func TestTLS_Modes(t *testing.T) {
	ca, cert := authority(t)
	other, _ := authority(t)
	starttls := func(f *fake) { f.tls = cert }
	at465 := func(f *fake) { f.tls, f.implicit = cert, true }
	old := func(f *fake) {
		f.tls = cert.Clone()
		f.tls.MaxVersion = tls.VersionTLS11
		f.tls.MinVersion = tls.VersionTLS10
	}
	for _, c := range []struct {
		name      string
		relay     func(*fake)
		mode, ca  string
		verdict   notify.Verdict // "" = it connects
		remedy    string
		encrypted bool
	}{
		{"mandatory", starttls, mandatory, ca, "", "", true},
		{"mandatory, not offered", oneByOne, mandatory, ca, notify.Unavailable, "gateways.mail.tls to implicit", false},
		{"mandatory, unknown CA", starttls, mandatory, other, notify.Unavailable, ".ca_file", false},
		{"mandatory, system CAs", starttls, mandatory, "", notify.Unavailable, ".ca_file", false},
		{"mandatory, too old", old, mandatory, ca, notify.Unavailable, "TLS 1.2", false},
		{"implicit", at465, implicit, ca, "", "", true},
		{"implicit, unknown CA", at465, implicit, other, notify.Unavailable, ".ca_file", false},
		{"implicit, no TLS there", starttls, implicit, ca, notify.Unavailable, "mandatory (STARTTLS)", false},
		{"opportunistic, offered", starttls, opportunistic, ca, "", "", true},
		{"opportunistic, not offered", oneByOne, opportunistic, ca, "", "", false},
		{"none, offered", starttls, plain, ca, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, c.relay)
			s := newSender(t, f, func(cfg *config.SMTP) { cfg.TLS, cfg.CAFile = c.mode, c.ca })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			failure := notify.Judge(s.Check(ctx))
			if c.verdict == "" {
				require.Nil(t, failure)
				_, failure = send(t, s, message("ada@example.com"))
				require.Nil(t, failure)
				require.Equal(t, c.encrypted, f.mails()[0].encrypted)
				return
			}
			require.Equal(t, c.verdict, failure.Verdict)
			require.Contains(t, failure.Remedy, c.remedy)
			require.Empty(t, f.mails())
		})
	}
}

// TestAuth_PasswordNeedsTLS: no password leaves this host unencrypted.
func TestAuth_PasswordNeedsTLS(t *testing.T) {
	r := relay{name: "mail", username: user, password: pass}
	f := notify.Judge(r.judge(t.Context(), nil, &stepFailure{at: atAuth, err: r.authenticate(nil, false, false)}))
	require.Equal(t, notify.Unavailable, f.Verdict)
	require.Contains(t, f.Remedy, "gateways.mail.tls")
	require.False(t, (&wire{Conn: faraway{}}).loopback())
}

type faraway struct{ net.Conn }

func (faraway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

// TestAuth_Mechanisms: the mechanism depends on the relay's offer; after a 504 the next one is tried on the same connection.
func TestAuth_Mechanisms(t *testing.T) {
	plain, login := "AUTH PLAIN", "AUTH LOGIN"
	for _, c := range []struct {
		offers []string
		refuse map[string]string // by mechanism
		auths  []string          // lines that begin so; none: it is not tried
		remedy string            // empty: it connects
	}{
		{[]string{"AUTH CRAM-MD5 LOGIN PLAIN"}, nil, []string{plain}, ""},
		{[]string{"AUTH CRAM-MD5 LOGIN"}, nil, []string{login}, ""},
		{[]string{"AUTH=LOGIN"}, nil, []string{login}, ""},
		{[]string{"AUTH=LOGIN PLAIN"}, nil, []string{plain}, ""},
		{[]string{"AUTH PLAIN LOGIN"}, map[string]string{"PLAIN": "504 5.5.4 not implemented"}, []string{plain, login}, ""},
		{[]string{"AUTH PLAIN LOGIN"}, map[string]string{"PLAIN": "504 no", "LOGIN": "504 no"}, []string{plain, login}, ".password"},
		{[]string{"AUTH PLAIN LOGIN"}, map[string]string{"PLAIN": "535 5.7.8 wrong"}, []string{plain}, ".password"},
		{[]string{"AUTH XOAUTH2"}, nil, nil, "app password"},
		{[]string{"AUTH GSSAPI NTLM"}, nil, nil, ".tls to mandatory"},
	} {
		r := smtptest.New(t)
		r.Announce(c.offers...)
		r.Script(func(cmd smtptest.Command) string {
			mechanism, _, _ := strings.Cut(cmd.Argument, " ")
			if cmd.Verb == "AUTH" {
				return c.refuse[mechanism]
			}
			return ""
		})
		s, err := New("mail", config.SMTP{Host: "127.0.0.1", Port: r.Port, TLS: plainText, Username: user, Password: pass}, zap.NewNop())
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		failure := notify.Judge(s.Check(t.Context()))
		if c.remedy == "" {
			require.Nil(t, failure, c.offers)
		} else {
			require.Equal(t, notify.Unavailable, failure.Verdict)
			require.Contains(t, failure.Remedy, c.remedy)
		}
		var auths []string
		for _, line := range r.Commands() {
			if strings.HasPrefix(line, "AUTH ") {
				auths = append(auths, line[:min(10, len(line))])
			}
		}
		require.Equal(t, c.auths, auths, c.offers)
		require.Equal(t, 1, r.Connections())
	}
}

const plainText = plain

// TestTLS_ImplicitPort: a relay that waits for TLS sends no greeting.
func TestTLS_ImplicitPort(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, s := range []*stepFailure{{at: atGreeting, err: io.EOF}, {at: atGreeting, err: context.DeadlineExceeded}} {
		f := notify.Judge(relay{name: "mail", address: "127.0.0.1:465", mode: mandatory}.judge(ctx, nil, s))
		require.Equal(t, notify.Unavailable, f.Verdict)
		require.Contains(t, f.Remedy, "gateways.mail.tls to implicit")
	}
}

// TestRelay_Unreachable: faults of the network are transient; a wrong name needs the operator.
func TestRelay_Unreachable(t *testing.T) {
	f := newFake(t)
	s := newSender(t, f)
	require.NoError(t, f.listener.Close())
	_, failure := send(t, s, message("ada@example.com"))
	require.Equal(t, notify.Transient, failure.Verdict)
	require.Equal(t, s.relay.address+" was not reached: connection refused", failure.Reason)
	dns := notify.Judge(relay{name: "mail"}.judge(t.Context(), nil, &stepFailure{at: atDial, err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}}))
	require.Equal(t, notify.Unavailable, dns.Verdict)
	require.Contains(t, dns.Remedy, ".host")
}
