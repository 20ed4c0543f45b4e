package control

import (
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// settledRun is one run of a notification.
type settledRun struct {
	id  hash
	run int
}

// Settle ends a run of a notification without another attempt: its provider has reported that the message was delivered, while
// the worker did not know that the provider had it. id is as [notify.ParseID] gives it. A redrive, which is another run, is not
// affected.
func Settle(id string, run int, at time.Time) Entry {
	return Entry{Kind: KindSettled, ID: id, Run: run, At: at, ExpiresAt: at.Add(Longest)}
}

// namedSettled parses the name of an entry of kind settled: id, slash, run.
func namedSettled(name string) (Entry, bool) {
	id, number, _ := strings.Cut(name, "/")
	canonical, ok := notify.ParseID(id)
	run, err := strconv.ParseUint(number, 10, 31)
	e := Entry{Kind: KindSettled, ID: canonical, Run: int(run)}
	return e, ok && err == nil && e.Name() == name // another spelling would be another key
}

func (s *State) settle(e Entry, set bool) {
	id, _ := parseID(e.ID) // it was found to be one
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled.applyLocked(settledRun{id, e.Run}, e, set)
}

// Settled reports whether the provider has reported the run as delivered, so that it is not to be sent again. id may be spelt in
// any way.
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
