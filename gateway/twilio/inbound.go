package twilio

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Inbound reads the texts that Twilio brings to the senders of a gateway
// (https://www.twilio.com/docs/messaging/guides/webhook-request). It may be used by many goroutines at once.
type Inbound struct {
	signature
	cfg config.Twilio
}

// NewInbound returns the reader of a gateway that has an Inbound address.
func NewInbound(cfg config.Twilio) *Inbound { return &Inbound{newSignature(cfg), cfg} }

var (
	messageSID = regexp.MustCompile(`^[A-Z]{2}[0-9a-fA-F]{32}$`)
	phone      = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
)

// Read checks the signature of a request with that body, its account, and to whom the text was sent, and returns the text. It fails
// with [notify.ErrForged], [notify.ErrForeignSender] or [notify.Faults], which repeat nothing of the request.
func (s *Inbound) Read(r *http.Request, body []byte) (notify.Inbound, error) {
	params, err := s.form(r, body, s.cfg.Inbound)
	if err != nil {
		return notify.Inbound{}, err
	}
	if params["AccountSid"] != s.cfg.AccountSID { // signed by the token that is configured, which may be another account's
		return notify.Inbound{}, fmt.Errorf("%w: it is of another account", notify.ErrForged)
	}
	for _, name := range []string{"MessageSid", "From", "To"} {
		if params[name] == "" || name == "MessageSid" && !messageSID.MatchString(params[name]) {
			return notify.Inbound{}, notify.Faults{{Pointer: "#/" + name, Code: notify.FaultRequired, Detail: "send what Twilio sends of an incoming message"}}
		}
	}
	in := notify.Inbound{
		ProviderID: params["MessageSid"], From: params["From"], To: params["To"], Text: params["Body"],
		Senders: s.senders(params), Keyword: optOutTypes[strings.ToUpper(params["OptOutType"])],
	}
	if len(in.Senders) == 0 {
		return notify.Inbound{}, notify.ErrForeignSender
	}
	// An opt-out by RCS blocks the texts of the same sender, too (https://help.twilio.com/articles/223134027).
	if number := strings.TrimPrefix(in.From, "rcs:"); phone.MatchString(number) {
		in.Address = number
	}
	return in, nil
}

// senders returns those of the gateway's senders that the text was sent to. A number of a messaging service brings the service.
func (s *Inbound) senders(params map[string]string) (all []string) {
	if service := s.cfg.MessagingServiceSID; service != "" && params["MessagingServiceSid"] == service {
		all = append(all, service)
	}
	if to := params["To"]; to == s.cfg.From || slices.Contains(s.cfg.Senders, to) {
		all = append(all, to)
	}
	return all
}

// optOutTypes are the values of OptOutType, which comes with keywords that Twilio has acted on
// (https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out). A value that is not known leaves the text to decide.
var optOutTypes = map[string]notify.Keyword{"STOP": notify.KeywordStop, "START": notify.KeywordStart, "HELP": notify.KeywordHelp}

// Answer returns what Twilio expects: instructions, of which there are none. Twilio itself answers keywords.
func (s *Inbound) Answer() (contentType string, body []byte) {
	return "text/xml; charset=utf-8", []byte(`<?xml version="1.0" encoding="UTF-8"?><Response></Response>`)
}
