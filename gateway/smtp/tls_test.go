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
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// authority makes a CA of one certificate, for 127.0.0.1: its file, and what a relay shows.
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

// TestEncryption: what each mode does with what a relay offers. Nothing but connecting is done.
func TestEncryption(t *testing.T) {
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

// TestPasswordNeedsTLS: beyond this host, none goes out unencrypted.
func TestPasswordNeedsTLS(t *testing.T) {
	r := relay{name: "mail", username: user, password: pass}
	_, _, err := (&login{relay: r}).Start(&gosmtp.ServerInfo{Auth: []string{"PLAIN"}})
	f := notify.Judge(r.judge(t.Context(), nil, &setback{at: atAuth, err: err}))
	require.Equal(t, notify.Unavailable, f.Verdict)
	require.Contains(t, f.Remedy, "gateways.mail.tls")
	require.False(t, (&wire{Conn: faraway{}}).loopback())
}

type faraway struct{ net.Conn }

func (faraway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

func TestLoginChooses(t *testing.T) {
	for want, offered := range map[string][]string{
		"PLAIN": {"CRAM-MD5", "LOGIN", "PLAIN"}, "LOGIN": {"CRAM-MD5", "LOGIN"}, "CRAM-MD5": {"XOAUTH2", "cram-md5"}, "SCRAM-SHA-256": {"SCRAM-SHA-256", "NTLM"},
	} {
		got, _, err := (&login{safe: true, relay: relay{username: user, password: pass}}).Start(&gosmtp.ServerInfo{Auth: offered, TLS: true})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, _, err := (&login{safe: true}).Start(&gosmtp.ServerInfo{Auth: []string{"GSSAPI"}})
	require.ErrorIs(t, err, errNoAuth)
}

// TestNobodyThere: the network's faults are transient, a wrong name is the operator's.
func TestNobodyThere(t *testing.T) {
	f := newFake(t)
	s := newSender(t, f)
	require.NoError(t, f.listener.Close())
	_, failure := send(t, s, message("ada@example.com"))
	require.Equal(t, notify.Transient, failure.Verdict)
	require.Contains(t, failure.Reason, string(atDial))
	dns := notify.Judge(relay{name: "mail"}.judge(t.Context(), nil, &setback{at: atDial, err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}}))
	require.Equal(t, notify.Unavailable, dns.Verdict)
	require.Contains(t, dns.Remedy, ".host")
}
