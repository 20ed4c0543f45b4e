package inbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Reader knows how one gateway's provider signs and brings texts. It may be called at once from many goroutines.
type Reader interface {
	// Read returns the text in a request with that body, once its signature has been checked. Its errors are [notify.ErrForged],
	// [notify.ErrForeignSender] and [notify.Faults], which repeat nothing of the request.
	Read(r *http.Request, body []byte) (notify.Inbound, error)
	// Answer returns what the provider expects when a text was taken.
	Answer() (contentType string, body []byte)
}

// Texts is the status store. Its methods may be called at once from many goroutines, and end with ctx. Their error is
// [notify.ErrStatusUnavailable].
type Texts interface {
	// SentTo returns the last texts that were sent to the number by the gateway, the latest first.
	SentTo(ctx context.Context, gateway, address string) ([]notify.Life, error)
	// HasInbound reports whether KeepInbound has kept the message.
	HasInbound(ctx context.Context, gateway, message string) (bool, error)
	// KeepInbound keeps the name of a message that was taken. A lasting one is kept for good.
	KeepInbound(ctx context.Context, gateway, message string, lasting bool, at time.Time) error
}

// OptOuts changes suppressions. Its methods may be called at once from many goroutines, return once the change is durable, and end
// with ctx. Their errors are [notify.ErrBusUnavailable] and [notify.ErrStatusUnavailable].
type OptOuts interface {
	// Block keeps the texts of the senders from the number, in each tenant.
	Block(ctx context.Context, tenants []string, gateway string, in notify.Inbound) error
	// Lift takes the opt-outs of the senders back, in each tenant and in all others that have one. Other suppressions stay.
	Lift(ctx context.Context, tenants []string, in notify.Inbound) error
}

// EventPublisher publishes events.
type EventPublisher interface {
	// Publish returns once e, which it seals, is durable. Its error is [notify.ErrBusUnavailable]; e may be told all the same.
	Publish(ctx context.Context, e notify.Event) error
}

// Desk takes texts. Its methods may be called at once from many goroutines.
type Desk struct {
	Readers   map[string]Reader // by the gateway's name
	Texts     Texts
	OptOuts   OptOuts
	Publisher EventPublisher
	Words     Words
	Full      bool     // events hold the number and the text
	Metrics   *Metrics // nil counts nothing
}

// What became of a text that was taken, beside its keyword.
const (
	Received = "received" // no keyword
	Repeated = "repeated" // it was taken before
)

// Take takes the text in a request with that body: the result is its keyword, [Received] or [Repeated]. Its errors are those of [Reader], [notify.ErrUnknownGateway], and of which
// repeating helps: [notify.ErrStatusUnavailable] and [notify.ErrBusUnavailable].
func (d *Desk) Take(ctx context.Context, gateway string, r *http.Request, body []byte) (notify.InboundTaken, error) {
	reader, ok := d.Readers[gateway]
	if !ok {
		d.Metrics.count("", notify.ErrUnknownGateway, "") // not its name: anybody may make one up
		return notify.InboundTaken{}, notify.ErrUnknownGateway
	}
	in, err := reader.Read(r, body)
	result := ""
	if err == nil {
		result, err = d.hear(ctx, gateway, in)
	}
	d.Metrics.count(gateway, err, result)
	if err != nil {
		return notify.InboundTaken{}, err
	}
	t := notify.InboundTaken{Result: result}
	t.ContentType, t.Answer = reader.Answer()
	return t, nil
}

func (d *Desk) hear(ctx context.Context, gateway string, in notify.Inbound) (result string, err error) {
	known, err := d.Texts.HasInbound(ctx, gateway, in.ProviderID)
	if err != nil {
		return "", fmt.Errorf("look for an incoming message: %w", err)
	}
	if known {
		return Repeated, nil
	}
	in.Keyword = cmp.Or(in.Keyword, d.Words.Of(in.Text))
	sent, err := d.sentTo(ctx, gateway, in)
	if err != nil {
		return "", err
	}
	if err := d.change(ctx, gateway, in, tenantsOf(sent)); err != nil {
		return "", fmt.Errorf("change opt-outs: %w", err)
	}
	now := time.Now()
	if err := d.Publisher.Publish(ctx, d.event(gateway, in, sent, now)); err != nil {
		return "", fmt.Errorf("publish an incoming message: %w", err)
	}
	if err := d.Texts.KeepInbound(ctx, gateway, in.ProviderID, changes(in), now); err != nil {
		return "", fmt.Errorf("keep an incoming message: %w", err)
	}
	return cmp.Or(string(in.Keyword), Received), nil
}

// sentTo returns the texts to which in may be an answer.
func (d *Desk) sentTo(ctx context.Context, gateway string, in notify.Inbound) ([]notify.Life, error) {
	if in.Address == "" {
		return nil, nil
	}
	sent, err := d.Texts.SentTo(ctx, gateway, in.Address)
	if err != nil {
		return nil, fmt.Errorf("look for texts to the number: %w", err)
	}
	return sent, nil
}

// tenantsOf returns the tenants of the texts; the default one where there are none.
func tenantsOf(sent []notify.Life) []string {
	var tenants []string
	for _, life := range sent {
		if !slices.Contains(tenants, life.Tenant) {
			tenants = append(tenants, life.Tenant)
		}
	}
	if len(tenants) == 0 {
		return []string{notify.DefaultTenant}
	}
	return tenants
}

// changes reports whether in changes suppressions. Whoever cannot be texted has none.
func changes(in notify.Inbound) bool {
	return in.Address != "" && (in.Keyword == notify.KeywordStop || in.Keyword == notify.KeywordStart)
}

func (d *Desk) change(ctx context.Context, gateway string, in notify.Inbound, tenants []string) error {
	switch {
	case !changes(in):
		return nil
	case in.Keyword == notify.KeywordStop:
		return d.OptOuts.Block(ctx, tenants, gateway, in)
	default:
		return d.OptOuts.Lift(ctx, tenants, in)
	}
}

// event is what a text makes known: a note of the last text that was sent to the number, and otherwise an event of its own. In the
// timeline it follows what gave the notification its state, whatever the clocks say.
func (d *Desk) event(gateway string, in notify.Inbound, sent []notify.Life, now time.Time) notify.Event {
	said := &notify.EventInbound{From: notify.Mask(in.From), To: in.To, Keyword: in.Keyword}
	if d.Full {
		said.From, said.Text = in.From, in.Text
	}
	e := notify.Event{
		NotificationID: notify.DerivedID("inbound", gateway+"|"+in.ProviderID), State: notify.StateReceived, At: now,
		Tenant: notify.DefaultTenant, Channel: notify.ChannelSMS, Lane: notify.LaneNormal,
	}
	if len(sent) > 0 {
		life := sent[0]
		e = notify.Event{
			NotificationID: life.ID, Run: life.Run, Step: life.Step, Attempt: life.Attempt, State: life.State, At: now,
			Tenant: life.Tenant, Channel: life.Channel, Lane: life.Lane, Reference: life.Reference, Simulated: life.Simulated,
			Awaited: life.State.Final() && !life.Final,
		}
		if !e.At.After(life.UpdatedAt) {
			e.At = life.UpdatedAt.Add(time.Microsecond)
		}
	}
	e.Gateway, e.ProviderID, e.Note, e.Inbound = gateway, in.ProviderID, notify.NoteInbound, said
	return e
}

// errLabel names the outcome of an error for the metrics.
func errLabel(err error) string {
	var faults notify.Faults
	switch {
	case errors.Is(err, notify.ErrForged):
		return "forged"
	case errors.Is(err, notify.ErrForeignSender):
		return "foreign"
	case errors.Is(err, notify.ErrUnknownGateway):
		return "unknown"
	case errors.As(err, &faults):
		return "invalid"
	default:
		return "unavailable"
	}
}
