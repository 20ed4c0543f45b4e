package control

import (
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// RouteGateway is a gateway of a channel's route.
type RouteGateway struct {
	Name           string
	RecipientTypes []string // of channel push: the types to which it delivers; empty = all
}

func (g RouteGateway) accepts(recipientType string) bool {
	return recipientType == "" || len(g.RecipientTypes) == 0 || slices.Contains(g.RecipientTypes, recipientType)
}

// Waits determines which notifications wait because no gateway can be called for them: each gateway of their route that
// delivers to their recipient type is paused, or is reported as unavailable by the process to which their partition is
// assigned. Its methods may be called concurrently and do not block.
type Waits struct {
	State  *State
	Routes map[notify.Channel][]RouteGateway
}

// Mark sets the gateway for which each notification waits. If the partition of a notification is unknown, the notification
// counts as waiting only if all partitions of its lane wait.
func (w Waits) Mark(lives []notify.Life) {
	var s *gatewayStates
	for i := range lives {
		l := &lives[i]
		if l.Final || l.State != notify.StateQueued && l.State != notify.StateRetrying {
			continue
		}
		if s == nil {
			s = w.gatewayStates()
		}
		l.Waiting = w.of(s, l)
	}
}

func (w Waits) of(s *gatewayStates, l *notify.Life) *notify.Waiting {
	wait := s.route(w.Routes[l.Channel], l.Channel, l.Lane, l.RecipientType)
	if wait == nil || !wait.all && (l.Partition == nil || !wait.on.Has(*l.Partition)) {
		return nil
	}
	found := s.first(wait, l.Channel, l.Lane, l.Partition)
	return &found
}

// Lane returns the gateway for which jobs of a lane wait; nil if none waits.
func (w Waits) Lane(ch notify.Channel, lane notify.Lane) *notify.LaneWaiting {
	return w.lane(w.gatewayStates(), ch, lane)
}

// MarkLanes sets the gateway for which jobs of each lane wait. All lanes are judged by the same states.
func (w Waits) MarkLanes(channels []notify.ChannelStats) {
	s := w.gatewayStates()
	for i := range channels {
		c := &channels[i]
		for j := range c.Lanes {
			c.Lanes[j].Waiting = w.lane(s, c.Channel, c.Lanes[j].Lane)
		}
	}
}

func (w Waits) lane(s *gatewayStates, ch notify.Channel, lane notify.Lane) *notify.LaneWaiting {
	route := w.Routes[ch]
	types := recipientTypes(route)
	var found *notify.LaneWaiting
	var waiting []string
	for _, t := range types {
		wait := s.route(route, ch, lane, t)
		if wait == nil {
			continue
		}
		waiting = append(waiting, t)
		if part := wait.part(); found == nil || part > found.Part {
			found = &notify.LaneWaiting{Waiting: s.first(wait, ch, lane, nil), Part: part}
		}
	}
	if found != nil && len(waiting) < len(types) {
		found.RecipientTypes = waiting
	}
	return found
}

// recipientTypes returns the recipient types that a route distinguishes; one empty type if it distinguishes none.
func recipientTypes(route []RouteGateway) []string {
	var types []string
	for _, g := range route {
		for _, t := range g.RecipientTypes {
			if !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	if len(types) == 0 {
		return []string{""}
	}
	return types
}

// Gateways returns the gateways of all routes that are paused or that some process cannot call, ordered by name.
func (w Waits) Gateways() []notify.GatewayStatus {
	s := w.gatewayStates()
	all := []notify.GatewayStatus{}
	var names []string
	for _, route := range w.Routes {
		for _, g := range route {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		reports, paused := s.reports[name], s.paused[name]
		if len(reports) == 0 && paused == nil {
			continue
		}
		g := notify.GatewayStatus{Processes: len(reports), Paused: paused != nil}
		if paused != nil {
			g.Waiting = pausedWaiting(name, *paused)
		}
		if len(reports) > 0 {
			g.Waiting = longest(name, reports)
		}
		all = append(all, g)
	}
	return all
}

// gatewayStates are the reports and pauses of gateways at one moment.
type gatewayStates struct {
	reports map[string][]Entry // by gateway
	paused  map[string]*Entry  // by gateway
}

func (w Waits) gatewayStates() *gatewayStates {
	s := &gatewayStates{map[string][]Entry{}, map[string]*Entry{}}
	for _, e := range w.State.Reports(time.Now()) {
		s.reports[e.Gateway] = append(s.reports[e.Gateway], e)
	}
	for t, e := range w.State.pauses.Load().entries {
		if t.gateway != "" {
			s.paused[t.gateway] = &e
		}
	}
	return s
}

// routeWait describes where the jobs of a lane wait.
type routeWait struct {
	gateways []string // of the route, in order
	on       Partitions
	of       int32 // number of partitions of the lane; 0 while unknown
	all      bool  // all partitions wait
}

func (r *routeWait) part() float64 {
	if r.all {
		return 1
	}
	return float64(r.on.len()) / float64(r.of)
}

// route returns where jobs of a lane to recipients of a type wait; nil if none waits.
func (s *gatewayStates) route(route []RouteGateway, ch notify.Channel, lane notify.Lane, recipientType string) *routeWait {
	w := &routeWait{all: true}
	for _, g := range route {
		if !g.accepts(recipientType) {
			continue
		}
		w.gateways = append(w.gateways, g.Name)
		if s.paused[g.Name] != nil {
			continue
		}
		var refused []span
		for _, e := range s.reports[g.Name] {
			on, of := e.State.partitionsOf(ch, lane)
			refused = append(refused, on...)
			w.of = max(w.of, of)
		}
		on := union(refused)
		if !w.all {
			on = w.on.intersect(on)
		}
		w.on, w.all = on, false
		if len(on) == 0 {
			return nil
		}
	}
	if len(w.gateways) == 0 {
		return nil
	}
	w.all = w.all || w.on.len() >= int(w.of)
	return w
}

// first returns the first gateway of the route that is reported as unavailable, by the process to which the partition is
// assigned or, for a nil partition, by any process. Only if there is no such gateway, it returns the first paused one.
func (s *gatewayStates) first(w *routeWait, ch notify.Channel, lane notify.Lane, partition *int32) notify.Waiting {
	var paused notify.Waiting
	for _, name := range w.gateways {
		if p := s.paused[name]; p != nil && paused.Gateway == "" {
			paused = pausedWaiting(name, *p)
		}
		var here []Entry
		for _, e := range s.reports[name] {
			on, of := e.State.partitionsOf(ch, lane)
			if of > 0 && (partition == nil && len(on) > 0 || partition != nil && on.Has(*partition)) {
				here = append(here, e)
			}
		}
		if len(here) > 0 {
			return longest(name, here)
		}
	}
	return paused
}

// longest returns the report that has lasted longest.
func longest(name string, reports []Entry) notify.Waiting {
	e := slices.MinFunc(reports, func(a, b Entry) int { return a.State.Since.Compare(b.State.Since) })
	return notify.Waiting{Gateway: name, Code: e.Code, Reason: e.Reason, Since: e.State.Since}
}

func pausedWaiting(name string, e Entry) notify.Waiting {
	return notify.Waiting{Gateway: name, Code: notify.CodePaused, Reason: "an operator has paused the gateway", Since: e.At}
}
