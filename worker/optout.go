package worker

import (
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// An opt-out blocks one sender for one recipient, and the other senders of a route go on. So a text is given to the first gateway
// whose sender is not blocked, whatever its lane, and is suppressed when there is none.

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

// blocked reports whether the recipient of j has opted out of the texts of o's sender.
func (w *Worker) blocked(j *job, o *Outlet) bool {
	sender := o.originator(j.message)
	return sender != "" && (j.optedOut[sender] || w.cfg.Control.SenderBlocked(j.tenant, w.cfg.Channel, j.message.Address, sender))
}

// allBlocked reports whether no gateway of the route has a sender that may text the recipient of j.
func (w *Worker) allBlocked(j *job) bool {
	if j.message.SMS == nil {
		return false
	}
	for _, o := range w.cfg.Route.order(j) {
		if !w.blocked(j, o) {
			return false
		}
	}
	return true
}

// isOptOut reports whether a gateway says that the recipient of a text has opted out of its sender.
func (w *Worker) isOptOut(t try) bool {
	return w.cfg.Channel == notify.ChannelSMS && t.verdict == notify.Permanent && t.failure.Gone && t.failure.Reason == notify.ReasonOptedOut
}

// optsOut takes in what a gateway says of an opt-out, and reports whether the try was one: another sender may still text the
// recipient.
func (w *Worker) optsOut(j *job, o *Outlet, t try) bool {
	if !w.isOptOut(t) {
		return false
	}
	sender := o.originator(j.message)
	if j.optedOut[sender] {
		return true
	}
	if j.optedOut == nil {
		j.optedOut = map[string]bool{}
	}
	j.optedOut[sender] = true
	if w.cfg.Suppress != nil {
		j.leaves = append(j.leaves, w.cfg.Suppress(j.message, sender, t.gateway, t.failure)...)
	}
	return true
}
