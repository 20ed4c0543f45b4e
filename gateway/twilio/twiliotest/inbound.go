package twiliotest

import (
	"net/http"
	"net/url"
)

// Text returns the form of an inbound text, as in Twilio's documentation, for the account of this fake.
func Text(sid, from, to, body string) url.Values {
	return url.Values{
		"AccountSid": {AccountSID}, "ApiVersion": {"2010-04-01"}, "MessageSid": {sid}, "SmsSid": {sid}, "SmsMessageSid": {sid},
		"SmsStatus": {"received"}, "From": {from}, "To": {to}, "Body": {body}, "NumMedia": {"0"}, "NumSegments": {"1"},
		"FromCountry": {"US"}, "ToCountry": {"US"}, "FromCity": {""}, "ToZip": {""},
	}
}

// Inbound returns the signed request with which Twilio delivers a text to that address.
func Inbound(address, sid, from, to, body string) *http.Request {
	return Signed(address, Text(sid, from, to, body), AuthToken)
}

// SID returns the SID of the nth incoming message.
func SID(n int) string { return sid(n) }
