package worker

import (
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// An opt-out blocks one sender for one recipient. The other senders of a route may still text the recipient. So a text message
// goes to the first gateway whose sender is not blocked, on every lane. It is suppressed if every sender is blocked.

// originator returns the sender of m at o, to which opt-outs apply. Only text messages have one.
func (o *Outlet) originator(m *notify.Message) string {
	if m.SMS == nil {
		return ""
	}
	if known, ok := o.Sender.(gateway.Originator); ok {
		if sender := known.Originator(m); sender != "" {
			return sender
		}
	}
	return notify.GatewaySender(o.Name)
}

// senderBlocked reports whether the recipient of j has opted out of the texts of o's sender.
func (w *Worker) senderBlocked(j *job, o *Outlet) bool {
	sender := o.originator(j.message)
	return sender != "" && (j.optedOutSenders[sender] || w.cfg.Control.SenderBlocked(j.tenant, w.cfg.Channel, j.message.Address, sender))
}

// allSendersBlocked reports whether no gateway of the route has a sender that may text the recipient of j.
func (w *Worker) allSendersBlocked(j *job) bool {
	if j.message.SMS == nil {
		return false
	}
	for _, o := range w.cfg.Route.order(j) {
		if !w.senderBlocked(j, o) {
			return false
		}
	}
	return true
}

// isOptOut reports whether the gateway refused a text message because its recipient has opted out of the sender.
func (w *Worker) isOptOut(t try) bool {
	return w.cfg.Channel == notify.ChannelSMS && t.verdict == notify.Permanent && t.failure.Gone && t.failure.Reason == notify.ReasonOptedOut
}

// recordOptOut reports whether the try shows an opt-out. If so, it blocks the sender for the recipient, here and for all workers;
// another sender may still text the recipient.
func (w *Worker) recordOptOut(j *job, o *Outlet, t try) bool {
	if !w.isOptOut(t) {
		return false
	}
	sender := o.originator(j.message)
	if j.optedOutSenders[sender] {
		return true
	}
	if j.optedOutSenders == nil {
		j.optedOutSenders = map[string]bool{}
	}
	j.optedOutSenders[sender] = true
	if w.cfg.Suppress != nil {
		j.suppressions = append(j.suppressions, w.cfg.Suppress(j.message, sender, t.gateway, t.failure)...)
	}
	return true
}
