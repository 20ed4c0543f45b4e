package deadletters

import (
	"context"
	"errors"
	"fmt"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Fates knows what became of a letter's notification since it died.
type Fates interface {
	// Fate is a reason not to redrive it: [notify.SkipRedriven], [notify.SkipSent] or [notify.SkipExpunged]; empty when
	// nothing is known that speaks against it. It ends with ctx.
	Fate(ctx context.Context, l *dispatcher.Letter) (string, error)
}

// Lives is the status store. It may be called at once from many goroutines.
type Lives interface {
	// Get gives one notification whole; its error is [notify.ErrUnknownNotification] when there is none.
	Get(ctx context.Context, id string) (*notify.Life, error)
}

// Told asks the status store for fates.
type Told struct{ Lives }

// Fate is [Fates]'.
func (t Told) Fate(ctx context.Context, l *dispatcher.Letter) (string, error) {
	life, err := t.Get(ctx, l.ID)
	switch {
	case errors.Is(err, notify.ErrUnknownNotification):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: %w", notify.ErrStatusUnavailable, err)
	case life.Expunged:
		return notify.SkipExpunged, nil
	case life.Run >= l.Run && taken(life.State):
		return notify.SkipSent, nil
	case life.Run > l.Run || redriven(life.Timeline, l):
		return notify.SkipRedriven, nil
	default:
		return "", nil
	}
}

// taken reports whether a gateway took it. One that bounced was taken, too, and would bounce again.
func taken(s notify.State) bool {
	return s == notify.StateSent || s == notify.StateDelivered || s == notify.StateBounced
}

// redriven reports whether an event says that l was: its job may not have been seen yet.
func redriven(events []notify.Event, l *dispatcher.Letter) bool {
	for _, e := range events {
		if e.Note == notify.NoteRedriven && e.Origin != nil && *e.Origin == placeIn(l) {
			return true
		}
	}
	return false
}
