package cmd

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway/http"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/receipts"
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
func (p *process) newReceipts(lives receipts.Lives, t teller) (*receipts.Desk, error) {
	readers, err := p.receiptReaders()
	if err != nil {
		return nil, err
	}
	return &receipts.Desk{Readers: readers, Lives: lives, Teller: t, Metrics: receipts.NewMetrics(p.metrics)}, nil
}

// teller publishes events that no job causes. It asks no admission: a broker that is full takes so little all the same.
type teller struct {
	desk      dispatcher.Desk
	publisher onePublisher
}

// Tell is that of the receipts and of the reconciler.
func (t teller) Tell(ctx context.Context, e notify.Event) error {
	m, err := t.desk.Tell(e)
	if err != nil {
		return err
	}
	if _, _, err := t.publisher.Publish(ctx, m); err != nil {
		return fmt.Errorf("publish to %s: %w: %w", m.Topic, notify.ErrBusUnavailable, err)
	}
	return nil
}
