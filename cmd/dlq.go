package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newDLQ() *cobra.Command {
	c := &cobra.Command{
		Use:   "dlq",
		Short: "List, show and redrive dead letters",
		Long: `Dead letters are what ended without delivery and may be worth another try: they are on <topic>.dlq, unchanged, with the
reason in their headers. These commands speak to Kafka itself: kafka.brokers or, where that is empty, the broker of
"laudspeaker all" on this host.`,
	}
	c.AddCommand(newDLQList(), newDLQShow(), newDLQRedrive())
	return c
}

// deadLetters are what the commands look at: the letters of some channels, as they were when the command began.
type deadLetters struct {
	*openedBus
	desk       dispatcher.Desk
	cluster    string
	recipients string // how they are shown: log.recipients
	lifetimes  map[notify.Lane]time.Duration
	said       io.Writer
}

// openDeadLetters connects; the caller calls what it gives to end that.
func openDeadLetters(ctx context.Context, cfg *config.Config, said io.Writer) (*deadLetters, func(), error) {
	bus, end, err := openBus(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	d := &deadLetters{
		openedBus: bus, desk: dispatcher.Desk{Topics: bus.topics}, recipients: cfg.Log.Recipients, said: said,
		lifetimes: lifetimes(cfg),
	}
	if d.cluster, err = bus.reader.ClusterID(); err != nil {
		end()
		return nil, nil, err
	}
	return d, end, nil
}

// each gives visit every letter that the filter wants, topic after topic and partition after partition, and whether it was
// redriven before. Nothing is kept of a letter but a bit.
func (d *deadLetters) each(ctx context.Context, f *letterFilter, visit func(l *dispatcher.Letter, redriven bool) error) error {
	there, err := d.bounds(f)
	if err != nil {
		return err
	}
	done, err := d.redriven(ctx, there)
	if err != nil {
		return err
	}
	reading := newProgress(d.said)
	for _, ch := range f.channels {
		topic := d.topics.DeadLetters(ch)
		err := d.reader.Scan(ctx, topic, there[topic], func(r *kafka.Record) error {
			reading.add(1, "reading "+topic)
			r.Cluster = d.cluster
			l, err := d.desk.Letter(r)
			if err != nil || !f.wants(l) {
				return err
			}
			return visit(l, done.has(r.Topic, r.Partition, r.Offset))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bounds says what there is to read of the channels' topics.
func (d *deadLetters) bounds(f *letterFilter) (map[string][]kafka.Bounds, error) {
	there := map[string][]kafka.Bounds{}
	for _, ch := range f.channels {
		topic := d.topics.DeadLetters(ch)
		bounds, err := d.reader.Bounds(topic)
		if errors.Is(err, kafka.ErrNoTopic) {
			continue
		}
		if err == nil && !f.since.IsZero() { // a letter is on its topic after it has died
			bounds, err = d.reader.Since(topic, f.since, bounds)
		}
		if err != nil {
			return nil, err
		}
		there[topic] = bounds
	}
	if len(there) == 0 && !d.anywhere() {
		return nil, fmt.Errorf("there is no topic of dead letters, such as %s: a role makes them when it starts; check kafka.prefix",
			d.topics.DeadLetters(f.channels[0]))
	}
	return there, nil
}

// anywhere reports whether any channel has dead letters: a channel that is off has no topic for them.
func (d *deadLetters) anywhere() bool {
	return slices.ContainsFunc(d.topics.Channels(), func(ch notify.Channel) bool {
		_, err := d.reader.Bounds(d.topics.DeadLetters(ch))
		return err == nil
	})
}

// redriven reads which of the letters within bounds were redriven.
func (d *deadLetters) redriven(ctx context.Context, there map[string][]kafka.Bounds) (*letterSet, error) {
	return readRedriven(ctx, d.reader, d.topics.Status(), there, newProgress(d.said))
}

// whole is the letter's record with its value, if need be from where the job was.
func (d *deadLetters) whole(ctx context.Context, l *dispatcher.Letter) (*kafka.Record, error) {
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

var errGone = errors.New("its value was too large for a dead letter, and is no longer where the job was")

// at is the record at the letter's origin; nil when it is no longer there.
func (d *deadLetters) at(ctx context.Context, l *dispatcher.Letter) (found *kafka.Record, err error) {
	if l.Origin == nil {
		return nil, nil
	}
	bounds, err := d.reader.Bounds(l.Origin.Topic)
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
		err = d.reader.Scan(ctx, l.Origin.Topic, one, func(r *kafka.Record) error {
			r.Cluster, found = d.cluster, r
			return nil
		})
	}
	return found, err
}

// readable is how a moment is shown to a person.
func readable(t time.Time) string { return t.Local().Format(time.DateTime) }
