package deadletters

import (
	"context"
	"errors"
	"fmt"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// SkipChecker decides whether a letter must not be redriven because of what became of its notification after the letter was
// written.
type SkipChecker interface {
	// SkipReason returns the reason not to redrive the letter: [notify.SkipRedriven], [notify.SkipSent] or
	// [notify.SkipExpunged]; "" if there is no known reason. It ends with ctx.
	SkipReason(ctx context.Context, l *dispatcher.Letter) (string, error)
}

// StatusGetter reads the status store. It may be called concurrently.
type StatusGetter interface {
	// Get returns one notification with its timeline. Its error is [notify.ErrUnknownNotification] when the store does not have
	// the notification.
	Get(ctx context.Context, id string) (*notify.Life, error)
}

// StatusChecker is a [SkipChecker] that asks the status store.
type StatusChecker struct{ StatusGetter }

// SkipReason implements [SkipChecker]. Its error is [notify.ErrStatusUnavailable], which wraps the cause.
func (t StatusChecker) SkipReason(ctx context.Context, l *dispatcher.Letter) (string, error) {
	life, err := t.Get(ctx, l.ID)
	switch {
	case errors.Is(err, notify.ErrUnknownNotification):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: %w", notify.ErrStatusUnavailable, err)
	case life.Expunged:
		return notify.SkipExpunged, nil
	case life.Run >= l.Run && gatewayAccepted(life.State):
		return notify.SkipSent, nil
	case life.Run > l.Run || hasRedriveEvent(life.Timeline, l):
		return notify.SkipRedriven, nil
	default:
		return "", nil
	}
}

// gatewayAccepted reports whether a gateway has accepted the notification. This includes a bounced notification, which would
// bounce again.
func gatewayAccepted(s notify.State) bool {
	return s == notify.StateSent || s == notify.StateDelivered || s == notify.StateBounced
}

// hasRedriveEvent reports whether one of the events says that the letter was redriven: the store may not have read the job of
// that run yet.
func hasRedriveEvent(events []notify.Event, l *dispatcher.Letter) bool {
	for _, e := range events {
		if e.Note == notify.NoteRedriven && e.Origin != nil && *e.Origin == locationOf(l) {
			return true
		}
	}
	return false
}
