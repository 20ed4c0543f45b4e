package cmd

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// tenantScope is the value of sms.opt_out_scope by which one opt-out stops all senders.
const tenantScope = "tenant"

// said is what a gateway or a recipient has said by which a recipient gets nothing more.
type said struct {
	tenant  string
	channel notify.Channel
	address string
	sender  string // of a text
	gateway string
	code    string
	reason  string
}

// entries returns the suppressions that follow from s: an opt-out blocks its sender for the recipient, everything else blocks all.
func (s said) entries(sms config.SMS, at time.Time) []control.Entry {
	all := control.SuppressFor(s.tenant, s.channel, s.address, s.reason)
	if s.reason == "" {
		all.Reason = notify.ReasonRecipientGone
	}
	entries := []control.Entry{all}
	if s.channel == notify.ChannelSMS && s.reason == notify.ReasonOptedOut && s.sender != "" {
		entries = []control.Entry{control.OptOut(s.tenant, s.sender, s.address)}
		if sms.OptOutScope == tenantScope {
			entries = append(entries, all)
		}
	}
	for i := range entries {
		entries[i].At, entries[i].Gateway, entries[i].Code, entries[i].Sender = at, s.gateway, s.code, s.sender
	}
	return entries
}

// said returns what a receipt says of the recipient of a notification.
func (s goneSuppressor) said(life *notify.Life, report notify.Report, address string) said {
	return said{
		tenant: life.Tenant, channel: life.Channel, address: address, sender: s.sender(life, report), gateway: life.Gateway,
		code: report.Code, reason: report.Reason,
	}
}

// sender returns the sender of the text that a receipt is about: as the receipt names it, else that of the message, as far as it is
// kept, else that of the gateway.
func (s goneSuppressor) sender(life *notify.Life, report notify.Report) string {
	var payload notify.SMS
	if life.Channel != notify.ChannelSMS {
		return ""
	}
	if json.Unmarshal(life.Payload, &payload) != nil {
		payload.From = ""
	}
	return cmp.Or(report.Sender, payload.From, s.gateways[life.Gateway].OwnSender(), notify.GatewaySender(life.Gateway))
}
