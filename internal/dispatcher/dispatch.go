package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Publisher puts one record on the bus.
type Publisher interface {
	// Publish returns once the record is acknowledged by all in-sync replicas, at the latest with ctx or its own deadline.
	// It may be called at once from many goroutines. [kafka.ErrTooLarge] is final; after any other error the record may
	// be on the log or not.
	Publish(ctx context.Context, m kafka.Message) (partition int32, offset int64, err error)
}

// Config is what a [Dispatcher] works with.
type Config struct {
	Topics       Topics
	Rules        validate.Rules
	Publisher    Publisher
	ExpiresAfter Lifetimes // how long a notification lives that does not say so itself
	MaxBytes     int       // see [Dispatcher.SetLimit]; 0 = no limit
}

// Dispatcher accepts notifications. Its methods may be called at once from many goroutines.
type Dispatcher struct {
	cfg   Config
	limit atomic.Int64
}

// New gives a dispatcher that needs no closing.
func New(cfg Config) *Dispatcher {
	d := &Dispatcher{cfg: cfg}
	d.SetLimit(cfg.MaxBytes)
	return d
}

// SetLimit says how large a record the topics take (max.message.bytes). A job has to stay [Headroom] below it.
func (d *Dispatcher) SetLimit(bytes int) { d.limit.Store(int64(bytes)) }

// Dispatch makes n a job. It returns once the job is durable, with n as accepted: id, tenant, lane and expiry filled in.
// n itself is left as it is.
//
// Its errors are [notify.Faults], [notify.ErrChannelNotConfigured], [notify.ErrTooLarge], or [notify.ErrBusUnavailable]
// around the cause.
func (d *Dispatcher) Dispatch(ctx context.Context, n *notify.Notification) (*notify.Notification, error) {
	// Asked first: rules for a channel that is off would find faults that have nothing to do with n.
	if n.Channel.Known() && d.cfg.Topics.Channel(n.Channel) == "" {
		return nil, fmt.Errorf("channel %s: %w", n.Channel, notify.ErrChannelNotConfigured)
	}
	now := time.Now()
	accepted := *n
	key, err := d.accept(&accepted, now)
	if err != nil {
		return nil, err
	}
	job, err := d.job(&accepted, key, now)
	if err != nil {
		return nil, err
	}
	switch _, _, err := d.cfg.Publisher.Publish(ctx, job); {
	case err == nil:
		return &accepted, nil
	case errors.Is(err, kafka.ErrTooLarge):
		return nil, fmt.Errorf("%w: its topic refuses it", notify.ErrTooLarge)
	default:
		return nil, fmt.Errorf("publish to %s: %w: %w", job.Topic, notify.ErrBusUnavailable, err)
	}
}

// accept finds n's faults, fills in what the caller may leave out, and gives the key of its job.
func (d *Dispatcher) accept(n *notify.Notification, now time.Time) ([]byte, error) {
	m, faults := d.cfg.Rules.Check(n)
	faults = append(faults, validate.Times(n, now)...)
	begins := now
	if n.SendAt != nil && n.SendAt.After(now) {
		begins = *n.SendAt
	}
	expires := begins.Add(d.cfg.ExpiresAfter.Of(n.Lane)).Truncate(time.Millisecond).UTC()
	if n.ExpiresAt != nil {
		expires = n.ExpiresAt.UTC()
	}
	if expires.Year() > 9999 { // JSON has no such time; a zone west of Greenwich gets there from a year that it has
		faults = append(faults, notify.Fault{
			Pointer: "#/expires_at", Code: notify.FaultInvalid, Detail: "give a time before the year 10000",
		})
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if n.ID == "" {
		n.ID = notify.NewID()
	}
	n.ExpiresAt = &expires
	return validate.OrderingKey(m), nil
}

// job is n's record.
func (d *Dispatcher) job(n *notify.Notification, key []byte, now time.Time) (kafka.Message, error) {
	value, err := n.Encode()
	if err != nil {
		return kafka.Message{}, fmt.Errorf("encode the notification: %w", err)
	}
	job := kafka.Message{
		Topic: d.cfg.Topics.Job(n.Channel, n.Lane), Partition: kafka.Hashed, Key: key, Value: value,
		Headers: []kafka.Header{
			header(notify.HeaderSchema, strconv.Itoa(notify.Schema)),
			header(notify.HeaderID, n.ID),
			header(notify.HeaderLane, string(n.Lane)),
			header(notify.HeaderAcceptedAt, stamp(now)),
		},
	}
	if limit := int(d.limit.Load()); limit > 0 && size(job) > limit-Headroom {
		return kafka.Message{}, fmt.Errorf("%w: its record would be %d bytes, of %d at most", notify.ErrTooLarge, size(job), limit-Headroom)
	}
	return job, nil
}
