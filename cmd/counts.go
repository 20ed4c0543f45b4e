package cmd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

// count shows what a lane's runner counts beside the attempts: an operator's view of faults survived, and of what waits.
func (p *process) count(channel notify.Channel, lane notify.Lane, r *kafka.Runner) {
	labels := prometheus.Labels{"channel": string(channel), "lane": string(lane)}
	p.countRunner(labels, r, []runnerCounter{
		{"take_overs", "Partitions that were taken over.", func(s kafka.Stats) uint64 { return s.TakeOvers }},
		{"skipped", "Records that were fetched again and found done.", func(s kafka.Stats) uint64 { return s.Skipped }},
		{"adopted", "Jobs for which a failed worker had published a next step or dead letter without an outcome; the outcome was added.", func(s kafka.Stats) uint64 { return s.Adopted }},
		{"void", "Records that a worker which had lost the partition left for jobs that began anew elsewhere; they were dropped.", func(s kafka.Stats) uint64 { return s.Void }},
		{"mismatches", "Records at whose offset another job is said to be done; they were processed.", func(s kafka.Stats) uint64 { return s.Mismatches }},
		{"lease_waits", "How often something was ready and no commit was confirmed in time.", func(s kafka.Stats) uint64 { return s.LeaseWaits }},
		{"panics", "Attempts that panicked.", func(s kafka.Stats) uint64 { return s.Panics }},
		{"undecodable", "Record batches that could not be decoded and became dead letters.", func(s kafka.Stats) uint64 { return s.Undecodable }},
		{"rebuilds", "Kafka clients made anew because a partition stood still.", func(s kafka.Stats) uint64 { return s.Rebuilds }},
	})
	p.countLosses(labels, r)
	p.gauge("laudspeaker_outcomes_waiting", "Attempts whose gateway has answered and whose outcome Kafka has not acknowledged yet.", labels,
		func() float64 { n, _ := r.Waiting(); return float64(n) })
	p.gauge("laudspeaker_stalled_partitions", "Partitions of the lane that start nothing more until Kafka acknowledges their outcomes.", labels,
		func() float64 { _, n := r.Waiting(); return float64(n) })
	p.gauge("laudspeaker_lane_paused", "1 while the lane is paused in this process, by an operator.", labels, func() float64 {
		if r.Held() {
			return 1
		}
		return 0
	})
	topic := p.topics.Job(channel, lane)
	p.gauge("laudspeaker_backlog", "Jobs on the lane's topic that are not done, of the partitions that this process holds.", labels,
		func() float64 { return float64(r.Backlog()[topic].Records) })
	p.gauge("laudspeaker_oldest_waiting_seconds", "Age of the oldest job in hand of the lane, since it was written to its topic.", labels,
		func() float64 { return age(r.Backlog()[topic].Oldest) })
}

// runnerCounter is one counter of a runner.
type runnerCounter struct {
	name, help string
	of         func(kafka.Stats) uint64
}

func (p *process) countRunner(labels prometheus.Labels, r *kafka.Runner, all []runnerCounter) {
	for _, c := range all {
		p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "laudspeaker_runner_" + c.name + "_total", Help: c.help, ConstLabels: labels,
		}, func() float64 { return float64(c.of(r.Stats())) }))
	}
}

// countLosses shows what Kafka has lost of the topics of a runner: each of these counters should stay at 0.
func (p *process) countLosses(labels prometheus.Labels, r *kafka.Runner) {
	p.countRunner(labels, r, []runnerCounter{
		{"lost_records", "Offsets without a known result that Kafka removed before they were processed.", func(s kafka.Stats) uint64 { return s.Lost }},
		{"recreated_topics", "Topics that were deleted and created again while positions in them were stored.", func(s kafka.Stats) uint64 { return s.Recreated }},
		{"truncated_logs", "Partitions whose log ended before what was read of it.", func(s kafka.Stats) uint64 { return s.Truncated }},
	})
}

// countSkipped shows how many record batches a reader of a role has skipped. It stays above zero until the next start, for
// what they said is missing until then.
func (p *process) countSkipped(role, reader string, skipped func() uint64) {
	p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name:        "laudspeaker_undecodable_batches_skipped_total",
		Help:        "Record batches that could not be decoded and were skipped; what they said may be missing until the next start.",
		ConstLabels: prometheus.Labels{"role": role, "reader": reader},
	}, func() float64 { return float64(skipped()) }))
}

// countWaiting shows what waits in some tiers of a channel's delay ladder.
func (p *process) countWaiting(channel notify.Channel, tiers []dispatcher.Tier, r *kafka.Runner) {
	for _, tier := range tiers {
		p.gauge("laudspeaker_waiting", "Jobs that wait to be tried again or to become due, by tier, of the partitions that this process holds.",
			prometheus.Labels{"channel": string(channel), "tier": tier.Name},
			func() float64 { return float64(r.Backlog()[tier.Topic].Records) })
	}
}

// countOutlet shows how a gateway is doing.
func (p *process) countOutlet(o *worker.Outlet) {
	labels := prometheus.Labels{"gateway": o.Name}
	p.gauge("laudspeaker_in_flight", "Messages at the gateway.", labels, func() float64 { return float64(o.Limiter.InFlight()) })
	p.gauge("laudspeaker_pace", "Messages a second that the gateway may get from this process; +Inf without a limit.", labels,
		func() float64 { return o.Limiter.Rate(time.Now()) })
	p.gauge("laudspeaker_circuit_state", "0: the gateway is used. 1: it is probed. 2: it is left alone until the next probe.", labels, func() float64 {
		switch o.Breaker.State() {
		case gateway.BreakerHalfOpen:
			return 1
		case gateway.BreakerOpen:
			return 2
		default:
			return 0
		}
	})
}

func (p *process) gauge(name, help string, labels prometheus.Labels, value func() float64) {
	p.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

func age(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return time.Since(at).Seconds()
}
