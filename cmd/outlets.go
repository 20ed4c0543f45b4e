package cmd

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

// newOutlets makes the gateways of some channels, by their names. Channels that use the same gateway share it.
func (p *process) newOutlets(channels []notify.Channel, log *zap.Logger) (map[string]*worker.Outlet, error) {
	all := map[string]*worker.Outlet{}
	for _, channel := range channels {
		for _, o := range p.routes[channel] {
			if all[o.Name] != nil {
				continue
			}
			sender, err := newSender(o.Name, o.Gateway, log)
			if err != nil {
				for _, made := range all {
					_ = made.Sender.Close()
				}
				return nil, err
			}
			warnUnclassified(o.Name, o.Gateway, log)
			all[o.Name] = p.newOutlet(o, sender)
			p.countOutlet(all[o.Name])
		}
	}
	return all, nil
}

// unclassified is the note on a gateway of type http whose responses the configuration cannot classify.
const unclassified = "every answer with a status of success counts as sent, whatever its body says: " +
	"set success.path or success.match, or id_path or id_match; or success.status_only: true if the API reports refusals by the status alone"

func warnUnclassified(name string, g config.Gateway, log *zap.Logger) {
	if g.HTTP != nil && g.HTTP.Unclassified() {
		log.Warn("the configuration cannot classify the answers of this API", zap.String("gateway", name), zap.String("url", g.HTTP.Base()), zap.String("remedy", unclassified))
	}
}

func (p *process) newOutlet(o config.Outlet, sender gateway.Sender) *worker.Outlet {
	limits := o.Gateway.Limits()
	if limits.Concurrency == 0 {
		for _, channel := range p.channelsOf(o.Name) {
			limits.Concurrency = max(limits.Concurrency, p.cfg.Channels.ByName()[string(channel)].Concurrency)
		}
	}
	if smtp := o.Gateway.SMTP; smtp != nil { // a message that has its place waits for no connection: the lanes share these
		limits.Concurrency = min(limits.Concurrency, smtp.Connections)
	}
	return &worker.Outlet{
		Name: o.Name, Sender: sender, RecipientTypes: o.Gateway.RecipientTypes(), Breaker: gateway.NewBreaker(gateway.BreakerConfig{}),
		Limiter: limiter.New(limiter.Config{
			Concurrency: limits.Concurrency, Rate: float64(limits.Rate), Shares: p.percents(),
		}),
	}
}

// channelsOf lists the channels whose route a gateway is on.
func (p *process) channelsOf(name string) (channels []notify.Channel) {
	for _, channel := range p.topics.Channels() {
		for _, o := range p.routes[channel] {
			if o.Name == name {
				channels = append(channels, channel)
			}
		}
	}
	return channels
}

// delivers reports whether the gateway is on the route of the channel.
func (p *process) delivers(gateway string, channel notify.Channel) bool {
	return slices.ContainsFunc(p.routes[channel], func(o config.Outlet) bool { return o.Name == gateway })
}

func (p *process) percents() map[notify.Lane]int {
	l := p.cfg.Lanes
	return map[notify.Lane]int{notify.LaneUrgent: l.Urgent, notify.LaneNormal: l.Normal, notify.LaneBulk: l.Bulk}
}

func lifetimes(cfg *config.Config) dispatcher.Lifetimes {
	e := cfg.ExpiresAfter
	return dispatcher.Lifetimes{notify.LaneUrgent: e.Urgent, notify.LaneNormal: e.Normal, notify.LaneBulk: e.Bulk}
}

// route is the gateways of a channel as its workers see them.
func (d *delivery) route(channel notify.Channel) *worker.Route {
	r := &worker.Route{}
	for _, o := range d.routes[channel] {
		r.Outlets = append(r.Outlets, d.outlets[o.Name])
		if o.Weight > 0 {
			r.Weights = append(r.Weights, o.Weight)
		}
	}
	return r
}

// share tells the gateways of a channel what part of their rates is this process's: by how many of a lane's partitions it
// holds. All processes together make 1, without asking each other.
func (d *delivery) share(channel notify.Channel, lane notify.Lane, held, total int) {
	if total == 0 {
		return
	}
	percents := d.percents()
	all := percents[notify.LaneUrgent] + percents[notify.LaneNormal] + percents[notify.LaneBulk]
	for _, o := range d.routes[channel] {
		part := float64(percents[lane]) / float64(all) * float64(held) / float64(total) / float64(len(d.channelsOf(o.Name)))
		d.outlets[o.Name].Limiter.SetShare(string(channel)+" "+string(lane), part)
	}
}

// attemptTimeout is the deadline of one attempt through a route, failover included: that of its slowest gateway.
func attemptTimeout(route config.Route) time.Duration {
	var longest time.Duration
	for _, o := range route {
		longest = max(longest, o.Gateway.Timeout())
	}
	return longest
}

func retries(r config.Retries, lane notify.Lane) worker.RetryPolicy {
	of := map[notify.Lane]config.Retry{notify.LaneUrgent: r.Urgent, notify.LaneNormal: r.Normal, notify.LaneBulk: r.Bulk}[lane]
	return worker.RetryPolicy{MaxAttempts: of.Attempts, InitialBackoff: of.First, MaxBackoff: of.Longest}
}
