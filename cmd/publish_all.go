package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// batchRecords and batchBytes bound what a command has on its way at once, to be acknowledged before it goes on.
const (
	batchRecords = 500
	batchBytes   = 8 << 20
)

var errUnanswered = errors.New("no acknowledgement came")

// publishAll publishes ms in their order, many at once, and waits until each is acknowledged: the errors are in the order
// of ms. After one that was not even taken, nothing is sent, lest it overtake it; only [kafka.ErrTooLarge] lets the next
// one through. What has an error may be on the log all the same, unless it is that.
func (b *openedBus) publishAll(ctx context.Context, ms []kafka.Message) []error {
	type answer struct {
		i   int
		err error
	}
	b.connect()
	ctx, cancel := context.WithTimeout(ctx, publishFor)
	defer cancel()
	errs, answers, sent := make([]error, len(ms)), make(chan answer, len(ms)), 0
	for i := range errs {
		errs[i] = errUnanswered
	}
	for i, m := range ms {
		err := b.take(ctx, m, func(_ int32, _ int64, err error) { answers <- answer{i, err} })
		if err == nil {
			sent++
		} else if errs[i] = err; !errors.Is(err, kafka.ErrTooLarge) {
			break
		}
	}
	for range sent {
		select {
		case a := <-answers:
			errs[a.i] = a.err
		case <-ctx.Done():
			return b.explain(errs)
		}
	}
	return errs
}

// explain adds what is wrong with the publisher to the errors of what was not acknowledged.
func (b *openedBus) explain(errs []error) []error {
	if cause := b.publisher.Ready(); cause != nil {
		for i, err := range errs {
			if errors.Is(err, errUnanswered) {
				errs[i] = fmt.Errorf("%w: %w", errUnanswered, cause)
			}
		}
	}
	return errs
}

// take hands m to the publisher, as soon as that is connected and has room.
func (b *openedBus) take(ctx context.Context, m kafka.Message, done func(int32, int64, error)) error {
	for {
		err := b.publisher.Send(m, done)
		if err == nil || errors.Is(err, kafka.ErrTooLarge) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
