package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Letters are the dead letters of some channels. One goroutine at a time uses them.
type Letters struct {
	Topics     dispatcher.Topics
	Reader     *kafka.Reader
	Lifetimes  map[notify.Lane]time.Duration // how long a notification lives that does not say so itself
	Recipients string                        // one of notify's Recipients constants; masked
	Reading    func(topic string)            // called for each record that is read; may be nil

	// LeftOut is called for each partition that is left out because it has no leader, once; nil makes that an error. What was
	// left out once stays so, or a redrive would meet letters of which it has not asked what became.
	LeftOut func(topic string, partition int32)

	cluster string             // Kafka's id, once it was needed
	without map[string][]int32 // partitions that were left out, by topic
}

// ErrNoLetters: no channel has a topic of dead letters.
var ErrNoLetters = errors.New("there is no topic of dead letters")

// chapter is a partition of a topic of dead letters, and what of it there is to read.
type chapter struct {
	channel notify.Channel
	topic   string
	kafka.Bounds
}

func (d *Letters) desk() dispatcher.Desk { return dispatcher.Desk{Topics: d.Topics} }

// chapters are what there is to read of the channels that f names, in their order.
func (d *Letters) chapters(f *filter) (all []chapter, err error) {
	there := 0
	for _, ch := range f.channels {
		if d.Topics.Channel(ch) == "" {
			continue
		}
		topic := d.Topics.DeadLetters(ch)
		bounds, err := d.bounds(topic, f.Since)
		if errors.Is(err, kafka.ErrNoTopic) {
			continue
		}
		if err != nil {
			return nil, err
		}
		there++
		for _, b := range bounds {
			if b, wanted := f.within(b); wanted {
				all = append(all, chapter{ch, topic, b})
			}
		}
	}
	if there == 0 && !d.anywhere() {
		return nil, fmt.Errorf("%w, such as %s: a role makes them when it starts; check kafka.prefix", ErrNoLetters, d.Topics.DeadLetters(f.channels[0]))
	}
	return all, nil
}

// bounds are those of a topic; since, unless zero, leaves out what is older: a letter is on its topic after it has died.
func (d *Letters) bounds(topic string, since time.Time) ([]kafka.Bounds, error) {
	bounds, err := d.led(topic)
	if err != nil || since.IsZero() {
		return bounds, err
	}
	return d.Reader.Since(topic, since, bounds)
}

// led are the bounds of the partitions that are read.
func (d *Letters) led(topic string) ([]kafka.Bounds, error) {
	if d.LeftOut == nil {
		return d.Reader.Bounds(topic)
	}
	bounds, without, err := d.Reader.LedBounds(topic)
	for _, p := range without {
		if slices.Contains(d.without[topic], p) {
			continue
		}
		if d.without == nil {
			d.without = map[string][]int32{}
		}
		d.without[topic] = append(d.without[topic], p)
		d.LeftOut(topic, p)
	}
	return slices.DeleteFunc(bounds, func(b kafka.Bounds) bool { return slices.Contains(d.without[topic], b.Partition) }), err
}

// anywhere reports whether any channel has dead letters: a channel that is off has no topic for them.
func (d *Letters) anywhere() bool {
	return slices.ContainsFunc(d.Topics.Channels(), func(ch notify.Channel) bool {
		_, err := d.Reader.Bounds(d.Topics.DeadLetters(ch))
		return err == nil
	})
}

// read makes r a letter.
func (d *Letters) read(r *kafka.Record) (*dispatcher.Letter, error) {
	if err := d.know(); err != nil {
		return nil, err
	}
	r.Cluster = d.cluster
	return d.desk().Letter(r)
}

// know finds out the cluster's id, from which the ids of some notifications follow.
func (d *Letters) know() (err error) {
	if d.cluster == "" {
		d.cluster, err = d.Reader.ClusterID()
	}
	return err
}

// errGone: the value of a letter is nowhere any more.
var errGone = errors.New("its value was too large for a dead letter, and is no longer where the job was")

// whole is the letter's record with its value, if need be from where the job was.
func (d *Letters) whole(ctx context.Context, l *dispatcher.Letter) (*kafka.Record, error) {
	if !l.Elsewhere() {
		return l.Record, nil
	}
	at, err := d.at(ctx, l)
	if err != nil {
		return nil, err
	}
	if at != nil {
		if r, ok := l.Whole(at); ok {
			return r, nil
		}
	}
	return nil, errGone
}

// at is the record at the letter's origin; nil when it is no longer there.
func (d *Letters) at(ctx context.Context, l *dispatcher.Letter) (found *kafka.Record, err error) {
	if l.Origin == nil {
		return nil, nil
	}
	bounds, err := d.Reader.Bounds(l.Origin.Topic)
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, b := range bounds {
		if b.Partition != l.Origin.Partition || l.Origin.Offset < b.Oldest || l.Origin.Offset >= b.Newest {
			continue
		}
		one := []kafka.Bounds{{Partition: b.Partition, Oldest: l.Origin.Offset, Newest: l.Origin.Offset + 1}}
		err = d.Reader.Scan(ctx, l.Origin.Topic, one, func(r *kafka.Record) error {
			r.Cluster, found = d.cluster, r
			return nil
		})
	}
	return found, err
}
