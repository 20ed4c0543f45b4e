package cmd

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

// delivery is what the runners of one process share.
type delivery struct {
	*process
	log       *zap.Logger
	ledger    *kafka.Ledger
	publisher *kafka.Publisher
	control   *control.State
	told      *kafka.Tail
	outlets   map[string]*worker.Outlet
	metrics   *worker.Metrics
	desk      dispatcher.Desk
	dedup     *worker.Dedup
	held      heldPartitions
}

// work is the role that delivers the jobs of some channels.
//
//	control topic ─▶ state ──┐ paused? cancelled? suppressed?
//	lane topics ─▶ runner ─▶ worker ─▶ route: breaker, places, pace ─▶ gateway ─▶ provider
//	     ▲            │         └─ desk: where the job goes next
//	     │            └─ publisher: next steps, dead letters, outcomes on the ledger
//	     └── runners ─▶ movers ◀─ delay topics
//	breakers ─▶ gateway reports ─▶ publisher ─▶ control topic
func (p *process) work(ctx context.Context, channels []notify.Channel, lanes []notify.Lane, started func()) error {
	d, err := p.newDelivery(channels)
	if err != nil {
		return err
	}
	defer d.close()
	var runners []part
	for _, channel := range channels {
		for _, lane := range lanes {
			r, err := d.lane(channel, lane)
			if err != nil {
				return err
			}
			runners = append(runners, r)
		}
		movers, err := d.ladder(channel)
		if err != nil {
			return err
		}
		runners = append(runners, movers...)
	}
	started()
	return inOrder(
		ctx,
		part{"runners", func(ctx context.Context) error { return together(ctx, runners...) }},
		part{"gateway reports", d.reportGateways},
		part{"publisher", d.publisher.Run},
		part{"ledger", d.ledger.Run},
		part{"upkeep", d.upkeep},
		part{"control", d.told.Run},
	)
}

func (p *process) newDelivery(channels []notify.Channel) (*delivery, error) {
	d := &delivery{process: p, log: p.log.With(zap.String("role", "work")), metrics: worker.NewMetrics(p.metrics), dedup: worker.NewDedup(0)}
	d.desk = dispatcher.Desk{Topics: p.topics, Limit: func() int { return p.report.MaxMessageBytes }}
	var err error
	if d.ledger, err = kafka.NewLedger(p.kafka, p.topics.Status(), d.log); err != nil {
		return nil, err
	}
	d.publisher = kafka.NewPublisher(p.kafka, kafka.PublisherConfig{Persistent: true, MaxMessageBytes: recordBytes(p.cfg), Log: d.log})
	p.health.add("publisher of outcomes", d.publisher.Ready)
	p.gauge("laudspeaker_clock_skew_seconds", "How far the clock of this host is ahead of the brokers', by the acknowledgements of the delay topics; NaN before the first.",
		nil, d.publisher.ClockSkew)
	if d.control, d.told, err = p.control("work", d.publisher, d.log); err != nil {
		return nil, err
	}
	p.health.add("control", d.told.Ready)
	p.countSkipped("work", "ledger", d.ledger.Undecodable)
	p.countSkipped("work", "control", d.told.Undecodable)
	d.outlets, err = p.newOutlets(channels, d.log)
	return d, err
}

func (d *delivery) close() {
	for _, o := range d.outlets {
		_ = o.Sender.Close() // what it kept open goes with the process
	}
}

// lane is the runner of one lane of a channel, with its worker.
func (d *delivery) lane(channel notify.Channel, lane notify.Lane) (part, error) {
	settings, topic := d.cfg.Channels.ByName()[string(channel)], d.topics.Job(channel, lane)
	w := worker.New(worker.Config{
		Channel: channel, Lane: lane, Route: d.route(channel), Records: d.desk, Control: controlled{d.control, d.told}, Rules: d.rules(),
		Retries: retries(settings.Retries, lane), Ordering: worker.Ordering(settings.Ordering), StrictWait: settings.StrictWait,
		DeadLetterRejected: settings.DeadLetterRejected, ExpiresAfter: lifetimes(d.cfg)[lane], Suppress: d.suppress(settings),
		FingerprintKey: d.control.FingerprintKey, Dedup: d.dedup,
		Metrics: d.metrics, Log: d.log, Recipients: d.cfg.Log.Recipients,
	})
	runner, err := kafka.NewRunner(kafka.RunnerConfig{
		Kafka: d.kafka, Group: d.topics.Group(channel, lane), Topics: []string{topic}, Handler: w,
		Ledger: d.ledger, Publisher: d.publisher, Log: d.log, AttemptTimeout: attemptTimeout(d.routes[channel]),
		Concurrency: settings.Concurrency, Drain: d.cfg.Kafka.Drain, Shrink: d.desk.Shrink,
		Unordered: settings.Ordering == string(worker.OrderNone), DedupeWindow: dedupeWindow,
		FollowTopics: d.topics.FollowOns(channel), Undecodable: d.desk.Undecodable, Panicked: w.Panicked,
		OnLedger: w.OnLedger, OnTakeOver: w.OnTakeOver,
		OnAssigned: func(topic string, partitions []int32) {
			w.OnAssigned(topic, partitions)
			d.held.assign(channel, lane, partitions)
		},
		OnClaims: func(held, total int) {
			d.share(channel, lane, held, total)
			d.held.total(channel, lane, total)
		},
	})
	if err != nil {
		return part{}, err
	}
	d.health.add("worker of "+string(channel)+", lane "+string(lane), runner.Ready)
	d.count(channel, lane, runner)
	return part{string(channel) + " " + string(lane), func(ctx context.Context) error {
		return d.start(ctx, func() error {
			go d.heed(ctx, channel, lane, runner)
			return runner.Run(ctx)
		})
	}}, nil
}

// dedupeWindow is from when on a take-over reads the ledger, to know finished ids again, counted from the partition's newest
// outcome. Second copies come within the time that it takes to take over from a mover that was killed.
const dedupeWindow = 2 * time.Minute

// How many records a mover holds. In the tiers that are FIFO by due time these are the next ones of a partition. In the
// shortest tier, where jobs are due in any order, these are as many as the bytes allow.
const (
	moverWindow      = 256
	moverByDue       = 16384
	moverBytes       = 16 << 20
	moverUrgentBytes = 4 << 20
)

// deleteMovedAfter is how long after its move a record stays in its tier. Until then a take-over may look for it.
const deleteMovedAfter = time.Hour

// ladder returns the runners that move the waiting jobs of a channel: one for the tiers that all lanes share, and one for those
// of lane urgent, which must not queue behind the others.
func (d *delivery) ladder(channel notify.Channel) ([]part, error) {
	var shared, urgent []dispatcher.Tier
	for _, tier := range d.topics.Ladder(channel) {
		if tier.Urgent {
			urgent = append(urgent, tier)
		} else {
			shared = append(shared, tier)
		}
	}
	all, err := d.mover(channel, "delay ladder", shared, moverBytes)
	if err != nil {
		return nil, err
	}
	fast, err := d.mover(channel, "urgent delay ladder", urgent, moverUrgentBytes)
	return []part{all, fast}, err
}

// mover returns the runner of some tiers of a channel, the shortest first, that one group reads.
func (d *delivery) mover(channel notify.Channel, name string, tiers []dispatcher.Tier, bytes int64) (part, error) {
	topics := make([]string, len(tiers))
	for i, tier := range tiers {
		topics[i] = tier.Topic
	}
	runner, err := kafka.NewRunner(kafka.RunnerConfig{
		Kafka: d.kafka, Group: tiers[0].Group, Topics: topics,
		Handler: &dispatcher.Mover{Topics: d.topics, Channel: channel, Cancelled: d.control.Cancelled},
		Ledger:  d.ledger, Publisher: d.publisher, Log: d.log, AttemptTimeout: 8 * time.Second,
		Concurrency: moverWindow, MaxRecords: moverWindow, ByDue: map[string]int{topics[0]: moverByDue}, MaxBytes: bytes, FetchBytes: 64 << 10,
		DeleteAfter: deleteMovedAfter, Drain: d.cfg.Kafka.Drain, Shrink: d.desk.Shrink, Undecodable: d.desk.Undecodable, Panicked: d.desk.Panicked,
		Unordered: true, NoLedger: true,
	})
	if err != nil {
		return part{}, err
	}
	d.health.add(name+" of "+string(channel), runner.Ready)
	losses := "delay"
	if tiers[0].Urgent {
		losses = "urgent.delay"
	}
	d.countLosses(prometheus.Labels{"channel": string(channel), "lane": losses}, runner)
	d.countWaiting(channel, tiers, runner)
	return part{string(channel) + " " + name, func(ctx context.Context) error {
		return d.start(ctx, func() error {
			d.drainRemoved(channel, tiers[0].Group, runner)
			return runner.Run(ctx)
		})
	}}, nil
}

// drainRemoved makes a mover also read the tiers that an earlier configuration had: jobs may still wait there.
func (d *delivery) drainRemoved(channel notify.Channel, group string, runner *kafka.Runner) {
	var removed []dispatcher.Tier
	for _, tier := range d.topics.WithExisting(d.report.Existing).Ladder(channel) {
		if tier.Drained && tier.Group == group {
			removed = append(removed, tier)
			runner.AddTopic(tier.Topic)
			d.log.Warn("a tier of the delay ladder is no longer in kafka.delay_tiers; its jobs are still moved, and nothing new is written to it: delete the topic once laudspeaker_waiting is 0 for it",
				zap.String("topic", tier.Topic), zap.String("tier", tier.Name))
		}
	}
	d.countWaiting(channel, removed, runner)
}

// start runs a runner once the topics are there and the control topic is known: nothing may be sent that somebody has
// cancelled.
func (d *delivery) start(ctx context.Context, run func() error) error {
	r, ok := d.awaitTopics(ctx)
	if !ok {
		return nil
	}
	if r.MaxMessageBytes > 0 {
		d.publisher.LimitRecords(r.MaxMessageBytes)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-d.told.Caught():
		return run()
	}
}

// heed holds a lane while an operator has paused it.
func (d *delivery) heed(ctx context.Context, channel notify.Channel, lane notify.Lane, r *kafka.Runner) {
	for {
		changed := d.control.Changed()
		r.Hold(d.control.Paused(channel, lane))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// upkeep takes cancellations that have run out off the control topic, and gives the workers a key for their fingerprints while
// they have none. Every process does so: once is enough, and more is harmless, since the last key counts everywhere.
func (d *delivery) upkeep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.told.Caught():
		d.shareKey(ctx)
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, r := range d.control.Expired(time.Now()) {
			if _, _, err := d.publisher.Publish(ctx, onControl(d.topics.Control(), r)); err != nil {
				break // at the next turn
			}
		}
		d.shareKey(ctx)
	}
}

func (d *delivery) shareKey(ctx context.Context) {
	if _, ok := d.control.FingerprintKey(); ok {
		return
	}
	if _, _, err := d.publisher.Publish(ctx, onControl(d.topics.Control(), control.FingerprintKey(time.Now()).Record())); err != nil {
		d.log.Debug("the key of fingerprints is not published yet", zap.Error(err)) // until the next turn they stay in this process
	}
}

// suppress gives the records that suppress a recipient who is gone or has opted out.
func (d *delivery) suppress(settings config.Channel) func(m *notify.Message, sender, gateway string, f *notify.Failure) []kafka.Message {
	if !settings.SuppressGone {
		return nil
	}
	return func(m *notify.Message, sender, gateway string, f *notify.Failure) (all []kafka.Message) {
		s := suppressionCause{tenant: m.Tenant, channel: m.Channel, address: m.Address, sender: sender, gateway: gateway, code: f.Code, reason: f.Reason}
		for _, r := range s.records(d.cfg.SMS, time.Now()) {
			all = append(all, onControl(d.topics.Control(), r))
		}
		return all
	}
}
