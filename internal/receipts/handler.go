package receipts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Reader verifies and parses the receipts of one gateway's provider. It may be called concurrently.
type Reader interface {
	// Read verifies the signature of a request with that body and returns its report. Its errors are [notify.ErrForged] and
	// [notify.Faults], which repeat nothing of the request.
	Read(r *http.Request, body []byte) (notify.Report, error)
}

// StatusReader reads the status store. Its methods may be called concurrently, and end with ctx. Their errors are
// [notify.ErrUnknownNotification], when the topics did not have the notification at the time of the call, and
// [notify.ErrStatusUnavailable].
type StatusReader interface {
	Get(ctx context.Context, id string) (*notify.Life, error)
	// FindByProviderID returns the id of the notification to which the gateway's provider has given an id.
	FindByProviderID(ctx context.Context, gateway, providerID string) (id string, err error)
}

// EventPublisher publishes events.
type EventPublisher interface {
	// Publish seals the event, and returns once the event is durable. Its error is [notify.ErrBusUnavailable]; the event may
	// have been published all the same.
	Publish(ctx context.Context, e notify.Event) error
}

// Settler ends runs whose provider has reported the message as delivered.
type Settler interface {
	// Settle returns once the end of the run is durable and in force: after that, no repeated call of a gateway begins for the
	// run. Its error is [notify.ErrBusUnavailable].
	Settle(ctx context.Context, id string, run int) error
}

// Suppressor suppresses recipients.
type Suppressor interface {
	// Suppress suppresses the recipient of the notification because of the report. It returns once the suppression is durable.
	// Its error is [notify.ErrBusUnavailable].
	Suppress(ctx context.Context, life *notify.Life, report notify.Report) error
}

// Keeper keeps receipts until their attempt is known.
type Keeper interface {
	// Keep returns once the receipt is durable. Its errors are [notify.ErrEarly] when too many are kept,
	// [notify.ErrUnknownNotification] and [notify.ErrBusUnavailable].
	Keep(ctx context.Context, gateway string, report notify.Report) error
}

// Handler handles receipts. Its methods may be called concurrently.
type Handler struct {
	Readers   map[string]Reader // by gateway name
	Status    StatusReader
	Publisher EventPublisher
	Settler   Settler
	Metrics   *Metrics // nil counts nothing

	Suppressor Suppressor // nil suppresses no recipient
	Keeper     Keeper     // nil keeps no receipt: the error of an early receipt is [notify.ErrEarly]
	// Delivers reports whether the gateway is on the route of the channel. Nil means that each gateway is on each route. It is
	// called for notifications for which a call of a gateway may be in flight.
	Delivers func(gateway string, channel notify.Channel) bool
}

// Results of a receipt that was accepted.
const (
	Recorded     = "recorded"
	Resolved     = "resolved"     // the run was in progress: the receipt is recorded, and the run makes no further attempt
	Repeated     = "repeated"     // the result of the delivery was already known
	Late         = "late"         // the run has ended in another state, or a later run has begun
	Acknowledged = "acknowledged" // the report has no result yet: the message is on its way
	Kept         = "kept"         // the receipt is durable, and is applied once its attempt is known
)

// Handle handles the receipt in a request with that body, and returns its result. Its errors are those of [Reader] and
// [notify.ErrUnknownGateway], [notify.ErrUnknownNotification]; for the following errors the provider should repeat the request:
// [notify.ErrEarly], [notify.ErrStatusUnavailable] and [notify.ErrBusUnavailable].
//
// If the report says that the message was delivered, and names the notification, then after a return without an error no
// repeated call of a gateway begins for that run.
func (h *Handler) Handle(ctx context.Context, gateway string, r *http.Request, body []byte) (string, error) {
	reader, ok := h.Readers[gateway]
	if !ok {
		h.Metrics.count("", notify.ErrUnknownGateway, "") // without the name, which a stranger may have made up
		return "", notify.ErrUnknownGateway
	}
	report, err := reader.Read(r, body)
	result := ""
	if err == nil {
		result, err = h.handleReport(ctx, gateway, report)
	}
	h.Metrics.count(gateway, err, result)
	return result, err
}

// handleReport applies a report that has just arrived, or keeps it if its attempt is unknown.
func (h *Handler) handleReport(ctx context.Context, gateway string, report notify.Report) (string, error) {
	if report.State == "" {
		return Acknowledged, nil
	}
	life, result, err := h.awaitAttempt(ctx, gateway, report)
	if ctx.Err() != nil && err != nil { // the request has timed out
		return "", err
	}
	result, err = h.apply(ctx, gateway, report, life, result, err)
	if h.Keeper == nil || !attemptUnknown(err) {
		return result, err
	}
	if err := h.Keeper.Keep(ctx, gateway, report); err != nil {
		return "", fmt.Errorf("keep an early receipt: %w", err)
	}
	return Kept, nil
}

// Apply applies a report that was kept. Its errors are those of [Handler.Handle]; after [notify.ErrEarly] the attempt is still
// unknown.
func (h *Handler) Apply(ctx context.Context, gateway string, report notify.Report) error {
	life, result, err := h.lookUp(ctx, gateway, report)
	if errors.Is(err, notify.ErrEarly) && report.Run > life.Run { // that run was settled when the report arrived
		return err
	}
	result, err = h.apply(ctx, gateway, report, life, result, err)
	if !attemptUnknown(err) {
		h.Metrics.count(gateway, err, result)
	}
	return err
}

// apply settles the run, suppresses the recipient and publishes the event, as far as the report requires. result and err are
// those of lookUp.
func (h *Handler) apply(ctx context.Context, gateway string, report notify.Report, life *notify.Life, result string, err error) (string, error) {
	if errors.Is(err, notify.ErrEarly) && provesDelivery(life, report, time.Now()) {
		result, err = Resolved, nil
	}
	if err != nil || result != Recorded && result != Resolved {
		return result, err
	}
	if result == Resolved { // before everything else: the job may be due
		if err := h.Settler.Settle(ctx, life.ID, max(report.Run, life.Run)); err != nil {
			return "", fmt.Errorf("settle the run of a receipt: %w", err)
		}
		if report.Run > life.Run { // the store does not know this run yet: an event would begin the run
			return "", notify.ErrEarly
		}
	}
	if err := h.suppress(ctx, life, report); err != nil {
		return "", err
	}
	if err := h.Publisher.Publish(ctx, newEvent(life, gateway, report, time.Now())); err != nil {
		return "", fmt.Errorf("publish a receipt: %w", err)
	}
	return result, nil
}

// provesDelivery reports whether a report that is too early for its notification ends the run all the same. A delivered message
// was handed to the provider, whatever the provider's response said and whether or not the response arrived. The signature of
// the report covers id and run. A message that is scheduled for later has not been handed to any provider.
func provesDelivery(life *notify.Life, report notify.Report, now time.Time) bool {
	if life == nil || report.NotificationID == "" || report.State != notify.StateDelivered {
		return false
	}
	return life.State != notify.StateScheduled || report.Run > life.Run || life.NextAt == nil || !life.NextAt.After(now)
}

// suppress suppresses the recipient if the message bounced because the recipient is gone or has opted out. A worker does the
// same when a provider's response says so.
func (h *Handler) suppress(ctx context.Context, life *notify.Life, report notify.Report) error {
	if h.Suppressor == nil || report.State != notify.StateBounced || !report.Gone {
		return nil
	}
	if err := h.Suppressor.Suppress(ctx, life, report); err != nil {
		return fmt.Errorf("suppress the recipient of a receipt: %w", err)
	}
	return nil
}

const (
	// earlyWait is how long a receipt waits until the store knows that its message was sent: a provider may be faster than the
	// way over Kafka into the store.
	earlyWait = time.Second
	pollEvery = 50 * time.Millisecond
)

// awaitAttempt returns the result of lookUp once the attempt is known, or after a short wait.
func (h *Handler) awaitAttempt(ctx context.Context, gateway string, report notify.Report) (*notify.Life, string, error) {
	timeout := time.NewTimer(earlyWait)
	defer timeout.Stop()
	for {
		life, result, err := h.lookUp(ctx, gateway, report)
		if !attemptUnknown(err) {
			return life, result, err
		}
		select {
		case <-ctx.Done():
			return life, "", err
		case <-timeout.C:
			return life, "", err
		case <-time.After(pollEvery):
		}
	}
}

// errUnknownProviderID is a [notify.ErrUnknownNotification]: the store knows no notification by the provider's id.
var errUnknownProviderID = fmt.Errorf("%w by the provider's id", notify.ErrUnknownNotification)

// attemptUnknown reports whether err means that the attempt of a receipt is not known yet. This includes
// [errUnknownProviderID], because only the event of the attempt has the provider's id.
func attemptUnknown(err error) bool {
	return errors.Is(err, notify.ErrEarly) || errors.Is(err, errUnknownProviderID)
}

// lookUp finds the notification of a report and compares the report with it. For [notify.ErrEarly] it returns the notification
// too.
func (h *Handler) lookUp(ctx context.Context, gateway string, report notify.Report) (*notify.Life, string, error) {
	id := report.NotificationID
	if id == "" {
		var err error
		id, err = h.Status.FindByProviderID(ctx, gateway, report.ProviderID)
		if errors.Is(err, notify.ErrUnknownNotification) {
			return nil, "", errUnknownProviderID
		}
		if err != nil {
			return nil, "", fmt.Errorf("look for the provider's id: %w", err)
		}
	}
	life, err := h.Status.Get(ctx, id)
	if err != nil {
		return nil, "", fmt.Errorf("look for the notification: %w", err)
	}
	if h.isForeign(life, gateway, report) {
		return life, "", notify.ErrUnknownNotification
	}
	result, err := compare(life, gateway, report)
	return life, result, err
}
