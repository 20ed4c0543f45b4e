package cmd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/inbound"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
	"github.com/laudspeaker/laudspeaker/producer"
)

// inboundReaders are those of the gateways whose providers bring texts. A type of gateway that does is one line here.
func (p *process) inboundReaders() map[string]inbound.Reader {
	readers := map[string]inbound.Reader{}
	for _, o := range p.routes[notify.ChannelSMS] {
		if g := o.Gateway; g.Twilio != nil && g.Twilio.Inbound != "" {
			readers[o.Name] = twilio.NewInbound(*g.Twilio)
		}
	}
	return readers
}

// newInbound returns what the API brings texts to; nil without a gateway that takes any.
//
//	POST /v1/inbound/… ─▶ desk ─▶ status store: was it taken? who has sent texts to the number?
//	                        ├──▶ publisher ─▶ control topic, status topic
//	                        └──▶ state of the control topic: whose opt-outs are lifted?
func (p *process) newInbound(k *keeper, t teller, on settler, state controlled) producer.Inbound {
	readers := p.inboundReaders()
	if len(readers) == 0 {
		return nil
	}
	sms, words := p.cfg.SMS, config.DefaultKeywords()
	return &inbound.Desk{
		Readers: readers, Texts: sentTexts{k.reader, k.store}, Publisher: t,
		OptOuts: optOuts{on, state, sms},
		Words: inbound.NewWords(slices.Concat(words["stop_words"], sms.StopWords), slices.Concat(words["start_words"], sms.StartWords),
			slices.Concat(words["help_words"], sms.HelpWords)),
		Full: sms.Inbound == "full", Metrics: inbound.NewMetrics(p.metrics),
	}
}

// sentTexts is the status store for incoming texts.
type sentTexts struct {
	reader *status.Reader
	*statusStore
}

// mostTexts is how many texts of the past to one number are looked at.
const mostTexts = 100

// SentTo is that of the texts. A text that was sent a moment ago is waited for, a little: people are slower than that.
func (s sentTexts) SentTo(ctx context.Context, gateway, address string) ([]notify.Life, error) {
	_ = s.reader.Barrier.Wait(ctx) // the last texts are better than none
	lives, err := s.reader.List(ctx, notify.LifeFilter{Recipient: address, Channel: notify.ChannelSMS, Gateway: gateway}, "", mostTexts)
	return lives.Data, err
}

// optOuts writes opt-outs to the control topic.
type optOuts struct {
	settler settler
	state   controlled
	sms     config.SMS
}

// Block is that of incoming texts.
func (o optOuts) Block(ctx context.Context, tenants []string, gateway string, in notify.Inbound) error {
	for _, tenant := range tenants {
		for _, sender := range in.Senders {
			stop := suppressionCause{
				tenant: tenant, channel: notify.ChannelSMS, address: in.Address, sender: sender, gateway: gateway,
				code: "STOP", reason: notify.ReasonOptedOut,
			}
			if err := o.settler.publish(ctx, stop.records(o.sms, time.Now())...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lift is that of incoming texts. It takes back what Block writes under either scope: the setting may have changed.
func (o optOuts) Lift(ctx context.Context, tenants []string, in notify.Inbound) error {
	select {
	case <-o.state.Caught():
	case <-ctx.Done():
		return fmt.Errorf("%w: the control topic has not been read yet", notify.ErrStatusUnavailable)
	}
	for _, sender := range in.Senders {
		for _, tenant := range o.state.TenantsOf(control.OptOut("", sender, in.Address)) {
			if !slices.Contains(tenants, tenant) {
				tenants = append(slices.Clip(tenants), tenant)
			}
		}
	}
	for _, tenant := range tenants {
		lifted := []control.Record{control.SuppressFor(tenant, notify.ChannelSMS, in.Address, notify.ReasonOptedOut).Tombstone()}
		for _, sender := range in.Senders {
			lifted = append(lifted, control.OptOut(tenant, sender, in.Address).Tombstone())
		}
		if err := o.settler.publish(ctx, lifted...); err != nil {
			return err
		}
	}
	return nil
}
