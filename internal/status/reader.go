package status

import (
	"context"
	"errors"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Lives is what is read of a store.
type Lives interface {
	// Get gives a life with its timeline, or [notify.ErrUnknownNotification].
	Get(ctx context.Context, id string) (*notify.Life, error)
	// List gives a page, the latest first; an empty cursor begins.
	List(ctx context.Context, f notify.LifeFilter, cursor string, limit int) (notify.Lives, error)
	// Events gives what was taken after seq, in that order.
	Events(ctx context.Context, after int64, f notify.LifeFilter, limit int) ([]notify.SeenEvent, error)
	// LastSeq is that of the newest event; 0 when there is none.
	LastSeq(ctx context.Context) (int64, error)
}

// Reader is a store for those who must not be told that there is nothing when it only has not been read yet.
type Reader struct {
	Lives
	Barrier *Barrier
}

// Get is that of [Lives]. What the store does not know is looked for again once it has read what was on the topics when Get
// was called.
func (r *Reader) Get(ctx context.Context, id string) (*notify.Life, error) {
	life, err := r.Lives.Get(ctx, id)
	if !errors.Is(err, notify.ErrUnknownNotification) {
		return life, err
	}
	if err := r.Barrier.Wait(ctx); err != nil {
		return nil, err
	}
	return r.Lives.Get(ctx, id)
}
