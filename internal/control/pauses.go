package control

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// pauses is an immutable set of pauses. A record makes a new set.
type pauses struct {
	entries map[target]Entry
	changed chan struct{} // closed when another set with other pauses replaces this one
}

// target is the subject of a pause: a channel, a lane of a channel, or a gateway.
type target struct {
	channel notify.Channel
	lane    notify.Lane
	gateway string
}

func newPauses(entries map[target]Entry) *pauses {
	return &pauses{entries: entries, changed: make(chan struct{})}
}

func (s *State) applyPause(e Entry, set bool) {
	t := target{e.Channel, e.Lane, e.Gateway}
	s.mu.Lock() // excludes other writers; readers load the pointer
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
	if set && was { // a repeated pause: nothing starts or stops
		now.changed = old.changed
		s.pauses.Store(now)
		return
	}
	s.pauses.Store(now)
	close(old.changed)
}

// Paused reports whether jobs of the lane must not be started, because the channel or this lane of it is paused.
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

// PausedGateway reports whether the gateway must not be called.
func (s *State) PausedGateway(name string) bool {
	entries := s.pauses.Load().entries
	if len(entries) == 0 {
		return false
	}
	_, paused := entries[target{gateway: name}]
	return paused
}

// Changed returns a channel that is closed when the pauses change after this call. To miss no change, call Changed first, then
// check the pauses, and then wait for the channel.
func (s *State) Changed() <-chan struct{} { return s.pauses.Load().changed }

// Listing lists the entries in force, for people. Of suppressions and cancellations it has only the number, because the state
// does not keep them readable. The number of cancellations includes expired ones that have no tombstone yet.
type Listing struct {
	Pauses                      []Entry // ordered by name
	Suppressions, Cancellations int
}

// List returns the entries in force.
func (s *State) List() Listing {
	l := Listing{Suppressions: int(s.nSuppress.Load()), Cancellations: s.cancelled.len()}
	l.Pauses = slices.SortedFunc(maps.Values(s.pauses.Load().entries), func(a, b Entry) int {
		return strings.Compare(a.Name(), b.Name())
	})
	return l
}
