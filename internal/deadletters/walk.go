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

// place is where a walk goes on: channel after channel, partition after partition, offset after offset.
type place struct {
	channel   notify.Channel
	partition int32
	offset    int64
}

// budget is how much one walk may read; of a nil one there is no end.
type budget struct{ records, bytes int }

// spend takes a record off; it gives false when no more are to be read.
func (b *budget) spend(r *kafka.Record) bool {
	if b == nil {
		return true
	}
	b.records--
	b.bytes -= len(r.Value)
	return b.records > 0 && b.bytes > 0
}

// errEnough ends a scan; it is no error of anybody's.
var errEnough = errors.New("enough")

// Each gives visit every letter that f chooses, topic after topic and partition after partition. Nothing is kept of a letter.
// f's faults are [notify.Faults].
func (d *Letters) Each(ctx context.Context, f notify.LetterFilter, visit func(*dispatcher.Letter) error) error {
	c, err := compile(f)
	if err != nil {
		return err
	}
	_, err = d.walk(ctx, c, place{}, nil, func(l *dispatcher.Letter) (bool, error) { return true, visit(l) })
	return err
}

// walk goes on from a place until visit has had enough or the budget is used up; next is where to go on then, and nil when
// all was seen.
func (d *Letters) walk(ctx context.Context, f *filter, from place, b *budget, visit func(*dispatcher.Letter) (more bool, err error)) (next *place, err error) {
	all, err := d.chapters(f)
	if err != nil {
		return nil, err
	}
	if all, err = f.rest(all, from); err != nil {
		return nil, err
	}
	for _, c := range all {
		err := d.Reader.Scan(ctx, c.topic, []kafka.Bounds{c.Bounds}, func(r *kafka.Record) error {
			more, err := d.record(r, f, visit)
			if err == nil && (!b.spend(r) || !more) {
				next, err = &place{c.channel, c.Partition, r.Offset + 1}, errEnough
			}
			return err
		})
		if errors.Is(err, errEnough) {
			return next, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// record gives visit the letter that r is, if f wants it.
func (d *Letters) record(r *kafka.Record, f *filter, visit func(*dispatcher.Letter) (bool, error)) (more bool, err error) {
	if d.Reading != nil {
		d.Reading(r.Topic)
	}
	l, err := d.read(r)
	if err != nil || !f.wants(l) {
		return true, err
	}
	return visit(l)
}

// rest are the chapters from a place on.
func (f *filter) rest(all []chapter, from place) ([]chapter, error) {
	if from.channel == "" {
		return all, nil
	}
	begin := slices.Index(f.channels, from.channel)
	if begin < 0 {
		return nil, notify.ErrBadCursor
	}
	var rest []chapter
	for _, c := range all {
		at := slices.Index(f.channels, c.channel)
		switch {
		case at < begin, at == begin && c.Partition < from.partition:
			continue
		case at == begin && c.Partition == from.partition:
			c.Oldest = max(c.Oldest, from.offset)
		}
		rest = append(rest, c)
	}
	return rest, nil
}

// cursor is p for those who are to give it back.
func (p *place) cursor() string {
	if p == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(string(p.channel) + "/" + strconv.Itoa(int(p.partition)) + "/" + strconv.FormatInt(p.offset, 10)))
}

// placeOf reads a cursor; its error is [notify.ErrBadCursor].
func placeOf(cursor string) (p place, err error) {
	if cursor == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(text), "/")
	if err != nil || len(parts) != 3 || !notify.Channel(parts[0]).Known() {
		return p, notify.ErrBadCursor
	}
	partition, err1 := strconv.ParseInt(parts[1], 10, 32)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
		return p, notify.ErrBadCursor
	}
	return place{notify.Channel(parts[0]), int32(partition), offset}, nil
}
