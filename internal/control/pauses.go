package control

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// pauses is what is paused. It never changes: a record makes another one.
type pauses struct {
	entries map[target]Entry
	changed chan struct{} // closed once something else is paused
}

// target is what a pause is for: a channel, a lane of it, or a gateway.
type target struct {
	channel notify.Channel
	lane    notify.Lane
	gateway string
}

func newPauses(entries map[target]Entry) *pauses {
	return &pauses{entries: entries, changed: make(chan struct{})}
}

func (s *State) pause(e Entry, set bool) {
	t := target{e.Channel, e.Lane, e.Gateway}
	s.mu.Lock() // of the writers; readers load the pointer
	defer s.mu.Unlock()
	old := s.pauses.Load()
	_, was := old.entries[t]
	if !set && !was {
		return
	}
	now := newPauses(maps.Clone(old.entries))
	if now.entries == nil {
		now.entries = map[target]Entry{}
	}
	if set {
		now.entries[t] = e
	} else {
		delete(now.entries, t)
	}
	if set && was { // said once more: nothing starts or stops
		now.changed = old.changed
		s.pauses.Store(now)
		return
	}
	s.pauses.Store(now)
	close(old.changed)
}

// Paused reports whether jobs of the lane must not be started: the channel is paused, or this lane of it.
func (s *State) Paused(channel notify.Channel, lane notify.Lane) bool {
	entries := s.pauses.Load().entries
	if len(entries) == 0 {
		return false
	}
	if _, whole := entries[target{channel: channel}]; whole {
		return true
	}
	_, paused := entries[target{channel: channel, lane: cmp.Or(lane, notify.LaneNormal)}]
	return paused
}

// PausedGateway reports whether nothing may be given to the gateway of that name.
func (s *State) PausedGateway(name string) bool {
	entries := s.pauses.Load().entries
	if len(entries) == 0 {
		return false
	}
	_, paused := entries[target{gateway: name}]
	return paused
}

// Changed gives a channel that is closed once something else is paused than when Changed was called. Whoever waits takes
// it first, asks what is paused then, and waits last: so no change is missed.
func (s *State) Changed() <-chan struct{} { return s.pauses.Load().changed }

// Listing is what is in force, for people. Of suppressions and cancellations the state knows only how many there are;
// the cancellations include those whose time is over and that have no tombstone yet.
type Listing struct {
	Pauses                      []Entry // by name
	Suppressions, Cancellations int
}

// List gives what is in force.
func (s *State) List() Listing {
	l := Listing{Suppressions: int(s.nSuppress.Load()), Cancellations: s.cancelled.len()}
	l.Pauses = slices.SortedFunc(maps.Values(s.pauses.Load().entries), func(a, b Entry) int {
		return strings.Compare(a.Name(), b.Name())
	})
	return l
}
