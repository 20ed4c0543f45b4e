package cmd

import (
	"cmp"
	"context"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

const (
	reportEvery  = time.Second             // how often the gateways are looked at
	reportGap    = 5 * time.Second         // between two records about one gateway, at least
	reportRenew  = control.ReportLasts / 3 // after which a report that still holds is written again
	reportWithin = 5 * time.Second         // for Kafka to take one
)

// gatewayReports writes to the control topic which gateways this process cannot call, for as long as it cannot: a record when
// that begins, when it changes and when it ends, whatever number of jobs waits. A report that is not renewed expires, so that
// those of a process that was killed end by themselves.
type gatewayReports struct {
	process   string
	topic     string
	outlets   map[string]refuser                            // by gateway
	lanes     func(gateway string) []control.LanePartitions // on which this process works by the gateway
	state     *control.State
	publisher onePublisher
	log       *zap.Logger

	written map[string]control.Entry // by gateway: the reports that hold
	at      map[string]time.Time     // by gateway: of the last record
}

// refuser is a [worker.Outlet].
type refuser interface {
	// OpenCircuit does not block; ok is false while the gateway is used.
	OpenCircuit(now time.Time) (c worker.OpenCircuit, ok bool)
}

// Run reports until ctx ends, then takes back what holds. It starts once the control topic has been read.
func (g *gatewayReports) Run(ctx context.Context) error {
	g.written, g.at = map[string]control.Entry{}, map[string]time.Time{}
	for _, e := range g.state.Reports(time.Now()) {
		if e.Process == g.process { // this process under this name was killed, and knows nothing of its gateways yet
			g.written[e.Gateway] = e
		}
	}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		for _, r := range g.due(time.Now()) {
			g.publish(ctx, r)
		}
		select {
		case <-ctx.Done():
			g.end(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
		}
	}
}

// due returns what has to be written now.
func (g *gatewayReports) due(now time.Time) []control.Record {
	var all []control.Record
	for _, name := range slices.Sorted(maps.Keys(g.outlets)) {
		e, refuses := g.entry(name, now)
		last, reported := g.written[name]
		wait := reportGap
		switch {
		case !refuses && !reported:
			continue
		case refuses && reported && sameReport(last, e):
			wait = reportRenew
		}
		if at, ok := g.at[name]; ok && now.Sub(at) < wait {
			continue
		}
		g.at[name] = now
		if !refuses {
			delete(g.written, name)
			all = append(all, last.Tombstone())
			continue
		}
		g.written[name] = e
		all = append(all, e.Record())
	}
	for name, last := range g.written { // of a gateway that the configuration no longer has
		if g.outlets[name] == nil {
			delete(g.written, name)
			all = append(all, last.Tombstone())
		}
	}
	return all
}

// sameReport reports whether b says nothing that is worth a record of its own after a. The words of a failure may differ each time.
func sameReport(a, b control.Entry) bool {
	return a.State.Since.Equal(b.State.Since) && slices.EqualFunc(a.State.Lanes, b.State.Lanes, func(a, b control.LanePartitions) bool {
		return a.Channel == b.Channel && a.Lane == b.Lane && a.Of == b.Of && slices.Equal(a.Partitions, b.Partitions)
	})
}

// entry returns what is to be reported about a gateway; refuses is false for nothing: it is used, or nothing is sent by it here.
func (g *gatewayReports) entry(name string, now time.Time) (e control.Entry, refuses bool) {
	c, refuses := g.outlets[name].OpenCircuit(now)
	if !refuses {
		return e, false
	}
	s := control.GatewayState{Circuit: string(c.State), Since: c.Since, Lanes: g.lanes(name)}
	if !math.IsInf(c.Rate, 1) {
		s.Pace = c.Rate
	}
	e = control.ReportGateway(name, g.process, now, s)
	e.Code, e.Reason = c.Code, c.Reason
	return e, len(s.Lanes) > 0
}

func (g *gatewayReports) publish(ctx context.Context, r control.Record) {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	if _, _, err := g.publisher.Publish(ctx, onControl(g.topic, r)); err != nil {
		g.log.Debug("the state of a gateway is not published", zap.Error(err)) // it is written again, or expires
	}
}

// end takes back what holds: this process sends nothing any more.
func (g *gatewayReports) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	for _, e := range g.written {
		g.publish(ctx, e.Tombstone())
	}
}

// reportGateways is the part that reports, once the control topic is known.
func (d *delivery) reportGateways(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.told.Caught():
	}
	g := &gatewayReports{
		process: d.processName(), topic: d.topics.Control(), outlets: map[string]refuser{}, lanes: d.heldLanesOf,
		state: d.control, publisher: d.publisher, log: d.log,
	}
	for name, o := range d.outlets {
		g.outlets[name] = o
	}
	return g.Run(ctx)
}

// processName names this process among all that work: by its instance id, or by where its metrics are.
func (p *process) processName() string {
	if id := p.cfg.Kafka.InstanceID; id != "" {
		return control.ProcessName(id)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_, port, _ := net.SplitHostPort(p.admin.Addr().String())
	return control.ProcessName(host + ":" + port)
}

// heldLanesOf returns the partitions on which this process works by a gateway.
func (d *delivery) heldLanesOf(gateway string) (all []control.LanePartitions) {
	for _, l := range d.held.list() {
		if d.delivers(gateway, l.Channel) {
			all = append(all, l)
		}
	}
	return all
}

// heldPartitions are those on which this process works, as its consumer groups have told last. Between two sessions of a group
// they stay: a process that gets none back soon cannot report anything either.
type heldPartitions struct {
	mu    sync.Mutex
	lanes map[laneKey]control.LanePartitions
}

type laneKey struct {
	channel notify.Channel
	lane    notify.Lane
}

// assign takes in the partitions that the process has now.
func (h *heldPartitions) assign(channel notify.Channel, lane notify.Lane, partitions []int32) {
	h.change(channel, lane, func(l *control.LanePartitions) { l.Partitions = control.NewPartitions(partitions) })
}

// total takes in how many partitions the lane has.
func (h *heldPartitions) total(channel notify.Channel, lane notify.Lane, total int) {
	h.change(channel, lane, func(l *control.LanePartitions) { l.Of = int32(min(total, math.MaxInt32)) })
}

func (h *heldPartitions) change(channel notify.Channel, lane notify.Lane, do func(*control.LanePartitions)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := laneKey{channel, lane}
	l := h.lanes[key]
	l.Channel, l.Lane = channel, lane
	do(&l)
	if h.lanes == nil {
		h.lanes = map[laneKey]control.LanePartitions{}
	}
	h.lanes[key] = l
}

// list returns the lanes of which the process has partitions, in order.
func (h *heldPartitions) list() []control.LanePartitions {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []control.LanePartitions
	for _, l := range h.lanes {
		if len(l.Partitions) > 0 && l.Of > 0 {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b control.LanePartitions) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Lane, b.Lane))
	})
	return all
}
