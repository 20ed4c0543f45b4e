package deadletters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// clocksApart is the maximum difference between the clocks of processes: the event of a redrive may seem to be that much older
// than its letter.
const clocksApart = time.Hour

// LetterSet is a set of letters, with one bit for each offset within the bounds with which it was made. A nil set is empty.
type LetterSet struct {
	parts map[string]map[int32]*letterBits
}

type letterBits struct {
	kafka.Bounds
	words []uint64
}

func newLetterSet(letters map[string][]kafka.Bounds) *LetterSet {
	s := &LetterSet{parts: map[string]map[int32]*letterBits{}}
	for topic, bounds := range letters {
		s.parts[topic] = map[int32]*letterBits{}
		for _, b := range bounds {
			s.parts[topic][b.Partition] = &letterBits{Bounds: b, words: make([]uint64, max(0, b.Newest-b.Oldest+63)/64)}
		}
	}
	return s
}

// bit returns the word and the mask of a letter's bit; nil for a letter outside the bounds.
func (s *LetterSet) bit(topic string, partition int32, offset int64) (word *uint64, mask uint64) {
	p := s.parts[topic][partition]
	if p == nil || offset < p.Oldest || offset >= p.Newest {
		return nil, 0
	}
	return &p.words[(offset-p.Oldest)/64], 1 << uint((offset-p.Oldest)%64)
}

func (s *LetterSet) add(o *notify.Origin) {
	if word, mask := s.bit(o.Topic, o.Partition, o.Offset); word != nil {
		*word |= mask
	}
}

// Has reports whether the set contains the letter at that topic, partition and offset.
func (s *LetterSet) Has(topic string, partition int32, offset int64) bool {
	if s == nil {
		return false
	}
	word, mask := s.bit(topic, partition, offset)
	return word != nil && *word&mask != 0
}

// SkipReason implements [SkipChecker]. It knows redrives only.
func (s *LetterSet) SkipReason(_ context.Context, l *dispatcher.Letter) (string, error) {
	if s.Has(l.Topic, l.Partition, l.Offset) {
		return notify.SkipRedriven, nil
	}
	return "", nil
}

// Redriven returns the letters of the filter's channels for which the status topic has the event of a redrive. It reads all
// events that may be newer than the oldest letter.
func (s *Scanner) Redriven(ctx context.Context, f notify.LetterFilter) (*LetterSet, error) {
	c, err := compileFilter(f)
	if err != nil {
		return nil, err
	}
	all, err := s.partitionRanges(c)
	if err != nil {
		return nil, err
	}
	bounds := map[string][]kafka.Bounds{}
	for _, p := range all {
		bounds[p.topic] = append(bounds[p.topic], p.Bounds)
	}
	return ReadRedriven(ctx, s.Reader, s.Topics.Status(), bounds, s.Reading)
}

// ReadRedriven returns the letters within bounds, by topic, for which the status topic has the event of a redrive. reading,
// unless nil, is called for each event that is read.
func ReadRedriven(ctx context.Context, r *kafka.Reader, status string, letters map[string][]kafka.Bounds, reading func(topic string)) (*LetterSet, error) {
	set := newLetterSet(letters)
	since, err := firstWritten(ctx, r, letters)
	if err != nil || since.IsZero() {
		return set, err
	}
	bounds, err := r.Bounds(status)
	if errors.Is(err, kafka.ErrNoTopic) {
		return set, nil
	}
	if err == nil {
		bounds, err = r.Since(status, since.Add(-clocksApart), bounds)
	}
	if err != nil {
		return nil, err
	}
	return set, r.Scan(ctx, status, bounds, func(rec *kafka.Record) error {
		if reading != nil {
			reading(status)
		}
		if e, ok := redrivenEvent(rec); ok {
			set.add(e.Origin)
		}
		return nil
	})
}

// redrivenEvent parses the event of a redrive. ok is false for any other record. Most records are workers' outcomes, which are
// not decoded.
func redrivenEvent(r *kafka.Record) (e notify.Event, ok bool) {
	if _, ledger := r.Header(kafka.HeaderKind); ledger || !bytes.Contains(r.Value, []byte(`"`+notify.NoteRedriven+`"`)) {
		return e, false
	}
	err := json.Unmarshal(r.Value, &e)
	return e, err == nil && e.Note == notify.NoteRedriven && e.Origin != nil
}

// firstWritten returns when the first record within the bounds was written; zero if there is none.
func firstWritten(ctx context.Context, r *kafka.Reader, letters map[string][]kafka.Bounds) (oldest time.Time, err error) {
	errStop := errors.New("stop after the first record")
	for topic, bounds := range letters {
		for _, b := range bounds {
			err := r.Scan(ctx, topic, []kafka.Bounds{b}, func(rec *kafka.Record) error {
				if oldest.IsZero() || rec.Timestamp.Before(oldest) {
					oldest = rec.Timestamp
				}
				return errStop
			})
			if err != nil && !errors.Is(err, errStop) {
				return oldest, err
			}
		}
	}
	return oldest, nil
}
