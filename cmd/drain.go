package cmd

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/backlog"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// newDrain returns the monitor of all lanes and the part that runs it once the topics exist.
func (p *process) newDrain(waits control.Waits, log *zap.Logger) (*backlog.Monitor, part, error) {
	meter, err := kafka.NewMeter(p.kafka)
	if err != nil {
		return nil, part{}, err
	}
	cfg := backlog.Config{Meter: meter, Paused: waits.State.Paused, ShedBulkAfter: p.cfg.API.ShedBulkAfter, Log: log}
	for _, channel := range p.topics.Channels() {
		for _, lane := range notify.Lanes() {
			cfg.Lanes = append(cfg.Lanes, backlog.Lane{
				Channel: channel, Lane: lane, Topic: p.topics.Job(channel, lane), Group: p.topics.Group(channel, lane),
			})
		}
		for _, tier := range p.topics.Ladder(channel) {
			cfg.Tiers = append(cfg.Tiers, backlog.Tier{Channel: channel, Name: tier.Name, Topic: tier.Topic, Group: tier.Group})
		}
	}
	monitor := backlog.New(cfg)
	p.countDrain(cfg.Lanes, monitor)
	p.countWaits(cfg.Lanes, waits)
	measures := func(ctx context.Context) error {
		if _, ok := p.awaitTopics(ctx); !ok {
			return nil
		}
		return monitor.Run(ctx)
	}
	return monitor, part{"drain", measures}, nil
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
func (p *process) countWaits(lanes []backlog.Lane, waits control.Waits) {
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

// countDrain registers the metrics of the monitor. Every process of the API shows the same figures.
func (p *process) countDrain(lanes []backlog.Lane, monitor *backlog.Monitor) {
	for _, l := range lanes {
		labels := prometheus.Labels{"channel": string(l.Channel), "lane": string(l.Lane)}
		p.gauge("laudspeaker_drain_seconds", "How long the lane's backlog takes at its rate, of all partitions; NaN while that is not known.", labels, func() float64 {
			if d, ok := monitor.Of(l.Channel, l.Lane); ok && d.DrainSeconds != nil {
				return *d.DrainSeconds
			}
			return math.NaN()
		})
		if l.Lane != notify.LaneBulk {
			continue
		}
		p.gauge("laudspeaker_shedding", "1: new notifications of lane bulk are refused.", prometheus.Labels{"channel": string(l.Channel)}, func() float64 {
			if monitor.Refuse(l.Channel, l.Lane) != nil {
				return 1
			}
			return 0
		})
	}
}
