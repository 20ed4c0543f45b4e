package status

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Barrier lets a caller read what it has written: it waits until the store has read the topics as far as they went when
// the caller came. All who wait at once share one look at the topics, which is begun after the last of them has come.
type Barrier struct {
	// Ends says where the partitions of the job topics end now. It is not called again before it has returned.
	Ends func() ([]kafka.Place, error)
	// Positions is how far the store has read.
	Positions func(ctx context.Context) ([]Position, error)

	mu   sync.Mutex
	last *look // the newest
}

// look is one look at the ends of the topics, and the wait until the store has passed them. It begins when the one before it
// has ended; until then it is good for whoever comes.
type look struct {
	before *look
	begun  bool
	done   chan struct{}
	err    error
}

// How long a look may take, and how often it asks the store.
const (
	lookFor   = time.Second
	lookEvery = 20 * time.Millisecond
)

// Wait returns once everything that was on the topics when it was called is in the store. After a second, or when either
// cannot be asked, its error is a [notify.ErrStatusUnavailable].
func (b *Barrier) Wait(ctx context.Context) error {
	l, lead := b.join()
	if lead {
		go b.take(context.WithoutCancel(ctx), l) // it serves others, too; it ends within the second
	}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("%w: it has not read far enough yet", notify.ErrStatusUnavailable)
	}
}

func (b *Barrier) join() (l *look, lead bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil || b.last.begun {
		b.last, lead = &look{before: b.last, done: make(chan struct{})}, true
	}
	return b.last, lead
}

func (b *Barrier) take(ctx context.Context, l *look) {
	if l.before != nil {
		<-l.before.done
	}
	b.mu.Lock()
	l.begun, l.before = true, nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	defer close(l.done)
	if err := b.pass(ctx); err != nil {
		l.err = fmt.Errorf("%w: %w", notify.ErrStatusUnavailable, err)
	}
}

func (b *Barrier) pass(ctx context.Context) error {
	ends, err := b.Ends()
	if err != nil {
		return err
	}
	for {
		at, err := b.Positions(ctx)
		if err != nil {
			return err
		}
		if passed(ends, at) {
			return nil
		}
		if !pause(ctx, lookEvery) {
			return context.Cause(ctx)
		}
	}
}

func passed(ends []kafka.Place, at []Position) bool {
	read := newPositions(at)
	for _, e := range ends {
		if read.next(e.Topic, e.Partition) < e.Offset && e.Offset > 0 {
			return false
		}
	}
	return true
}
