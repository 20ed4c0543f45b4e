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

// Service answers the API's requests. Each reads a bounded part of the topics, and one after the other does: they share one
// connection, and Kafka is not to be kept busy by them.
type Service struct {
	letters *Letters
	fates   Fates
	publish func(ctx context.Context, ms []kafka.Message) []error
	turn    chan struct{}
	most    budget
}

// NewService makes the service; the reader of letters stays the caller's. fates may be nil. publish is as
// [Redriver.Publish].
func NewService(letters *Letters, fates Fates, publish func(ctx context.Context, ms []kafka.Message) []error) *Service {
	return &Service{letters, fates, publish, make(chan struct{}, 1), budget{records: 5000, bytes: 32 << 20}}
}

// List gives letters that were not redriven, the oldest of each partition first, at most limit. A page may be shorter and
// not the last. Its errors are [notify.Faults], [notify.ErrBadCursor], [notify.ErrStatusUnavailable], or
// [notify.ErrBusUnavailable] around the cause.
func (s *Service) List(ctx context.Context, f notify.LetterFilter, cursor string, limit int) (page notify.Letters, err error) {
	page.Next, err = s.walk(ctx, f, cursor, func(l *dispatcher.Letter) (bool, error) {
		fate := ""
		if s.fates != nil {
			if fate, err = s.fates.Fate(ctx, l); err != nil {
				return false, err
			}
		}
		if fate == notify.SkipRedriven || fate == notify.SkipExpunged {
			return true, nil
		}
		shown := s.letters.Describe(l)
		shown.Sent = fate == notify.SkipSent
		page.Data = append(page.Data, shown)
		return len(page.Data) < limit, nil
	})
	return page, err
}

// Redrive sends letters again. What it has published when it fails is not sent twice when the request is repeated. Its errors
// are those of List.
func (s *Service) Redrive(ctx context.Context, q notify.Redrive) (done notify.Redriven, err error) {
	seen := 0
	r := &Redriver{Letters: s.letters, Fates: s.fates, Now: time.Now(), Skip: func(l *dispatcher.Letter, why string, _ error) {
		done.Skipped = append(done.Skipped, notify.SkippedLetter{ID: l.ID, Letter: placeIn(l), Why: why})
	}}
	if !q.DryRun {
		r.Publish = s.publish
	}
	if q.ExpiresIn > 0 {
		r.Expires = r.Now.Add(q.ExpiresIn).Truncate(time.Millisecond).UTC()
	}
	done.Next, err = s.walk(ctx, q.LetterFilter, q.Cursor, func(l *dispatcher.Letter) (bool, error) {
		seen++
		return seen < q.Limit, r.Add(ctx, l)
	})
	if err == nil {
		err = told(r.Flush(ctx))
	}
	done.Redriven = r.Count
	return done, err
}

func (s *Service) walk(ctx context.Context, f notify.LetterFilter, cursor string, visit func(*dispatcher.Letter) (bool, error)) (next string, err error) {
	c, err := compile(f)
	if err != nil {
		return "", err
	}
	from, err := placeOf(cursor)
	if err != nil {
		return "", err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", told(ctx.Err())
	}
	b := s.most
	at, err := s.letters.walk(ctx, c, from, &b, visit)
	if errors.Is(err, ErrNoLetters) { // no role has made the topics yet
		return "", nil
	}
	return at.cursor(), told(err)
}

// told is err as the API knows it: what is not its own comes from Kafka.
func told(err error) error {
	var faults notify.Faults
	if err == nil || errors.As(err, &faults) || errors.Is(err, notify.ErrBadCursor) || errors.Is(err, notify.ErrStatusUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", notify.ErrBusUnavailable, err)
}
