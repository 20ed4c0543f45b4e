package twilio

import (
	"mime"
	"net/http"
	"net/url"

	"github.com/twilio/twilio-go/client"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// overrides asks Twilio to repeat a call that could not connect, got no answer in time or got a 5xx; without them Twilio repeats
// only the first kind (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
const overrides = "#rc=5&rp=ct,rt,5xx"

// signature checks that a call comes from Twilio (https://www.twilio.com/docs/usage/security#validating-requests).
type signature struct{ validator client.RequestValidator }

func newSignature(cfg config.Twilio) signature {
	return signature{client.NewRequestValidator(string(cfg.ReceiptToken()))}
}

// form returns the parameters of a call with that body, once its signature has been checked: each has one value. What Twilio
// signs is the address that it was given, so that only the query is taken from r: on the way here a proxy may have changed the
// rest. It fails with [notify.ErrForged] or [notify.Faults].
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

// covers reports whether Twilio has signed the address with those parameters. Its documents do not say whether the overrides, which
// never come over the wire, are signed too.
func (s signature) covers(address string, params map[string]string, given string) bool {
	return s.validator.Validate(address, params, given) || s.validator.Validate(address+overrides, params, given)
}
