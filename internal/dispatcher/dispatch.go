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

// Publisher puts records on the bus. It may be called at once from many goroutines.
type Publisher interface {
	// PublishAll returns, at the latest with ctx or its own deadline, once each of ms is acknowledged by all in-sync replicas
	// or has failed, with an error or nil for each. Those of one partition keep their order. [kafka.ErrTooLarge] is final;
	// after any other error the record may be on the log or not.
	PublishAll(ctx context.Context, ms []kafka.Message) []error
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

// Dispatch makes each of ns a job by itself, those of one ordering key in order. It returns once they are durable, with each
// as accepted at that time: id, tenant, lane and expiry filled in; or with an error in the same place. ns themselves are left as
// they are.
//
// The errors are [notify.Faults], [notify.ErrChannelNotConfigured], [notify.ErrTooLarge], or [notify.ErrBusUnavailable]
// around the cause.
func (d *Dispatcher) Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (accepted []*notify.Notification, errs []error) {
	accepted, errs = make([]*notify.Notification, len(ns)), make([]error, len(ns))
	jobs := make([]kafka.Message, 0, len(ns))
	of := make([]int, 0, len(ns)) // the place in ns of each job
	for i, n := range ns {
		var job kafka.Message
		if accepted[i], job, errs[i] = d.prepare(n, at); errs[i] == nil {
			jobs, of = append(jobs, job), append(of, i)
		}
	}
	if len(jobs) == 0 {
		return accepted, errs
	}
	for j, err := range d.cfg.Publisher.PublishAll(ctx, jobs) {
		if err != nil {
			accepted[of[j]], errs[of[j]] = nil, unpublished(jobs[j].Topic, err)
		}
	}
	return accepted, errs
}

// prepare gives n as it is accepted, and its record.
func (d *Dispatcher) prepare(n *notify.Notification, now time.Time) (*notify.Notification, kafka.Message, error) {
	// Asked first: rules for a channel that is off would find faults that have nothing to do with n.
	if n.Channel.Known() && d.cfg.Topics.Channel(n.Channel) == "" {
		return nil, kafka.Message{}, fmt.Errorf("channel %s: %w", n.Channel, notify.ErrChannelNotConfigured)
	}
	accepted := *n
	key, print, schema, err := d.accept(&accepted, now)
	if err != nil {
		return nil, kafka.Message{}, err
	}
	job, err := d.job(&accepted, key, print, schema, now)
	if err != nil {
		return nil, kafka.Message{}, err
	}
	return &accepted, job, nil
}

func unpublished(topic string, err error) error {
	if errors.Is(err, kafka.ErrTooLarge) {
		return fmt.Errorf("%w: its topic refuses it", notify.ErrTooLarge)
	}
	return fmt.Errorf("publish to %s: %w: %w", topic, notify.ErrBusUnavailable, err)
}

// accept finds n's faults, fills in what the caller may leave out, and gives the key and the schema version of its job, and n's
// fingerprint if it came with an id: only then may somebody submit it again.
func (d *Dispatcher) accept(n *notify.Notification, now time.Time) (key []byte, print notify.Fingerprint, schema int, err error) {
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
		return nil, print, 0, faults
	}
	if n.ID == "" {
		n.ID = notify.NewID()
	} else if content, err := notify.ContentOf(n); err == nil { // it was found valid, so it has one
		print = content.Exact
	}
	n.ExpiresAt = &expires
	return validate.OrderingKey(m), print, m.Schema(), nil
}

// job is n's record.
func (d *Dispatcher) job(n *notify.Notification, key []byte, print notify.Fingerprint, schema int, now time.Time) (kafka.Message, error) {
	value, err := n.Encode()
	if err != nil {
		return kafka.Message{}, fmt.Errorf("encode the notification: %w", err)
	}
	job := kafka.Message{
		Topic: d.cfg.Topics.Job(n.Channel, n.Lane), Partition: kafka.Hashed, Key: key, Value: value,
		Headers: []kafka.Header{
			header(notify.HeaderSchema, strconv.Itoa(schema)),
			header(notify.HeaderID, n.ID),
			header(notify.HeaderLane, string(n.Lane)),
			header(notify.HeaderAcceptedAt, stamp(now)),
		},
	}
	if !print.IsZero() {
		job.Headers = append(job.Headers, header(notify.HeaderFingerprint, print.String()))
	}
	if limit := int(d.limit.Load()); limit > 0 && size(job) > limit-Headroom {
		return kafka.Message{}, fmt.Errorf("%w: its record would be %d bytes, of %d at most", notify.ErrTooLarge, size(job), limit-Headroom)
	}
	return job, nil
}
