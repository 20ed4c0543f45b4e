package receipts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Reader knows how one gateway's provider signs and words its receipts. It may be called at once from many goroutines.
type Reader interface {
	// Read gives what a request with that body says, once its signature has been checked. Its errors are [notify.ErrForged]
	// and [notify.Faults], which repeat nothing of the request.
	Read(r *http.Request, body []byte) (notify.Report, error)
}

// Lives is the status store. Its methods may be called at once from many goroutines, and end with ctx. Their errors are
// [notify.ErrUnknownNotification], when what the topics held at the call does not have it, and [notify.ErrStatusUnavailable].
type Lives interface {
	Get(ctx context.Context, id string) (*notify.Life, error)
	// OfProvider gives the id of the notification that the gateway's provider knows by that name.
	OfProvider(ctx context.Context, gateway, providerID string) (id string, err error)
}

// Teller publishes events.
type Teller interface {
	// Tell returns once e, which it seals, is durable. Its error is [notify.ErrBusUnavailable]; e may be told all the same.
	Tell(ctx context.Context, e notify.Event) error
}

// Settler ends runs whose provider has reported the message as delivered.
type Settler interface {
	// Settle returns once the end of the run is durable and in force: no repeated call of a gateway for the run begins after it has
	// returned. Its error is [notify.ErrBusUnavailable].
	Settle(ctx context.Context, id string, run int) error
}

// Suppressor keeps everything from recipients.
type Suppressor interface {
	// Suppress returns once it is durable that the recipient of the notification gets nothing more, because of what the report says. Its
	// error is [notify.ErrBusUnavailable].
	Suppress(ctx context.Context, life *notify.Life, said notify.Report) error
}

// Keeper keeps receipts until their attempt is known.
type Keeper interface {
	// Keep returns once the receipt is durable. Its errors are [notify.ErrEarly] when too many are kept,
	// [notify.ErrUnknownNotification] and [notify.ErrBusUnavailable].
	Keep(ctx context.Context, gateway string, said notify.Report) error
}

// Desk takes receipts. Its methods may be called at once from many goroutines.
type Desk struct {
	Readers map[string]Reader // by the gateway's name
	Lives   Lives
	Teller  Teller
	Settler Settler
	Metrics *Metrics // nil counts nothing

	Suppressor Suppressor // nil suppresses nobody
	Keeper     Keeper     // nil keeps nothing: an early receipt is [notify.ErrEarly]
	// Delivers reports whether the gateway is on the route of the channel; nil: all are. It is asked about messages that may be given
	// to a gateway at this moment.
	Delivers func(gateway string, channel notify.Channel) bool
}

// What became of a receipt that was taken.
const (
	Recorded     = "recorded"
	Resolved     = "resolved"     // the run was under way: it is news, and the run is not tried again
	Repeated     = "repeated"     // the notification's fate was known
	Late         = "late"         // the run has ended otherwise, or another one has begun
	Acknowledged = "acknowledged" // no news: it is on its way
	Kept         = "kept"         // it is durable, and applied once its attempt is known
)

// Take gives what became of the receipt in a request with that body. Its errors are those of [Reader], [notify.ErrUnknownGateway],
// [notify.ErrUnknownNotification], and of which repeating helps: [notify.ErrEarly], [notify.ErrStatusUnavailable] and
// [notify.ErrBusUnavailable].
//
// Once it has returned without an error for a report of a delivery that names its notification, no repeated call of a gateway begins
// for that run.
func (d *Desk) Take(ctx context.Context, gateway string, r *http.Request, body []byte) (result string, err error) {
	reader, ok := d.Readers[gateway]
	if !ok {
		d.Metrics.count("", notify.ErrUnknownGateway, "") // not its name: anybody may make one up
		return "", notify.ErrUnknownGateway
	}
	said, err := reader.Read(r, body)
	if err == nil {
		result, err = d.hear(ctx, gateway, said)
	}
	d.Metrics.count(gateway, err, result)
	return result, err
}

// hear acts on a report that has just come.
func (d *Desk) hear(ctx context.Context, gateway string, said notify.Report) (result string, err error) {
	if said.State == "" {
		return Acknowledged, nil
	}
	life, result, err := d.find(ctx, gateway, said)
	if ctx.Err() != nil && err != nil { // the time for it is over
		return "", err
	}
	result, err = d.act(ctx, gateway, said, life, result, err)
	if d.Keeper == nil || !attemptUnknown(err) {
		return result, err
	}
	if err := d.Keeper.Keep(ctx, gateway, said); err != nil {
		return "", fmt.Errorf("keep an early receipt: %w", err)
	}
	return Kept, nil
}

// Apply acts on a report that was kept. Its errors are those of [Desk.Take]; after [notify.ErrEarly] the attempt is still unknown.
func (d *Desk) Apply(ctx context.Context, gateway string, said notify.Report) error {
	life, result, err := d.look(ctx, gateway, said)
	if errors.Is(err, notify.ErrEarly) && said.Run > life.Run { // that run was settled when the report came
		return err
	}
	result, err = d.act(ctx, gateway, said, life, result, err)
	if !attemptUnknown(err) {
		d.Metrics.count(gateway, err, result)
	}
	return err
}

// act makes known what a report says. result and err are what it is to the notification.
func (d *Desk) act(ctx context.Context, gateway string, said notify.Report, life *notify.Life, result string, err error) (string, error) {
	if errors.Is(err, notify.ErrEarly) && settles(life, said, time.Now()) {
		result, err = Resolved, nil
	}
	if err != nil || result != Recorded && result != Resolved {
		return result, err
	}
	if result == Resolved { // first: the job may be due
		if err := d.Settler.Settle(ctx, life.ID, max(said.Run, life.Run)); err != nil {
			return "", fmt.Errorf("settle the run of a receipt: %w", err)
		}
		if said.Run > life.Run { // nothing is known of this run, which an event would begin
			return "", notify.ErrEarly
		}
	}
	if err := d.suppress(ctx, life, said); err != nil {
		return "", err
	}
	if err := d.Teller.Tell(ctx, event(life, gateway, said, time.Now())); err != nil {
		return "", fmt.Errorf("publish a receipt: %w", err)
	}
	return result, nil
}

// settles reports whether a report that is too early for its notification ends the run all the same: a delivered message was handed
// to the provider, whatever its response said or whether it came. The signature of the report covers id and run. A message that
// waits for its time has not been handed to anybody.
func settles(life *notify.Life, said notify.Report, now time.Time) bool {
	if life == nil || said.NotificationID == "" || said.State != notify.StateDelivered {
		return false
	}
	return life.State != notify.StateScheduled || said.Run > life.Run || life.NextAt == nil || !life.NextAt.After(now)
}

// suppress acts on a bounce that says that the recipient is gone or has opted out, as a worker does on such an answer.
func (d *Desk) suppress(ctx context.Context, life *notify.Life, said notify.Report) error {
	if d.Suppressor == nil || said.State != notify.StateBounced || !said.Gone {
		return nil
	}
	if err := d.Suppressor.Suppress(ctx, life, said); err != nil {
		return fmt.Errorf("suppress the recipient of a receipt: %w", err)
	}
	return nil
}

const (
	// patience is how long a receipt waits for the news that its message was sent: a provider may be faster than the way
	// over the bus into the store.
	patience  = time.Second
	lookAgain = 50 * time.Millisecond
)

// find gives the notification that was said something of, and what that is to it; an early receipt waits a little.
func (d *Desk) find(ctx context.Context, gateway string, said notify.Report) (*notify.Life, string, error) {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	for {
		life, result, err := d.look(ctx, gateway, said)
		if !attemptUnknown(err) {
			return life, result, err
		}
		select {
		case <-ctx.Done():
			return life, "", err
		case <-enough.C:
			return life, "", err
		case <-time.After(lookAgain):
		}
	}
}

// errNameless is a [notify.ErrUnknownNotification]: no notification is known by the provider's id.
var errNameless = fmt.Errorf("%w by the provider's id", notify.ErrUnknownNotification)

// attemptUnknown reports whether err says that the attempt of a receipt is not known yet. [errNameless] does, too: only the event of
// the sending has the provider's id.
func attemptUnknown(err error) bool {
	return errors.Is(err, notify.ErrEarly) || errors.Is(err, errNameless)
}

func (d *Desk) look(ctx context.Context, gateway string, said notify.Report) (life *notify.Life, result string, err error) {
	id := said.NotificationID
	if id == "" {
		id, err = d.Lives.OfProvider(ctx, gateway, said.ProviderID)
		if errors.Is(err, notify.ErrUnknownNotification) {
			return nil, "", errNameless
		}
		if err != nil {
			return nil, "", fmt.Errorf("look for the provider's id: %w", err)
		}
	}
	if life, err = d.Lives.Get(ctx, id); err != nil {
		return nil, "", fmt.Errorf("look for the notification: %w", err)
	}
	if d.foreign(life, gateway, said) {
		return life, "", notify.ErrUnknownNotification
	}
	result, err = weigh(life, gateway, said)
	return life, result, err
}
