package cmd

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/drain"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// newDrain makes the gauge of all lanes, and the part that keeps it: it measures once the topics are there.
func (p *process) newDrain(waits control.Waits, log *zap.Logger) (*drain.Gauge, part, error) {
	meter, err := kafka.NewMeter(p.kafka)
	if err != nil {
		return nil, part{}, err
	}
	cfg := drain.Config{Meter: meter, Paused: waits.State.Paused, ShedBulkAfter: p.cfg.API.ShedBulkAfter, Log: log}
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
	p.countWaits(cfg.Lanes, waits)
	measures := func(ctx context.Context) error {
		if _, ok := p.awaitTopics(ctx); !ok {
			return nil
		}
		return gauge.Run(ctx)
	}
	return gauge, part{"drain", measures}, nil
}

// newWaits follows the control topic: what is paused, and which gateways the workers report that they cannot call.
// The caller runs the tail of the state. For also see [process.control].
func (p *process) newWaits(publisher allPublisher, log *zap.Logger, also ...func(*kafka.Record)) (controlled, control.Waits, error) {
	state, tail, err := p.control("api", publisher, log, also...)
	if err != nil {
		return controlled{}, control.Waits{}, err
	}
	p.countSkipped("serve-api", "control", tail.Undecodable)
	waits := control.Waits{State: state, Routes: map[notify.Channel][]control.RouteGateway{}}
	for channel, route := range p.routes {
		for _, o := range route {
			waits.Routes[channel] = append(waits.Routes[channel], control.RouteGateway{Name: o.Name, RecipientTypes: o.Gateway.RecipientTypes()})
		}
	}
	return controlled{state, tail}, waits, nil
}

// countWaits shows which part of each lane waits for a gateway. It is the same in every process of the API.
func (p *process) countWaits(lanes []drain.Lane, waits control.Waits) {
	for _, l := range lanes {
		labels := prometheus.Labels{"channel": string(l.Channel), "lane": string(l.Lane)}
		p.gauge("laudspeaker_lane_without_gateway", "The part of the lane's partitions, from 0 to 1, whose jobs wait because no gateway of the channel can be called for them.", labels,
			func() float64 {
				if w := waits.Lane(l.Channel, l.Lane); w != nil {
					return w.Part
				}
				return 0
			})
	}
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
