package config

import (
	"net/mail"
	"net/url"
	"regexp"
	"time"
)

// checkGateway finds faults of one gateway's section.
func (c *Config) checkGateway(fs *Faults, name string) {
	g, key := c.Gateways[name], "gateways."+name
	section := g.section()
	if section == nil {
		return // a type that does not exist is a fault already
	}
	for _, leaf := range leaves(key, section) {
		if d, ok := leaf.field.Interface().(time.Duration); ok && leaf.name() != "latency" {
			fs.unless(d > 0, "%s must be longer than 0s", leaf.key)
		}
		checkEnum(fs, leaf)
	}
	g.Limits().check(fs, key)
	section.(interface{ check(fs *Faults, key string) }).check(fs, key)
}

func (s *SMTP) check(fs *Faults, key string) {
	fs.unless(s.Host != "", "%s.host must name the relay, such as smtp.example.com", key)
	fs.unless(s.Port >= 1 && s.Port <= 65535, "%s.port must be between 1 and 65535; relays listen on 587, 465 or 25", key)
	fs.unless(s.Connections >= 1 && s.Connections <= 1000, "%s.connections must be between 1 and 1000", key)
	fs.unless((s.Username == "") == (s.Password == ""), "%s.username and %s.password belong together: set both or none", key, key)
	fs.unless(s.Password == "" || s.TLS != "none" || loopback(s.Host), "%s.tls is none, which would send the password in the clear: set it to mandatory or implicit, or drop the password", key)
	if s.From != "" {
		_, err := mail.ParseAddress(s.From)
		fs.unless(err == nil, "%s.from must be a mailbox, such as \"Acme <no-reply@acme.example>\"", key)
	}
}

var (
	accountSID = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	apiKeySID  = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	credential = regexp.MustCompile(`^[A-Za-z0-9]+$`)
	projectID  = regexp.MustCompile(`^[a-z0-9.:-]+$`) // old projects have a domain before a colon
	serviceSID = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
)

func (t *Twilio) check(fs *Faults, key string) {
	fs.unless(accountSID.MatchString(t.AccountSID), "%s.account_sid must be the account's SID, AC and 32 hexadecimal digits", key)
	fs.unless((t.AuthToken != "") != (t.APIKey != "" || t.APISecret != ""), "%s needs either auth_token, or api_key and api_secret", key)
	if t.APIKey != "" || t.APISecret != "" {
		fs.unless(apiKeySID.MatchString(t.APIKey) && t.APISecret != "", "%s.api_key must be the SID of an API key, SK and 32 hexadecimal digits, and %s.api_secret its secret", key, key)
	}
	for _, secret := range []Secret{t.AuthToken, t.APISecret, t.Receipts.AuthToken} {
		fs.unless(secret == "" || credential.MatchString(string(secret)), "%s.auth_token, api_secret or receipts.auth_token has characters other than letters and digits: look for blanks or line ends around it", key)
	}
	fs.unless(t.MessagingServiceSID == "" || serviceSID.MatchString(t.MessagingServiceSID), "%s.messaging_service_sid must be MG and 32 hexadecimal digits", key)
	fs.unless(t.From == "" || t.MessagingServiceSID == "", "%s.from and %s.messaging_service_sid are both set: keep one", key, key)
	for i, s := range t.Senders {
		fs.unless(textSender.MatchString(s), "%s.senders, entry %d must be an E.164 number such as +15550123456, or a short code", key, i+1)
	}
	checkURL(fs, key+".base_url", t.BaseURL)
}

func (f *FCM) check(fs *Faults, key string) {
	fs.unless(f.Token == "" || f.Endpoint != "", "%s.token is for a fake: it needs %s.endpoint; for Google's API set credentials_file", key, key)
	fs.unless(f.Token == "" || f.ProjectID != "", "%s.token needs %s.project_id, since there are no credentials to take it from", key, key)
	fs.unless(f.ProjectID == "" || projectID.MatchString(f.ProjectID), "%s.project_id must be as the Firebase console shows it: lower-case letters, digits and hyphens", key)
	fs.unless(f.Token == "" || f.CredentialsFile == "", "%s.token and %s.credentials_file are both set: keep one", key, key)
	if f.Endpoint != "" {
		checkURL(fs, key+".endpoint", f.Endpoint)
	}
}

func (c *Capture) check(fs *Faults, key string) {
	fs.unless(c.Keep >= 1 && c.Keep <= 100000, "%s.keep must be between 1 and 100000", key)
}

func (s *Sim) check(fs *Faults, key string) {
	fs.unless(s.Latency >= 0, "%s.latency must not be negative", key)
}

// checkURL refuses what would carry credentials or messages in the clear, or somewhere unexpected.
func checkURL(fs *Faults, key, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		fs.add("%s must be a URL without user and query, such as https://api.example.com", key)
		return
	}
	checkScheme(fs, key, u)
}

func checkScheme(fs *Faults, key string, u *url.URL) {
	fs.unless(u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()), "%s must begin with https://; http:// is for loopback only", key)
}
