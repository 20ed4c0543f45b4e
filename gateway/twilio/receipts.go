package twilio

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// callback returns the address to which Twilio reports the status of m. Twilio signs the whole address, so its query can be
// trusted.
func callback(base string, m *notify.Message, sender string) string {
	return base + "?" + url.Values{"id": {m.ID}, "run": {strconv.Itoa(m.Run)}, "sender": {sender}}.Encode() + overrides
}

// Receipts reads Twilio's status reports for accepted messages
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status).
type Receipts struct {
	signature
	callback string
}

// NewReceipts returns the reader for a gateway whose callback is set.
func NewReceipts(cfg config.Twilio) *Receipts { return &Receipts{newSignature(cfg), cfg.Callback} }

// Read checks the signature of a request with that body and returns its report. It fails with [notify.ErrForged] or
// [notify.Faults].
func (s *Receipts) Read(r *http.Request, body []byte) (notify.Report, error) {
	params, err := s.form(r, body, s.callback)
	if err != nil {
		return notify.Report{}, err
	}
	return report(r.URL.RawQuery, params)
}

// report returns the report of a signed request.
func report(query string, params map[string]string) (notify.Report, error) {
	ours, err := url.ParseQuery(query)
	id, isID := notify.ParseID(ours.Get("id"))
	run, notNumber := strconv.ParseUint(ours.Get("run"), 10, 31)
	if err != nil || !isID || notNumber != nil {
		return notify.Report{}, notify.Faults{{Pointer: "#", Code: notify.FaultInvalid, Detail: "leave the address as it was given at the send: id and run are in it"}}
	}
	status := params["MessageStatus"]
	if status == "" {
		return notify.Report{}, notify.Faults{{Pointer: "#/MessageStatus", Code: notify.FaultRequired, Detail: "say what became of the message"}}
	}
	said := notify.Report{NotificationID: id, Run: int(run), ProviderID: params["MessageSid"], State: fates[status]}
	if said.State == notify.StateBounced {
		said.Code = params["ErrorCode"]
		said.Reason = why(status, said.Code)
		if said.Reason == notify.ReasonOptedOut {
			said.Sender = ours.Get("sender") // empty in the address of an earlier version
		}
		said.Gone = notify.IsGone(said.Reason)
	}
	return said, nil
}

// fates are the final message statuses. The others (queued, sending, sent, and future ones) mean that the message is on its
// way.
var fates = map[string]notify.State{
	"delivered":   notify.StateDelivered,
	"read":        notify.StateDelivered, // from channels with read receipts; it follows delivered and then changes nothing
	"undelivered": notify.StateBounced,
	"failed":      notify.StateBounced,
	"canceled":    notify.StateBounced,
}

// bounces are the codes of messages that Twilio had accepted and could not deliver (https://www.twilio.com/docs/api/errors).
var bounces = map[string]string{
	"21610": notify.ReasonOptedOut,
	"30001": "the queue at Twilio ran over",
	"30002": "the account was suspended while the message waited",
	"30003": "the handset cannot be reached: switched off or without network",
	"30004": "the recipient or the carrier blocks the message",
	"30005": notify.ReasonRecipientGone,
	"30006": notify.ReasonBadRecipient, // a landline, or a carrier that cannot be reached
	"30007": "the carrier filtered the message",
	"30008": "the carrier did not say why",
	"30034": "the sender is not registered for this destination",
	"30036": "it was not delivered before it expired",
}

func why(status, code string) string {
	if reason, known := bounces[code]; known {
		return reason
	}
	if _, err := strconv.ParseUint(code, 10, 31); err == nil {
		return fmt.Sprintf("Twilio says %s: see https://www.twilio.com/docs/api/errors/%s", status, code)
	}
	return "Twilio says " + status
}
