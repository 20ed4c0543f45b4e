package cmd

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/http"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// receiptReaders are those of the gateways that take receipts. A type of gateway that does is one line here.
func (p *process) receiptReaders() (map[string]receipts.Reader, error) {
	readers := map[string]receipts.Reader{}
	for _, route := range p.routes {
		for _, o := range route {
			switch g := o.Gateway; {
			case g.Twilio != nil && g.Twilio.Callback != "":
				readers[o.Name] = twilio.NewReceipts(*g.Twilio)
			case g.Twilio != nil && p.cfg.API.PublicURL != "":
				p.log.Warn("Twilio is asked for no receipts: api_key does not sign them; set receipts.auth_token to the account's token",
					zap.String("key", "gateways."+o.Name+".receipts.auth_token"))
			case g.HTTP != nil && g.HTTP.Receipts.Secret != "":
				r, err := http.NewReceipts(o.Name, g.HTTP.Receipts)
				if err != nil {
					return nil, err
				}
				readers[o.Name] = r
			}
		}
	}
	return readers, nil
}

// newReceipts is what the API brings receipts to.
func (p *process) newReceipts(lives receipts.StatusReader, t teller, on settler) (*receipts.Handler, error) {
	readers, err := p.receiptReaders()
	if err != nil {
		return nil, err
	}
	return &receipts.Handler{
		Readers: readers, Status: lives, Publisher: t, Settler: on, Metrics: receipts.NewMetrics(p.metrics),
		Suppressor: goneSuppressor{on, p.cfg.Channels.ByName(), p.cfg.Gateways, p.cfg.SMS}, Delivers: p.delivers,
	}, nil
}

// settler writes to the control topic what the API knows about jobs and recipients. It asks no admission: a broker that is full takes
// so little all the same.
type settler struct {
	topic     string
	publisher onePublisher
}

// Settle is that of the receipts. A worker repeats a call only with knowledge of the topic that is younger than [worker.MaxControlAge],
// which is less than the wait here.
func (s settler) Settle(ctx context.Context, id string, run int) error {
	if err := s.publish(ctx, control.Settle(id, run, time.Now()).Record()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: the entry is not in force yet: %w", notify.ErrBusUnavailable, ctx.Err())
	case <-time.After(control.InForce):
		return nil
	}
}

// publish returns once the records are durable. It publishes one after another, and ends with the first error.
func (s settler) publish(ctx context.Context, records ...control.Record) error {
	for _, r := range records {
		if _, _, err := s.publisher.Publish(ctx, onControl(s.topic, r)); err != nil {
			return fmt.Errorf("publish to %s: %w: %w", s.topic, notify.ErrBusUnavailable, err)
		}
	}
	return nil
}

// goneSuppressor suppresses recipients as the workers of their channel do.
type goneSuppressor struct {
	settler  settler
	channels map[string]config.Channel
	gateways map[string]config.Gateway
	sms      config.SMS
}

// Suppress is that of the receipts. A notification whose recipient the status store does not know any more suppresses nobody.
func (s goneSuppressor) Suppress(ctx context.Context, life *notify.Life, report notify.Report) error {
	// A device token that is said to be bad may be one of another app.
	proven := life.Channel != notify.ChannelPush || report.Reason == notify.ReasonRecipientGone
	if !s.channels[string(life.Channel)].SuppressGone || !proven {
		return nil
	}
	n := notify.Notification{Tenant: life.Tenant, Channel: life.Channel, Recipient: life.Recipient, RecipientType: life.RecipientType}
	address, faults := validate.Recipient(&n)
	if len(faults) > 0 {
		return nil
	}
	return s.settler.publish(ctx, s.cause(life, report, address).records(s.sms, time.Now())...)
}

// teller publishes events that no job causes. It bypasses the admission control: a full broker still accepts these few records.
type teller struct {
	desk      dispatcher.Desk
	publisher onePublisher
}

// Publish implements [receipts.EventPublisher]. The reconciler uses it too.
func (t teller) Publish(ctx context.Context, e notify.Event) error {
	m, err := t.desk.Tell(e)
	if err != nil {
		return err
	}
	if _, _, err := t.publisher.Publish(ctx, m); err != nil {
		return fmt.Errorf("publish to %s: %w: %w", m.Topic, notify.ErrBusUnavailable, err)
	}
	return nil
}
