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

// Service answers the API's requests. Each request reads a bounded part of the topics. Requests run one at a time, because
// they share one connection and must not keep Kafka busy. The methods may be called concurrently; they block until earlier
// requests have ended.
type Service struct {
	scanner *Scanner
	checker SkipChecker
	publish func(ctx context.Context, ms []kafka.Message) []error
	slot    chan struct{} // holds an element while a request runs
	limit   budget        // of one request
}

// NewService returns a service. The caller closes the scanner's reader. checker may be nil. For publish see
// [Redriver.Publish].
func NewService(scanner *Scanner, checker SkipChecker, publish func(ctx context.Context, ms []kafka.Message) []error) *Service {
	return &Service{
		scanner: scanner,
		checker: checker,
		publish: publish,
		slot:    make(chan struct{}, 1),
		limit:   budget{records: 5000, bytes: 32 << 20},
	}
}

// List returns at most limit letters that were not redriven, the oldest of each partition first. A page that is shorter than
// limit need not be the last page. Its errors are [notify.Faults], [notify.ErrBadCursor], [notify.ErrStatusUnavailable], and
// [notify.ErrBusUnavailable], which wraps the cause.
func (s *Service) List(ctx context.Context, f notify.LetterFilter, cursor string, limit int) (notify.Letters, error) {
	var page notify.Letters
	next, err := s.walk(ctx, f, cursor, func(l *dispatcher.Letter) (bool, error) {
		reason := ""
		if s.checker != nil {
			var err error
			reason, err = s.checker.SkipReason(ctx, l)
			if err != nil {
				return false, err
			}
		}
		if reason == notify.SkipRedriven || reason == notify.SkipExpunged {
			return true, nil
		}
		described := s.scanner.Describe(l)
		described.Sent = reason == notify.SkipSent
		page.Data = append(page.Data, described)
		return len(page.Data) < limit, nil
	})
	page.Next = next
	return page, err
}

// Redrive sends letters again. When Redrive fails, the request may be repeated: letters that were already published are not
// sent twice. Its errors are those of [Service.List].
func (s *Service) Redrive(ctx context.Context, q notify.Redrive) (notify.Redriven, error) {
	var result notify.Redriven
	seen := 0
	r := &Redriver{
		Scanner:     s.scanner,
		SkipChecker: s.checker,
		Now:         time.Now(),
		Skip: func(l *dispatcher.Letter, why string, _ error) {
			result.Skipped = append(result.Skipped, notify.SkippedLetter{ID: l.ID, Letter: locationOf(l), Why: why})
		},
	}
	if !q.DryRun {
		r.Publish = s.publish
	}
	if q.ExpiresIn > 0 {
		r.Expires = r.Now.Add(q.ExpiresIn).Truncate(time.Millisecond).UTC()
	}
	next, err := s.walk(ctx, q.LetterFilter, q.Cursor, func(l *dispatcher.Letter) (bool, error) {
		seen++
		return seen < q.Limit, r.Add(ctx, l)
	})
	if err == nil {
		err = asBusError(r.Flush(ctx))
	}
	result.Next = next
	result.Redriven = r.Count
	return result, err
}

// walk calls visit for the letters from a cursor on, within the limit of one request. It returns the cursor for the next
// request; "" after the last letter.
func (s *Service) walk(ctx context.Context, f notify.LetterFilter, from string, visit func(*dispatcher.Letter) (bool, error)) (string, error) {
	c, err := compileFilter(f)
	if err != nil {
		return "", err
	}
	begin, err := parseCursor(from)
	if err != nil {
		return "", err
	}
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	case <-ctx.Done():
		return "", asBusError(ctx.Err())
	}
	b := s.limit
	next, err := s.scanner.walk(ctx, c, begin, &b, visit)
	if errors.Is(err, ErrNoLetters) { // no role has created the topics yet
		return "", nil
	}
	return next.encode(), asBusError(err)
}

// asBusError wraps err in [notify.ErrBusUnavailable], unless err is one of the other errors that the API knows: all remaining
// errors come from Kafka.
func asBusError(err error) error {
	var faults notify.Faults
	if err == nil || errors.As(err, &faults) || errors.Is(err, notify.ErrBadCursor) || errors.Is(err, notify.ErrStatusUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", notify.ErrBusUnavailable, err)
}
