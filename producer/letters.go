package producer

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// DeadLetters finds dead letters and sends them again. It may be called at once from many goroutines; each call reads a
// bounded part of them and ends with ctx. Its errors are [notify.Faults], [notify.ErrBadCursor],
// [notify.ErrStatusUnavailable] and [notify.ErrBusUnavailable].
type DeadLetters interface {
	// List gives letters that were not redriven, at most limit, from where cursor says; empty begins.
	List(ctx context.Context, f notify.LetterFilter, cursor string, limit int) (notify.Letters, error)
	// Redrive sends letters again, each once, however often it is asked to.
	Redrive(ctx context.Context, q notify.Redrive) (notify.Redriven, error)
}

const (
	defaultRedrives = 100
	mostRedrives    = 1000
	mostIDs         = 1000
	maxRedriveBody  = 128 << 10
)

// redriven is the answer to a redrive.
type redriven struct {
	Redriven   int                    `json:"redriven" doc:"How many are sent again, or of a dry run would be."`
	DryRun     bool                   `json:"dry_run" doc:"Nothing was published."`
	Skipped    []notify.SkippedLetter `json:"skipped" nullable:"false" doc:"Those that were chosen, and left alone."`
	NextCursor *string                `json:"next_cursor" doc:"null: there are no more"`
}

// listLetters answers the dead letters that the parameters choose.
func (s *Server) listLetters(x *exchange) error {
	q := readQuery(x.r.URL.RawQuery)
	f := q.letters()
	cursor, limit := q.text("cursor", 1024), q.number("limit", defaultLimit, 1, maxLimit)
	if err := q.refusal(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Letters)
	defer cancel()
	letters, err := s.cfg.DeadLetters.List(ctx, f, cursor, int(limit))
	if err != nil {
		return unfound(err)
	}
	return x.json(http.StatusOK, pageOf(letters.Data, letters.Next))
}

// redriveLetters sends those again that the body chooses.
func (s *Server) redriveLetters(x *exchange) error {
	if x.r.URL.RawQuery != "" {
		return refuse(codeInvalidParameter, "give no parameter in the address: the body says it all")
	}
	raw, err := s.body(x, maxRedriveBody)
	if err != nil {
		return err
	}
	q, err := queryOf(raw)
	if err != nil {
		return err
	}
	ask := notify.Redrive{LetterFilter: q.letters(), ExpiresIn: q.duration("expires_in"), Cursor: q.text("cursor", 1024)}
	ask.DryRun = q.flag("dry_run")
	ask.Limit = int(q.number("limit", defaultRedrives, 1, mostRedrives))
	if all := q.flag("all"); !all && !ask.Narrow() {
		q.fault("all", "give a filter, such as since or reason, or all: true for every letter")
	}
	if err := q.refusal(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Letters)
	defer cancel()
	done, err := s.cfg.DeadLetters.Redrive(ctx, ask)
	x.log(zap.Int("redriven", done.Redriven), zap.Int("skipped", len(done.Skipped)), zap.Bool("dry_run", ask.DryRun))
	if err != nil {
		return unfound(err)
	}
	answer := redriven{Redriven: done.Redriven, DryRun: ask.DryRun, Skipped: done.Skipped, NextCursor: cursorOf(done.Next)}
	if answer.Skipped == nil {
		answer.Skipped = []notify.SkippedLetter{}
	}
	return x.json(http.StatusOK, answer)
}

// letters reads what dead letters are chosen by.
func (q *query) letters() notify.LetterFilter {
	f := notify.LetterFilter{
		IDs: q.ids("id"), Channels: words(q, "channel", notify.Channels()), Lane: word(q, "lane", notify.Lanes()),
		Reason: q.text("reason", 255), Code: q.text("code", 64), Gateway: q.text("gateway", 255), Recipient: q.address("recipient"),
		Since: q.moment("since"), Until: q.moment("until"),
	}
	if n := q.number("partition", -1, 0, 1<<31-1); n >= 0 {
		partition := int32(n)
		f.Partition = &partition
	}
	f.From, f.To = q.offset("from_offset", f.Partition), q.offset("to_offset", f.Partition)
	return f
}

// offset reads an offset of a partition; nil when it is not given.
func (q *query) offset(name string, partition *int32) *int64 {
	n := q.number(name, -1, 0, 1<<62)
	if n < 0 {
		return nil
	}
	if partition == nil {
		q.fault(name, "give partition, too: offsets are those of one partition")
	}
	return &n
}

// unfound is the problem of what the dead letters did not answer.
func unfound(err error) error {
	var faults notify.Faults
	switch {
	case errors.As(err, &faults):
		return refuse(codeInvalidParameter, strings.TrimPrefix(faults[0].Pointer, "#/")+": "+faults[0].Detail)
	case errors.Is(err, notify.ErrBadCursor), errors.Is(err, notify.ErrStatusUnavailable):
		return unread(err)
	case busFailed(err):
		return refuse(codeBusUnavailable, "ask again after a while: Kafka did not answer in time. What was redriven is not sent twice").
			with("Retry-After", "5").because(err)
	default:
		return err
	}
}
