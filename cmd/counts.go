package cmd

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// count shows what a channel's runner counts beside the attempts: an operator's view of faults survived.
func (p *process) count(channel notify.Channel, stats func() kafka.Stats) {
	for _, c := range []struct {
		name, help string
		of         func(kafka.Stats) uint64
	}{
		{"take_overs", "Partitions that were taken over.", func(s kafka.Stats) uint64 { return s.TakeOvers }},
		{"skipped", "Records that were fetched again and found done.", func(s kafka.Stats) uint64 { return s.Skipped }},
		{"mismatches", "Records at whose offset another job is said to be done; they were processed.", func(s kafka.Stats) uint64 { return s.Mismatches }},
		{"lease_waits", "How often something was ready and no commit was confirmed in time.", func(s kafka.Stats) uint64 { return s.LeaseWaits }},
		{"rebuilds", "Kafka clients made anew because a partition stood still.", func(s kafka.Stats) uint64 { return s.Rebuilds }},
	} {
		p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "laudspeaker_runner_" + c.name + "_total", Help: c.help,
			ConstLabels: prometheus.Labels{"channel": string(channel)},
		}, func() float64 { return float64(c.of(stats())) }))
	}
}
