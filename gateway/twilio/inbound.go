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

// Inbound reads the text messages that Twilio delivers to the senders of a gateway
// (https://www.twilio.com/docs/messaging/guides/webhook-request). Concurrent calls are safe.
type Inbound struct {
	signature
	cfg config.Twilio
}

// NewInbound returns the reader for a gateway whose inbound is set.
func NewInbound(cfg config.Twilio) *Inbound { return &Inbound{newSignature(cfg), cfg} }

var (
	messageSID = regexp.MustCompile(`^[A-Z]{2}[0-9a-fA-F]{32}$`)
	phone      = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
)

// Read returns the text of a request with that body. It checks the signature, the account and the sender to which the text was
// sent. It fails with [notify.ErrForged], [notify.ErrForeignSender] or [notify.Faults], which do not quote the request.
func (s *Inbound) Read(r *http.Request, body []byte) (notify.Inbound, error) {
	params, err := s.form(r, body, s.cfg.Inbound)
	if err != nil {
		return notify.Inbound{}, err
	}
	if params["AccountSid"] != s.cfg.AccountSID { // signed with the configured token, which may belong to another account
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
	// An opt-out by RCS also blocks the texts of the same sender (https://help.twilio.com/articles/223134027).
	if number := strings.TrimPrefix(in.From, "rcs:"); phone.MatchString(number) {
		in.Address = number
	}
	return in, nil
}

// senders returns the senders of the gateway to which the text was sent. A text to a number of a messaging service names the
// service.
func (s *Inbound) senders(params map[string]string) []string {
	var all []string
	if service := s.cfg.MessagingServiceSID; service != "" && params["MessagingServiceSid"] == service {
		all = append(all, service)
	}
	if to := params["To"]; to == s.cfg.From || slices.Contains(s.cfg.Senders, to) {
		all = append(all, to)
	}
	return all
}

// optOutTypes are the values of OptOutType, which Twilio sends for keywords that it has acted on
// (https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out). For an unknown value the text decides.
var optOutTypes = map[string]notify.Keyword{"STOP": notify.KeywordStop, "START": notify.KeywordStart, "HELP": notify.KeywordHelp}

// Answer returns the body that Twilio expects: a list of instructions, which is empty. Twilio itself answers keywords.
func (s *Inbound) Answer() (contentType string, body []byte) {
	return "text/xml; charset=utf-8", []byte(`<?xml version="1.0" encoding="UTF-8"?><Response></Response>`)
}
