package control

import (
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// State is what the topic says. [State.Apply] is for the one reader of the topic; everything else may be called at once
// from many goroutines, and costs a few nanoseconds while nothing of the kind is in force.
//
// It keeps the key of a suppression, so that it can be written again when the topic has been lost: about 60 bytes for an address
// of 25. Of a cancellation it keeps 24 bytes, and what the map adds to that.
type State struct {
	pauses atomic.Pointer[pauses] // replaced as a whole

	mu        sync.RWMutex
	cancelled expiring[hash]
	settled   expiring[settledRun]
	plain     lastingSet // suppressions of kind suppress
	reasoned  lastingSet // and of kind suppression
	reasons   []string   // of reasoned
	reports   map[reporter]Entry
	ranges    int          // of partitions, in all reports
	nSuppress atomic.Int64 // the size of plain and reasoned, which costs no lock

	key atomic.Pointer[[16]byte] // of fingerprints; nil while there is none

	unknown, malformed atomic.Uint64
}

// hash is a UUID.
type hash [16]byte

// New gives a state in which nothing is in force.
func New() *State {
	s := &State{reports: map[reporter]Entry{}, plain: newLastingSet(), reasoned: newLastingSet()}
	s.pauses.Store(newPauses(nil))
	return s
}

// Apply takes in the next record of the topic; at is the record's time. The same records in the same order lead to the
// same state, as often as they come.
func (s *State) Apply(key, value []byte, at time.Time) {
	e, set, err := Decode(key, value, at)
	switch {
	case errors.Is(err, ErrUnknownKind):
		s.unknown.Add(1)
	case err != nil:
		s.malformed.Add(1)
	case e.Kind == KindPause:
		s.pause(e, set)
	case e.Kind == KindCancel:
		s.cancel(e, set)
	case e.Kind == KindSettled:
		s.settle(e, set)
	case e.Kind == KindSuppress, e.Kind == KindSuppression:
		s.suppress(e, set)
	case e.Kind == KindGateway:
		s.report(e, set)
	case e.Kind == KindReceipt: // of the API alone
	case e.Kind == KindFingerprintKey && set:
		s.key.Store(&e.Key)
	case e.Kind == KindFingerprintKey:
		s.key.Store(nil)
	}
}

// FingerprintKey gives the key of the fingerprints that workers write on the ledger; ok is false while there is none.
func (s *State) FingerprintKey() (key [16]byte, ok bool) {
	if k := s.key.Load(); k != nil {
		return *k, true
	}
	return key, false
}

// Skipped counts the records that changed nothing because they were not understood.
func (s *State) Skipped() (unknown, malformed uint64) { return s.unknown.Load(), s.malformed.Load() }

func (s *State) cancel(e Entry, set bool) {
	id, _ := parseID(e.ID) // it was found to be one
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled.applyLocked(id, e, set)
}

// Cancelled reports whether the notification is not to be sent. id may be spelt in any way.
func (s *State) Cancelled(id string) bool {
	if s.cancelled.len() == 0 {
		return false
	}
	h, ok := parseID(id)
	if !ok {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cancelled.hasLocked(h)
}

// Expired gives tombstones of cancellations, settled runs and reports whose time is over, [mostTombstones] at most, for whoever writes to the topic: now
// and then, from one process or from several. They are no longer in force, and are forgotten once their tombstones have
// come back over the topic; so what could not be published is given again.
func (s *State) Expired(now time.Time) []Record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.cancelled.expiredLocked(nil, now, func(id hash) Entry { return Entry{Kind: KindCancel, ID: spell(id)} })
	all = s.settled.expiredLocked(all, now, func(r settledRun) Entry { return Entry{Kind: KindSettled, ID: spell(r.id), Run: r.run} })
	return s.expiredReportsLocked(all, now)
}

// appendSuppression spells the name of a suppression, see [Entry.Name].
func appendSuppression(b []byte, tenant string, channel notify.Channel, address string) []byte {
	b = append(append(b, tenant...), '/')
	b = append(append(b, channel...), '/')
	return append(b, address...)
}

// parseID is notify.ParseID without the memory that a canonical spelling needs.
func parseID(s string) (id hash, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	var on [32]byte
	digits := append(on[:0], s[:8]...)
	for _, part := range []string{s[9:13], s[14:18], s[19:23], s[24:]} {
		digits = append(digits, part...)
	}
	_, err := hex.Decode(id[:], digits)
	return id, err == nil
}

func spell(id hash) string {
	s := hex.EncodeToString(id[:])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}
