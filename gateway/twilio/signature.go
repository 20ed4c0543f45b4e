package twilio

import (
	"mime"
	"net/http"
	"net/url"

	"github.com/twilio/twilio-go/client"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// overrides asks Twilio to repeat a callback that could not connect, timed out or got a 5xx. Without them Twilio repeats only
// the first kind (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
const overrides = "#rc=5&rp=ct,rt,5xx"

// signature verifies that a callback comes from Twilio (https://www.twilio.com/docs/usage/security#validating-requests).
type signature struct{ validator client.RequestValidator }

func newSignature(cfg config.Twilio) signature {
	return signature{client.NewRequestValidator(string(cfg.ReceiptToken()))}
}

// form returns the parameters of a callback with that body after its signature was verified. Each parameter has one value.
// Twilio signs the address that it was given, so form takes only the query from r: a proxy may have changed the rest. It fails
// with [notify.ErrForged] or [notify.Faults].
func (s signature) form(r *http.Request, body []byte, address string) (map[string]string, error) {
	form, err := url.ParseQuery(string(body))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, notify.Faults{{Pointer: "#", Code: notify.FaultInvalid, Detail: "send a form, as Twilio does"}}
	}
	params := make(map[string]string, len(form))
	for name, values := range form {
		if len(values) > 1 { // only one of them would be signed
			return nil, notify.ErrForged
		}
		params[name] = values[0]
	}
	if r.URL.RawQuery != "" {
		address += "?" + r.URL.RawQuery
	}
	given := r.Header.Values("X-Twilio-Signature")
	if len(given) != 1 || !s.covers(address, params, given[0]) {
		return nil, notify.ErrForged
	}
	return params, nil
}

// covers reports whether Twilio has signed the address with those parameters. Twilio's documentation does not say whether the
// overrides, which are not part of the request, are signed too.
func (s signature) covers(address string, params map[string]string, given string) bool {
	return s.validator.Validate(address, params, given) || s.validator.Validate(address+overrides, params, given)
}
