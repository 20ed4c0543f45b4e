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

// Limits of one batch: its jobs are in flight at the same time, and are acknowledged before the next batch begins.
const (
	batchRecords = 500
	batchBytes   = 8 << 20
)

// Redriver redrives letters in batches. It is not safe for concurrent use.
type Redriver struct {
	*Scanner
	SkipChecker SkipChecker // nil skips no letter because of its notification's status

	// Publish publishes all messages in their order, and returns an error or nil for each once it is acknowledged. Nil makes a
	// dry run, which publishes nothing.
	Publish func(ctx context.Context, ms []kafka.Message) []error
	Now     time.Time
	Expires time.Time // the new expiry; zero keeps the expiry of each letter
	Batch   int       // maximum number of letters in a batch; 0 = 500

	// Skip is called for each letter that is not redriven. why is one of notify's Skip constants; err, unless nil, explains it.
	Skip func(l *dispatcher.Letter, why string, err error)
	// Flushed is called after each batch with the number of letters that were redriven. Its error ends the redrive. It may be nil.
	Flushed func(n int) error

	Count int // number of letters that were redriven, or would be in a dry run

	batch batch
}

// batch is the letters that are ready to be published. jobs, events and letters are parallel.
type batch struct {
	jobs, events []kafka.Message
	letters      []*dispatcher.Letter
	bytes        int // of the jobs' values
}

// errUndecodableBatch: the letter holds a record batch, and the notifications in the batch are unknown.
var errUndecodableBatch = errors.New("the letter holds a record batch that cannot be decoded: ask the one who wrote it to send its notifications again")

// Add adds a letter to the batch, or calls Skip for it. It publishes the batch when it is full. Its error ends the redrive.
func (r *Redriver) Add(ctx context.Context, l *dispatcher.Letter) error {
	if l.Reason == notify.ReasonUndecodableBatch {
		r.Skip(l, notify.SkipBatch, errUndecodableBatch)
		return nil
	}
	why, err := r.skipReason(ctx, l)
	if err != nil {
		return err
	}
	if why != "" {
		r.Skip(l, why, nil)
		return nil
	}
	record, err := r.withValue(ctx, l)
	if errors.Is(err, errValueGone) {
		r.Skip(l, notify.SkipGone, err)
		return nil
	}
	if err != nil {
		return err
	}
	if l.ValueMissing() { // the value may hold the expiry
		l, err = r.desk().Letter(record)
		if err != nil {
			return err
		}
	}
	if at, ok := l.Expires(r.Lifetimes); ok && r.Expires.IsZero() && !r.Now.Before(at) {
		r.Skip(l, notify.SkipExpired, nil)
		return nil
	}
	job, event, err := r.desk().Redrive(record, r.Now, r.Expires)
	if err != nil {
		return err
	}
	b := &r.batch
	b.jobs = append(b.jobs, job)
	b.events = append(b.events, event)
	b.letters = append(b.letters, l)
	b.bytes += len(job.Value)
	if len(b.jobs) < r.maxBatch() && b.bytes < batchBytes {
		return nil
	}
	return r.Flush(ctx)
}

func (r *Redriver) skipReason(ctx context.Context, l *dispatcher.Letter) (string, error) {
	if r.SkipChecker == nil {
		return "", nil
	}
	return r.SkipChecker.SkipReason(ctx, l)
}

func (r *Redriver) maxBatch() int {
	if r.Batch == 0 {
		return batchRecords
	}
	return min(r.Batch, batchRecords)
}

// Flush publishes the jobs of the batch and then the events of the acknowledged jobs.
func (r *Redriver) Flush(ctx context.Context) error {
	b := r.batch
	r.batch = batch{}
	if r.Publish == nil {
		r.Count += len(b.jobs)
		return nil
	}
	var failed error
	var events []kafka.Message
	for i, err := range r.Publish(ctx, b.jobs) {
		switch {
		case err == nil:
			events = append(events, b.events[i])
		case errors.Is(err, kafka.ErrTooLarge):
			r.Skip(b.letters[i], notify.SkipTooLarge, fmt.Errorf("its topic no longer takes a record of this size: raise max.message.bytes of %s", b.jobs[i].Topic))
		default:
			failed = err
		}
	}
	for _, err := range r.Publish(ctx, events) {
		if err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	r.Count += len(events)
	if r.Flushed == nil {
		return nil
	}
	return r.Flushed(len(events))
}
