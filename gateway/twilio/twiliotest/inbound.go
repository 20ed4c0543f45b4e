package twiliotest

import (
	"net/http"
	"net/url"
)

// Text gives the form of a text that Twilio brings, as its documents show one. It is for the account of this fake.
func Text(sid, from, to, body string) url.Values {
	return url.Values{
		"AccountSid": {AccountSID}, "ApiVersion": {"2010-04-01"}, "MessageSid": {sid}, "SmsSid": {sid}, "SmsMessageSid": {sid},
		"SmsStatus": {"received"}, "From": {from}, "To": {to}, "Body": {body}, "NumMedia": {"0"}, "NumSegments": {"1"},
		"FromCountry": {"US"}, "ToCountry": {"US"}, "FromCity": {""}, "ToZip": {""},
	}
}

// Inbound gives the request by which Twilio brings a text to that address, signed.
func Inbound(address, sid, from, to, body string) *http.Request {
	return Signed(address, Text(sid, from, to, body), AuthToken)
}

// SID gives the name of the nth incoming message.
func SID(n int) string { return sid(n) }
