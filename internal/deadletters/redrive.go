package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// batchRecords and batchBytes bound what is on its way at once, to be acknowledged before it goes on.
const (
	batchRecords = 500
	batchBytes   = 8 << 20
)

// Redriver sends letters again, batch by batch. One goroutine at a time uses it.
type Redriver struct {
	*Letters
	Fates Fates // nil knows nothing

	// Publish puts all of ms on the bus, in their order, and gives an error or nil for each, as they are acknowledged. nil
	// publishes nothing: a dry run.
	Publish func(ctx context.Context, ms []kafka.Message) []error
	Now     time.Time
	Expires time.Time // the new expiry; zero: as the letters say
	Batch   int       // letters on their way at once at most; 0 = 500

	// Skip is told of each letter that is left alone: one of notify's Skip constants, and what to say of it.
	Skip func(l *dispatcher.Letter, why string, err error)
	// Flushed is told how many were redriven at once; nil is not. Its error ends everything.
	Flushed func(n int) error

	Count int // of those that were redriven, or in a dry run would be

	jobs, events []kafka.Message
	letters      []*dispatcher.Letter
	bytes        int
}

// errBatch: what notifications the letter stands for is not known.
var errBatch = errors.New("the letter holds a record batch that cannot be decoded: ask the one who wrote it to send its notifications again")

// Add takes one letter. It is an error only when nothing more can be done.
func (r *Redriver) Add(ctx context.Context, l *dispatcher.Letter) error {
	if l.Reason == notify.ReasonUndecodableBatch {
		r.Skip(l, notify.SkipBatch, errBatch)
		return nil
	}
	if why, err := r.fate(ctx, l); err != nil || why != "" {
		if why != "" {
			r.Skip(l, why, nil)
		}
		return err
	}
	whole, err := r.whole(ctx, l)
	if errors.Is(err, errGone) {
		r.Skip(l, notify.SkipGone, err)
		return nil
	}
	if err != nil {
		return err
	}
	if l.Elsewhere() { // what it says of its expiry came with the value
		if l, err = r.desk().Letter(whole); err != nil {
			return err
		}
	}
	if at, ok := l.Expires(r.Lifetimes); ok && r.Expires.IsZero() && !r.Now.Before(at) {
		r.Skip(l, notify.SkipExpired, nil)
		return nil
	}
	job, event, err := r.desk().Redrive(whole, r.Now, r.Expires)
	if err != nil {
		return err
	}
	r.jobs, r.events, r.letters = append(r.jobs, job), append(r.events, event), append(r.letters, l)
	if r.bytes += len(job.Value); len(r.jobs) < r.batch() && r.bytes < batchBytes {
		return nil
	}
	return r.Flush(ctx)
}

func (r *Redriver) fate(ctx context.Context, l *dispatcher.Letter) (string, error) {
	if r.Fates == nil {
		return "", nil
	}
	return r.Fates.Fate(ctx, l)
}

func (r *Redriver) batch() int {
	if r.Batch == 0 {
		return batchRecords
	}
	return min(r.Batch, batchRecords)
}

// Flush publishes the jobs at hand and, of those that are acknowledged, the events.
func (r *Redriver) Flush(ctx context.Context) error {
	jobs, events, letters := r.jobs, r.events, r.letters
	r.jobs, r.events, r.letters, r.bytes = nil, nil, nil, 0
	if r.Publish == nil {
		r.Count += len(jobs)
		return nil
	}
	var failed error
	var say []kafka.Message
	for i, err := range r.Publish(ctx, jobs) {
		switch {
		case err == nil:
			say = append(say, events[i])
		case errors.Is(err, kafka.ErrTooLarge):
			r.Skip(letters[i], notify.SkipTooLarge, fmt.Errorf("its topic no longer takes a record of this size: raise max.message.bytes of %s", jobs[i].Topic))
		default:
			failed = err
		}
	}
	for _, err := range r.Publish(ctx, say) {
		if err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	r.Count += len(say)
	if r.Flushed == nil {
		return nil
	}
	return r.Flushed(len(say))
}
