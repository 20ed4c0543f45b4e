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

// clocksApart is how much earlier than a letter its event may seem to be, since other clocks wrote it.
const clocksApart = time.Hour

// Set holds letters by their places, a bit each, within the bounds that it was made for. A nil one holds none.
type Set struct {
	parts map[string]map[int32]*letterBits
}

type letterBits struct {
	kafka.Bounds
	words []uint64
}

func newSet(there map[string][]kafka.Bounds) *Set {
	s := &Set{parts: map[string]map[int32]*letterBits{}}
	for topic, bounds := range there {
		s.parts[topic] = map[int32]*letterBits{}
		for _, b := range bounds {
			s.parts[topic][b.Partition] = &letterBits{Bounds: b, words: make([]uint64, max(0, b.Newest-b.Oldest+63)/64)}
		}
	}
	return s
}

// bit is where a place has its bit; nil for one outside the bounds.
func (s *Set) bit(topic string, partition int32, offset int64) (word *uint64, mask uint64) {
	p := s.parts[topic][partition]
	if p == nil || offset < p.Oldest || offset >= p.Newest {
		return nil, 0
	}
	return &p.words[(offset-p.Oldest)/64], 1 << uint((offset-p.Oldest)%64)
}

func (s *Set) add(o *notify.Origin) {
	if word, mask := s.bit(o.Topic, o.Partition, o.Offset); word != nil {
		*word |= mask
	}
}

// Has reports whether the letter at that place is in the set.
func (s *Set) Has(topic string, partition int32, offset int64) bool {
	if s == nil {
		return false
	}
	word, mask := s.bit(topic, partition, offset)
	return word != nil && *word&mask != 0
}

// Fate is [Fates]': it knows of redrives alone.
func (s *Set) Fate(_ context.Context, l *dispatcher.Letter) (string, error) {
	if s.Has(l.Topic, l.Partition, l.Offset) {
		return notify.SkipRedriven, nil
	}
	return "", nil
}

// Redriven reads all events since the oldest of the letters that f's channels have, and gives those letters that an event
// says were redriven.
func (d *Letters) Redriven(ctx context.Context, f notify.LetterFilter) (*Set, error) {
	c, err := compile(f)
	if err != nil {
		return nil, err
	}
	all, err := d.chapters(c)
	if err != nil {
		return nil, err
	}
	there := map[string][]kafka.Bounds{}
	for _, c := range all {
		there[c.topic] = append(there[c.topic], c.Bounds)
	}
	return ReadRedriven(ctx, d.Reader, d.Topics.Status(), there, d.Reading)
}

// ReadRedriven does so for letters within bounds of their topics; reading, unless nil, is called for each event.
func ReadRedriven(ctx context.Context, r *kafka.Reader, status string, there map[string][]kafka.Bounds, reading func(topic string)) (*Set, error) {
	set := newSet(there)
	since, err := oldestOf(ctx, r, there)
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

// redrivenEvent reads an event; ok is false for any other than a redrive's. Most are the workers', and are not decoded.
func redrivenEvent(r *kafka.Record) (e notify.Event, ok bool) {
	if _, ledger := r.Header(kafka.HeaderKind); ledger || !bytes.Contains(r.Value, []byte(`"`+notify.NoteRedriven+`"`)) {
		return e, false
	}
	err := json.Unmarshal(r.Value, &e)
	return e, err == nil && e.Note == notify.NoteRedriven && e.Origin != nil
}

// oldestOf is when the first record within bounds was written; zero when there is none.
func oldestOf(ctx context.Context, r *kafka.Reader, there map[string][]kafka.Bounds) (oldest time.Time, err error) {
	first := errors.New("one is enough")
	for topic, bounds := range there {
		for _, b := range bounds {
			err := r.Scan(ctx, topic, []kafka.Bounds{b}, func(rec *kafka.Record) error {
				if oldest.IsZero() || rec.Timestamp.Before(oldest) {
					oldest = rec.Timestamp
				}
				return first
			})
			if err != nil && !errors.Is(err, first) {
				return oldest, err
			}
		}
	}
	return oldest, nil
}
