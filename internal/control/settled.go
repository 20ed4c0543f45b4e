package control

import (
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// settledRun is one run of a notification.
type settledRun struct {
	id  uuid
	run int
}

// Settle returns an entry that ends a run of a notification without another attempt: the provider has reported the message as
// delivered, while the worker did not know that the provider had it. id must be in the form that [notify.ParseID] returns. A
// redrive is another run and is not affected.
func Settle(id string, run int, at time.Time) Entry {
	return Entry{Kind: KindSettled, ID: id, Run: run, At: at, ExpiresAt: at.Add(MaxLifetime)}
}

// parseSettledName parses the name of an entry of kind settled: id, slash, run.
func parseSettledName(name string) (Entry, bool) {
	id, number, _ := strings.Cut(name, "/")
	canonical, ok := notify.ParseID(id)
	run, err := strconv.ParseUint(number, 10, 31)
	e := Entry{Kind: KindSettled, ID: canonical, Run: int(run)}
	return e, ok && err == nil && e.Name() == name // another spelling would be another key
}

func (s *State) applySettled(e Entry, set bool) {
	id, _ := parseID(e.ID) // Decode has checked it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled.applyLocked(settledRun{id, e.Run}, e, set)
}

// Settled reports whether the provider has reported the run as delivered, so that it must not be sent again. id may have any
// spelling.
func (s *State) Settled(id string, run int) bool {
	if s.settled.len() == 0 {
		return false
	}
	h, ok := parseID(id)
	if !ok {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.settled.hasLocked(settledRun{h, run})
}
