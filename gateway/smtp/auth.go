package smtp

import (
	"errors"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

var (
	errNoTLS  = errors.New("STARTTLS is not offered")
	errNoAuth = errors.New("no way of authentication is offered that we know")
	errUnsafe = errors.New("a password would go unencrypted")
)

// login chooses the way of authentication when the relay has told what it offers.
type login struct {
	relay
	safe bool // encrypted, or never leaving this host
	gosmtp.Auth
}

// Start begins with the first known mechanism that is offered.
func (l *login) Start(server *gosmtp.ServerInfo) (string, []byte, error) {
	if !l.safe {
		return "", nil, errUnsafe
	}
	user, password := l.username, string(l.password)
	for _, mechanism := range server.Auth {
		switch strings.ToUpper(mechanism) {
		case "PLAIN":
			l.Auth = gosmtp.PlainAuth("", user, password, l.host, true)
			return l.Auth.Start(server)
		case "LOGIN":
			l.Auth = gosmtp.LoginAuth(user, password, l.host, true)
		case "SCRAM-SHA-256":
			or(&l.Auth, gosmtp.ScramSHA256Auth(user, password))
		case "CRAM-MD5":
			or(&l.Auth, gosmtp.CRAMMD5Auth(user, password))
		}
	}
	if l.Auth == nil {
		return "", nil, errNoAuth
	}
	return l.Auth.Start(server)
}
