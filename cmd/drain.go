package cmd

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/drain"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// newDrain makes the gauge of all lanes, and the parts that keep it: it measures once the topics are there, and hears what is
// paused on the control topic.
func (p *process) newDrain(publisher allPublisher, log *zap.Logger) (*drain.Gauge, []part, error) {
	meter, err := kafka.NewMeter(p.kafka)
	if err != nil {
		return nil, nil, err
	}
	state, told, err := p.control("api", publisher, log)
	if err != nil {
		return nil, nil, err
	}
	p.countSkipped("serve-api", "control", told.Undecodable)
	cfg := drain.Config{Meter: meter, Paused: state.Paused, ShedBulkAfter: p.cfg.API.ShedBulkAfter, Log: log}
	for _, channel := range p.topics.Channels() {
		for _, lane := range notify.Lanes() {
			cfg.Lanes = append(cfg.Lanes, drain.Lane{
				Channel: channel, Lane: lane, Topic: p.topics.Job(channel, lane), Group: p.topics.Group(channel, lane),
			})
		}
		for _, tier := range p.topics.Ladder(channel) {
			cfg.Tiers = append(cfg.Tiers, drain.Tier{Channel: channel, Name: tier.Name, Topic: tier.Topic, Group: tier.Group})
		}
	}
	gauge := drain.New(cfg)
	p.countDrain(cfg.Lanes, gauge)
	measures := func(ctx context.Context) error {
		if _, ok := p.awaitTopics(ctx); !ok {
			return nil
		}
		return gauge.Run(ctx)
	}
	return gauge, []part{{"drain", measures}, {"control", told.Run}}, nil
}

// countDrain shows what the gauge says. It is the same in every process of the API.
func (p *process) countDrain(lanes []drain.Lane, gauge *drain.Gauge) {
	for _, l := range lanes {
		labels := prometheus.Labels{"channel": string(l.Channel), "lane": string(l.Lane)}
		p.gauge("laudspeaker_drain_seconds", "How long the lane's backlog takes at its rate, of all partitions; NaN while that is not known.", labels, func() float64 {
			if d, ok := gauge.Of(l.Channel, l.Lane); ok && d.DrainSeconds != nil {
				return *d.DrainSeconds
			}
			return math.NaN()
		})
		if l.Lane != notify.LaneBulk {
			continue
		}
		p.gauge("laudspeaker_shedding", "1: new notifications of lane bulk are refused.", prometheus.Labels{"channel": string(l.Channel)}, func() float64 {
			if gauge.Refuse(l.Channel, l.Lane) != nil {
				return 1
			}
			return 0
		})
	}
}
