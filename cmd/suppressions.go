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

// suppressionCause is the cause of a suppression: who reported it, for which recipient and sender.
type suppressionCause struct {
	tenant  string
	channel notify.Channel
	address string
	sender  string // of a text
	gateway string
	code    string
	reason  string
}

// records returns the records of the suppressions that follow from s: an opt-out blocks its sender for the recipient, everything else
// blocks all.
func (s suppressionCause) records(sms config.SMS, at time.Time) []control.Record {
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
	records := make([]control.Record, len(entries))
	for i, e := range entries {
		e.At, e.Gateway = at, s.gateway
		e.Code, e.Sender = s.code, s.sender
		records[i] = e.Record()
	}
	return records
}

// cause returns what a receipt says of the recipient of a notification.
func (s goneSuppressor) cause(life *notify.Life, report notify.Report, address string) suppressionCause {
	return suppressionCause{
		tenant: life.Tenant, channel: life.Channel, address: address, sender: s.sender(life, report), gateway: life.Gateway,
		code: report.Code, reason: report.Reason,
	}
}

// suppressionSource says for which sender a suppression holds and which gateway reported it.
func suppressionSource(e control.Entry) string {
	var text string
	switch {
	case e.Scope != "":
		text = ", of sender " + e.Scope
	case e.Sender != "":
		text = ", of all senders, said to " + e.Sender
	}
	if e.Gateway != "" {
		text += ", by gateway " + e.Gateway
	}
	return text
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
