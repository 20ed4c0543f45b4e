package twilio

import (
	"cmp"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxValidity is Twilio's limit for the time that a message may wait in its queue, in whole seconds from 1 on.
const maxValidity = 36_000

// params returns Twilio's parameters for m. A sender in the payload has precedence over the configured sender and over the
// messaging service: with the service, Twilio would choose only among the service's senders.
func (s *Sender) params(m *notify.Message, now time.Time) (*api.CreateMessageParams, *notify.Failure) {
	if m.SMS == nil {
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": this gateway sends channel sms only"}
	}
	p := new(api.CreateMessageParams).SetTo(m.Address)
	switch {
	case m.SMS.From != "":
		p.SetFrom(m.SMS.From)
	case s.cfg.MessagingServiceSID != "":
		p.SetMessagingServiceSid(s.cfg.MessagingServiceSID)
	case s.cfg.From != "":
		p.SetFrom(s.cfg.From)
	default:
		return nil, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": payload.from is required, for the gateway has no sender of its own"}
	}
	if m.SMS.Body != "" {
		p.SetBody(m.SMS.Body)
	}
	if len(m.SMS.MediaURLs) > 0 {
		p.SetMediaUrl(m.SMS.MediaURLs)
	}
	if m.ExpiresAt != nil {
		p.SetValidityPeriod(validity(m.ExpiresAt.Sub(now)))
	}
	if s.cfg.Callback != "" {
		p.SetStatusCallback(callback(s.cfg.Callback, m, s.Originator(m)))
	}
	return p, nil
}

// Originator returns the number, name or service that sends m: what Twilio blocks after a STOP
// (https://www.twilio.com/docs/api/errors/21610).
func (s *Sender) Originator(m *notify.Message) string {
	if m.SMS == nil {
		return ""
	}
	return cmp.Or(m.SMS.From, s.cfg.OwnSender())
}

// validity rounds down: a message must not arrive after it has expired.
func validity(remains time.Duration) int {
	return min(max(int(remains/time.Second), 1), maxValidity)
}
