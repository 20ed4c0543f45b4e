package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
)

// The values of tls in the configuration.
const (
	mandatory     = "mandatory"     // STARTTLS, or nothing is sent
	implicit      = "implicit"      // from the first byte
	opportunistic = "opportunistic" // STARTTLS when offered
	plain         = "none"
)

// relay holds the address of the relay, and how to connect and authenticate.
type relay struct {
	name     string // of the gateway, for remedies
	host     string
	address  string
	helo     string // empty: the address literal of the connection
	mode     string
	tls      *tls.Config
	username string
	password config.Secret
	timeouts timeouts
	log      *zap.Logger
}

func withDefaults(c config.SMTP) config.SMTP {
	setDefault(&c.Port, 587)
	setDefault(&c.TLS, mandatory)
	setDefault(&c.Connections, 16)
	setDefault(&c.IdleTimeout, 30*time.Second)
	setDefault(&c.ConnectionLifetime, 10*time.Minute)
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.ConnectTimeout, 30*time.Second)
	setDefault(&c.GreetingTimeout, 5*time.Minute)
	setDefault(&c.CommandTimeout, 5*time.Minute)
	setDefault(&c.ReplyTimeout, 10*time.Minute)
	if c.HELO == "" {
		if host, _ := os.Hostname(); isFQDN(host) {
			c.HELO = host
		}
	}
	return c
}

// isFQDN reports whether a relay accepts name as the public name of a host (RFC 5321 2.3.5).
func isFQDN(name string) bool {
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "-") != l || strings.ContainsFunc(l, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return false
		}
	}
	switch strings.ToLower(labels[len(labels)-1]) {
	case "local", "localdomain", "localhost", "internal", "lan", "home", "arpa": // no public DNS has them
		return false
	}
	return len(labels) > 1 && strings.Trim(labels[len(labels)-1], "0123456789") != "" && len(name) <= 253
}

// ehloName returns the name for EHLO: the configured one, or the address literal of this end of the connection (RFC 5321
// 4.1.3).
func (r relay) ehloName(w *wire) string {
	if r.helo != "" {
		return r.helo
	}
	local, ok := w.LocalAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return "[127.0.0.1]"
	case local.IP.To4() != nil:
		return "[" + local.IP.String() + "]"
	}
	return "[IPv6:" + local.IP.String() + "]"
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func newRelay(name string, c config.SMTP, log *zap.Logger) (relay, error) {
	fault := func(format string, args ...any) (relay, error) {
		return relay{}, fmt.Errorf("gateways."+name+"."+format, args...)
	}
	switch {
	case c.Host == "":
		return fault("host: name the relay, such as smtp.example.com")
	case c.Port < 1 || c.Port > 65535:
		return fault("port: give 1 to 65535, 587 as a rule")
	case c.TLS != mandatory && c.TLS != implicit && c.TLS != opportunistic && c.TLS != plain:
		return fault("tls: give %s, %s, %s or %s", mandatory, implicit, opportunistic, plain)
	case c.Connections < 1 || c.Connections > 10_000:
		return fault("connections: give 1 to 10000")
	case (c.Username == "") != (c.Password == ""):
		return fault("password: give both username and password, or neither")
	case strings.ContainsFunc(c.HELO, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fault("helo: give a host name such as mail.example.com, or an address literal such as [192.0.2.1]")
	case min(c.Timeout, c.IdleTimeout, c.ConnectionLifetime, c.ConnectTimeout, c.GreetingTimeout, c.CommandTimeout, c.ReplyTimeout) < 0:
		return fault("timeout: no duration may be negative")
	}
	if _, err := mail.ParseAddress(c.From); c.From != "" && err != nil {
		return fault(`from: give one mailbox, such as "Acme <no-reply@acme.example>"`)
	}
	r := relay{
		name: name, host: c.Host, address: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), helo: c.HELO, mode: c.TLS,
		tls:      &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12},
		username: c.Username, password: c.Password, log: log,
		timeouts: timeouts{
			connect: c.ConnectTimeout, greeting: c.GreetingTimeout, command: c.CommandTimeout, reply: c.ReplyTimeout, handover: c.Timeout,
		},
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return fault("ca_file: %w", err)
		}
		r.tls.RootCAs = x509.NewCertPool()
		if !r.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fault("ca_file: %s holds no certificate in PEM form", c.CAFile)
		}
	}
	return r, nil
}

// needsImplicit reports whether the port is that of implicit TLS although the configuration says otherwise.
func (r relay) needsImplicit() bool {
	return r.mode != implicit && strings.HasSuffix(r.address, implicitPort)
}

// connect connects c to the relay, up to and including authentication. Its errors are failures.
func (r relay) connect(ctx context.Context, c *connection, handoverBy time.Time) error {
	d := net.Dialer{Timeout: r.timeouts.connect, Deadline: handoverBy}
	raw, err := d.DialContext(ctx, "tcp", r.address)
	if err != nil {
		return r.judge(ctx, nil, &stepFailure{at: atDial, err: err})
	}
	c.wire, c.timeouts = &wire{Conn: raw, handoverBy: handoverBy}, r.timeouts
	release := c.wire.closeWhenDone(ctx)
	client, at, err := r.handshake(c.wire)
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.broken = true
		_ = c.wire.Close()
		return r.judge(ctx, nil, &stepFailure{at: at, err: err})
	}
	c.greeted(client)
	return nil
}

// handshake makes the dialogue before the first mail. After an error, at is the step that failed.
func (r relay) handshake(w *wire) (client *gosmtp.Client, at step, err error) {
	var conn net.Conn = w
	if r.mode == implicit {
		w.setTimeout(r.timeouts.command)
		secure := tls.Client(w, r.tls)
		if err := secure.Handshake(); err != nil { //nolint:noctx // the wire is bound to the context
			return nil, atTLS, err
		}
		conn = secure
	}
	wait := r.timeouts.greeting
	if r.needsImplicit() {
		wait = min(wait, r.timeouts.handover) // the relay waits for TLS while this side waits for the greeting
	}
	w.setTimeout(wait)
	client, err = gosmtp.NewClient(conn, r.host)
	if err != nil {
		return nil, atGreeting, err
	}
	w.setTimeout(2 * r.timeouts.command) // EHLO, and perhaps HELO
	if err := client.Hello(r.ehloName(w)); err != nil {
		return nil, atHello, err
	}
	encrypted := r.mode == implicit
	if offered, _ := client.Extension("STARTTLS"); r.mode == mandatory || r.mode == opportunistic && offered {
		if !offered {
			return nil, atTLS, errNoTLS
		}
		w.setTimeout(2 * r.timeouts.command) // and EHLO once more
		if err := client.StartTLS(r.tls); err != nil {
			return nil, atTLS, err
		}
		encrypted = true
	}
	if !encrypted {
		r.log.Debug("mail goes unencrypted", zap.String("gateway", r.name), zap.String("relay", r.address))
	}
	if r.username != "" {
		w.setTimeout(r.timeouts.command) // for the whole exchange
		if err := r.authenticate(client, encrypted, encrypted || w.loopback()); err != nil {
			return nil, atAuth, err
		}
	}
	return client, atAuth, nil
}
