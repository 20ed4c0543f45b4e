package cmd

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// control makes the state that the control topic adds up to, and the reader that feeds it. Nothing that asks the state may
// start before the reader has caught up. control calls each function in also with each record, after the state has applied the record.
func (p *process) control(role string, publisher allPublisher, log *zap.Logger, also ...func(*kafka.Record)) (*control.State, *kafka.Tail, error) {
	state, topic := control.New(), p.topics.Control()
	tail, err := kafka.NewTail(p.kafka, topic, func(r *kafka.Record) {
		state.Apply(r.Key, r.Value, r.Timestamp)
		for _, f := range also {
			f(r)
		}
	}, log)
	if err != nil {
		return nil, nil, err
	}
	tail.BeforeRestart(keepLasting(state, topic, publisher))
	p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name:        "laudspeaker_control_restarts_total",
		Help:        "How often the control topic was deleted and created again, or lost its end, under this process.",
		ConstLabels: prometheus.Labels{"role": role},
	}, func() float64 { return float64(tail.Restarts()) }))
	return state, tail, nil
}

// controlled is the state of the control topic with the time up to which it is known.
type controlled struct {
	*control.State
	*kafka.Tail
}

// allPublisher is [kafka.Publisher], for those who publish many records at a time.
type allPublisher interface {
	PublishAll(ctx context.Context, ms []kafka.Message) []error
}

// keepLasting writes the suppressions and the key of fingerprints to a control topic that was created again and does not speak
// of them. Every process does so: once is enough, and more is harmless.
func keepLasting(state *control.State, topic string, publisher allPublisher) func(context.Context, func(func(*kafka.Record)) error) error {
	return func(ctx context.Context, read func(func(*kafka.Record)) error) error {
		there := control.NewLastingKeys()
		if err := read(func(r *kafka.Record) { there.Add(r.Key) }); err != nil {
			return err
		}
		err := state.WriteMissing(there, time.Now(), func(rs []control.Record) error {
			ms := make([]kafka.Message, len(rs))
			for i, r := range rs {
				ms[i] = onControl(topic, r)
			}
			return errors.Join(publisher.PublishAll(ctx, ms)...)
		})
		if err != nil {
			return fmt.Errorf("publish suppressions and fingerprint key to %s: %w", topic, err)
		}
		state.Restart()
		return nil
	}
}

// canceller writes the API's cancellations.
type canceller settler

// onePublisher is [kafka.Publisher], for those who publish one record at a time.
type onePublisher interface {
	Publish(ctx context.Context, m kafka.Message) (partition int32, offset int64, err error)
}

// Cancel is the API's.
func (c canceller) Cancel(ctx context.Context, id string) (requested, effective time.Time, err error) {
	requested = time.Now()
	if err := settler(c).publish(ctx, control.Cancel(id, requested).Record()); err != nil {
		return time.Time{}, time.Time{}, err
	}
	return requested, time.Now().Add(control.InForce), nil
}

func onControl(topic string, r control.Record) kafka.Message {
	return kafka.Message{Topic: topic, Key: r.Key, Value: r.Value}
}

// onBus runs f with Kafka as cfg has it.
func onBus(c *cobra.Command, cfg *config.Config, f func(b *openedBus) error) error {
	b, end, err := openBus(c.Context(), cfg)
	if err != nil {
		return err
	}
	defer end()
	return f(b)
}

func (s *settings) onBus(c *cobra.Command, f func(b *openedBus) error) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	return onBus(c, cfg, f)
}

// tell publishes records to the control topic. It gives the time from which all of them are in force.
func (b *openedBus) tell(ctx context.Context, records ...control.Record) (time.Time, error) {
	topic := b.topics.Control()
	if _, err := b.reader.Bounds(topic); err != nil {
		return time.Time{}, noControl(err)
	}
	for i, r := range records {
		if err := b.publish(ctx, onControl(topic, r)); err != nil {
			return time.Time{}, fmt.Errorf("publish to %s: %w (%d of %d are there; repeat the command)", topic, err, i, len(records))
		}
	}
	return time.Now().Add(control.InForce), nil
}

// told reads what of a kind the control topic says, by name.
func (b *openedBus) told(ctx context.Context, kind control.Kind) (map[string]control.Entry, error) {
	all, err := b.toldByKind(ctx, kind)
	return all[kind], err
}

// toldByKind reads the control topic once. It returns the entries of each of the kinds, by name.
func (b *openedBus) toldByKind(ctx context.Context, kinds ...control.Kind) (map[control.Kind]map[string]control.Entry, error) {
	topic := b.topics.Control()
	bounds, err := b.reader.Bounds(topic)
	if err != nil {
		return nil, noControl(err)
	}
	all := map[control.Kind]map[string]control.Entry{}
	for _, kind := range kinds {
		all[kind] = map[string]control.Entry{}
	}
	err = b.reader.Scan(ctx, topic, bounds, func(r *kafka.Record) error {
		e, set, err := control.Decode(r.Key, r.Value, r.Timestamp)
		byName, wanted := all[e.Kind]
		switch {
		case err != nil || !wanted: // what is not understood is no reason to show nothing
		case set:
			byName[e.Name()] = e
		default:
			delete(byName, e.Name())
		}
		return nil
	})
	return all, err
}

func noControl(err error) error {
	if errors.Is(err, kafka.ErrNoTopic) {
		return fmt.Errorf("%w: it is made when Laudspeaker starts, or by \"laudspeaker topics --create\"; look at kafka.prefix, too", err)
	}
	return err
}

// operator is who gives the command, for those who later ask who it was.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "" // a user without a name, as in many containers
	}
	return u.Username
}

// clock shows a time to the millisecond: it is a promise.
func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

// since says since when an entry holds and why. source is what its kind adds about who caused it, or empty.
func since(e control.Entry, source string) string {
	text := "since " + e.At.Local().Format(time.DateTime)
	if e.At.IsZero() {
		text = "since an unknown time" // written by an earlier version
	}
	if e.Reason != "" {
		text += ", " + strings.TrimRight(e.Reason+" "+e.Code, " ")
	}
	text += source
	if e.By != "" {
		text += " by " + e.By
	}
	if e.Note != "" {
		text += ": " + e.Note
	}
	return text
}
