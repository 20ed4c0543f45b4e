package config

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"strings"
)

// TwilioReceipts is the section of what Twilio says of messages later, in calls of its own to api.public_url.
type TwilioReceipts struct {
	AuthToken Secret `yaml:"auth_token" doc:"Token of the account, with which Twilio signs receipts and the texts that it brings; empty takes the gateway's own auth_token. Needed beside api_key, for a key signs nothing: without it no receipts are asked for, and no texts are taken."`
}

// HTTPReceipts is the section of what an API of one's own says of messages later.
type HTTPReceipts struct {
	Secret Secret `yaml:"secret" doc:"Key of the signatures of receipts by the Standard Webhooks scheme: whsec_ and 24 to 64 bytes in base64. Empty takes no receipts, and sent is final; docs/receipts.md says how they look." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
}

// ReceiptToken is what Twilio signs receipts with; empty where that is not known.
func (t *Twilio) ReceiptToken() Secret { return cmp.Or(t.Receipts.AuthToken, t.AuthToken) }

// twilioURL is the address of the resource of the gateway called name that Twilio calls. It is empty where Twilio is not to call:
// without a public address, or without a token to verify the calls.
func (c *Config) twilioURL(resource, name string, t *Twilio) string {
	if c.API.PublicURL == "" || t.ReceiptToken() == "" {
		return ""
	}
	return strings.TrimRight(c.API.PublicURL, "/") + "/v1/" + resource + "/" + name
}

// PublicHost is the name by which providers call, with its port if it has one; empty: they do not.
func (a API) PublicHost() string {
	u, err := url.Parse(a.PublicURL)
	if err != nil {
		return ""
	}
	return u.Host
}

func (r HTTPReceipts) check(fs *Faults, key string) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(r.Secret), "whsec_"))
	fs.unless(r.Secret == "" || err == nil && len(raw) >= 24 && len(raw) <= 64,
		"%s.receipts.secret must be whsec_ and 24 to 64 random bytes in base64, such as openssl rand -base64 32 prints them", key)
}
