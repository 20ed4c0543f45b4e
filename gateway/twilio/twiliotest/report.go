package twiliotest

import (
	"crypto/hmac"
	"crypto/sha1" // Twilio's own choice
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Report returns the signed status callback for the nth accepted message, counted from 0. Code is an error code, or empty.
func (s *Server) Report(n int, status, code string) *http.Request {
	callback, _, _ := strings.Cut(s.Accepted()[n].Get("StatusCallback"), "#")
	form := url.Values{
		"AccountSid": {AccountSID}, "ApiVersion": {"2010-04-01"}, "MessageSid": {sid(n)}, "MessageStatus": {status},
		"SmsSid": {sid(n)}, "SmsStatus": {status}, "To": {"+15550000001"}, "From": {"+15005550006"},
	}
	if code != "" {
		form.Set("ErrorCode", code)
	}
	return Signed(callback, form, AuthToken)
}

// Signed returns a request with Twilio's signature (https://www.twilio.com/docs/usage/security#validating-requests) over the
// address and, sorted by name, all names and values.
func Signed(callback string, form url.Values, token string) *http.Request {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	h := hmac.New(sha1.New, []byte(token))
	h.Write([]byte(callback))
	for _, name := range names {
		h.Write([]byte(name + form.Get(name)))
	}
	r, err := http.NewRequest(http.MethodPost, callback, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err) // a test's own mistake
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	r.Header.Set("User-Agent", "TwilioProxy/1.1")
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(h.Sum(nil)))
	return r
}

func sid(n int) string { return fmt.Sprintf("SM%032x", n+1) }
