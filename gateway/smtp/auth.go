package smtp

import (
	"encoding/base64"
	"errors"
	"net/textproto"
	"slices"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

var (
	errNoTLS  = errors.New("STARTTLS is not offered")
	errUnsafe = errors.New("a password would go unencrypted")
)

// noAuthError is returned if the relay offers no mechanism that this package supports.
type noAuthError struct{ offered []string }

func (*noAuthError) Error() string { return "no way of authentication is offered that we know" }

// onlyOAuth reports whether the relay accepts only access tokens.
func (e *noAuthError) onlyOAuth() bool {
	return slices.ContainsFunc(e.offered, func(m string) bool { return m == "XOAUTH2" || m == "OAUTHBEARER" })
}

// offered returns the mechanisms in the reply to EHLO, in upper case. Old servers write AUTH=LOGIN.
func offered(client *gosmtp.Client) []string {
	var all []string
	_, list := client.Extension("AUTH")
	all = strings.Fields(strings.ToUpper(list))
	for _, m := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		if old, rest := client.Extension("AUTH=" + m); old {
			all = append(append(all, m), strings.Fields(strings.ToUpper(rest))...)
		}
	}
	return all
}

// mechanisms returns the supported ones of the offered mechanisms, in the order in which they are tried.
func (r relay) mechanisms(offered []string) []gosmtp.Auth {
	user, password := r.username, string(r.password)
	var plain, login, rest []gosmtp.Auth
	for _, m := range offered {
		switch m {
		case "PLAIN":
			plain = []gosmtp.Auth{gosmtp.PlainAuth("", user, password, r.host, true)}
		case "LOGIN":
			login = []gosmtp.Auth{gosmtp.LoginAuth(user, password, r.host, true)}
		case "SCRAM-SHA-256":
			rest = append(rest, gosmtp.ScramSHA256Auth(user, password))
		case "CRAM-MD5":
			rest = append(rest, gosmtp.CRAMMD5Auth(user, password))
		}
	}
	return slices.Concat(plain, login, rest)
}

// authenticate tries the mechanisms in turn while the relay answers 504, which means that it offers a mechanism without
// implementing it. Safe says that the connection is encrypted or does not leave this host.
func (r relay) authenticate(client *gosmtp.Client, encrypted, safe bool) error {
	if !safe {
		return errUnsafe
	}
	info := &gosmtp.ServerInfo{Name: r.host, TLS: encrypted, Auth: offered(client)}
	var err error = &noAuthError{offered: info.Auth}
	for _, a := range r.mechanisms(info.Auth) {
		err = exchange(client.Text, a, info)
		if err == nil {
			return nil
		}
		var refused *textproto.Error
		if !errors.As(err, &refused) || refused.Code != 504 {
			return err
		}
	}
	return err
}

// exchange makes one AUTH dialogue (RFC 4954 4). The client of go-mail would close the connection when a mechanism is refused.
func exchange(c *textproto.Conn, a gosmtp.Auth, info *gosmtp.ServerInfo) error {
	mechanism, answer, err := a.Start(info)
	if err != nil {
		return err
	}
	line := "AUTH " + mechanism
	if answer != nil {
		line += " " + base64.StdEncoding.EncodeToString(answer)
	}
	for {
		if err := c.PrintfLine("%s", line); err != nil {
			return err
		}
		code, text, err := c.ReadResponse(0)
		switch {
		case err != nil:
			return err
		case code == 235:
			_, err = a.Next([]byte(text), false)
			return err
		case code != 334:
			return &textproto.Error{Code: code, Msg: text}
		}
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err == nil {
			answer, err = a.Next(challenge, true)
		}
		if err != nil {
			_ = c.PrintfLine("*") // the connection is closed in any case
			return errGarbled     // the error may quote the relay
		}
		line = base64.StdEncoding.EncodeToString(answer)
	}
}
