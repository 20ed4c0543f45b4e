package deadletters

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// cursor is the position at which the next walk continues. A walk reads channel after channel, partition after partition,
// offset after offset. The zero value is the beginning.
type cursor struct {
	channel   notify.Channel
	partition int32
	offset    int64
}

// budget limits how much one walk reads. A nil budget is unlimited.
type budget struct{ records, bytes int }

// spend subtracts a record from the budget. It reports whether more records may be read.
func (b *budget) spend(r *kafka.Record) bool {
	if b == nil {
		return true
	}
	b.records--
	b.bytes -= len(r.Value)
	return b.records > 0 && b.bytes > 0
}

// errStopScan ends a scan early. No caller sees it.
var errStopScan = errors.New("stop the scan")

// Each calls visit for every letter that matches f, topic after topic and partition after partition. It keeps no letter in
// memory. Its error is [notify.Faults] when f is invalid.
func (s *Scanner) Each(ctx context.Context, f notify.LetterFilter, visit func(*dispatcher.Letter) error) error {
	c, err := compileFilter(f)
	if err != nil {
		return err
	}
	_, err = s.walk(ctx, c, cursor{}, nil, func(l *dispatcher.Letter) (bool, error) { return true, visit(l) })
	return err
}

// walk calls visit for the letters from a cursor on, until visit returns false or the budget is used up. It returns the cursor
// for the next walk, or nil after the last letter.
func (s *Scanner) walk(ctx context.Context, f *filter, from cursor, b *budget, visit func(*dispatcher.Letter) (more bool, err error)) (*cursor, error) {
	all, err := s.partitionRanges(f)
	if err != nil {
		return nil, err
	}
	remaining, err := f.rangesFrom(all, from)
	if err != nil {
		return nil, err
	}
	var next *cursor
	for _, p := range remaining {
		err := s.Reader.Scan(ctx, p.topic, []kafka.Bounds{p.Bounds}, func(r *kafka.Record) error {
			more, err := s.visitRecord(r, f, visit)
			if err != nil {
				return err
			}
			if !b.spend(r) || !more {
				next = &cursor{channel: p.channel, partition: p.Partition, offset: r.Offset + 1}
				return errStopScan
			}
			return nil
		})
		if errors.Is(err, errStopScan) {
			return next, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// visitRecord parses r as a letter and calls visit if the letter matches f. more is false when visit wants no further letters.
func (s *Scanner) visitRecord(r *kafka.Record, f *filter, visit func(*dispatcher.Letter) (bool, error)) (more bool, err error) {
	if s.Reading != nil {
		s.Reading(r.Topic)
	}
	l, err := s.parse(r)
	if err != nil || !f.matches(l) {
		return true, err
	}
	return visit(l)
}

// rangesFrom returns the ranges from a cursor on. Its error is [notify.ErrBadCursor] for a channel that f does not name.
func (f *filter) rangesFrom(all []partitionRange, from cursor) ([]partitionRange, error) {
	if from.channel == "" {
		return all, nil
	}
	begin := slices.Index(f.channels, from.channel)
	if begin < 0 {
		return nil, notify.ErrBadCursor
	}
	var remaining []partitionRange
	for _, p := range all {
		at := slices.Index(f.channels, p.channel)
		switch {
		case at < begin, at == begin && p.Partition < from.partition:
			continue
		case at == begin && p.Partition == from.partition:
			p.Oldest = max(p.Oldest, from.offset)
		}
		remaining = append(remaining, p)
	}
	return remaining, nil
}

// encode returns c as text for API clients; "" for a nil cursor.
func (c *cursor) encode() string {
	if c == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(string(c.channel) + "/" + strconv.Itoa(int(c.partition)) + "/" + strconv.FormatInt(c.offset, 10)))
}

// parseCursor parses the text that encode returns. Its error is [notify.ErrBadCursor].
func parseCursor(text string) (cursor, error) {
	if text == "" {
		return cursor{}, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	parts := strings.Split(string(decoded), "/")
	if err != nil || len(parts) != 3 || !notify.Channel(parts[0]).Known() {
		return cursor{}, notify.ErrBadCursor
	}
	partition, err1 := strconv.ParseInt(parts[1], 10, 32)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
		return cursor{}, notify.ErrBadCursor
	}
	return cursor{channel: notify.Channel(parts[0]), partition: int32(partition), offset: offset}, nil
}
