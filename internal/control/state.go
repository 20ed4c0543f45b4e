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

// State holds the entries in force. Only the single reader of the topic may call [State.Apply]. All other methods may be called
// concurrently, and cost a few nanoseconds while no entry of their kind is in force.
//
// State keeps the key of each suppression, so that the suppression can be written again when the topic is lost: about 60 bytes
// for an address of 25 bytes. A cancellation takes 24 bytes plus the overhead of the map.
type State struct {
	pauses atomic.Pointer[pauses] // replaced as a whole

	mu        sync.RWMutex
	cancelled expiringSet[uuid]
	settled   expiringSet[settledRun]
	plain     lastingSet // suppressions of kind suppress
	reasoned  lastingSet // suppressions of kind suppression
	reasons   []string   // all reasons in reasoned
	reports   map[reporter]Entry
	ranges    int          // number of partition ranges in all reports
	nSuppress atomic.Int64 // size of plain and reasoned, readable without the mutex

	key atomic.Pointer[[16]byte] // of fingerprints; nil while there is none

	unknown, malformed atomic.Uint64
}

// uuid is the binary form of a UUID.
type uuid [16]byte

// New returns a state without entries.
func New() *State {
	s := &State{reports: map[reporter]Entry{}, plain: newLastingSet(), reasoned: newLastingSet()}
	s.pauses.Store(newPauses(nil))
	return s
}

// Apply applies the next record of the topic. at is the time of the record. Applying the same records in the same order again
// leads to the same state.
func (s *State) Apply(key, value []byte, at time.Time) {
	e, set, err := Decode(key, value, at)
	switch {
	case errors.Is(err, ErrUnknownKind):
		s.unknown.Add(1)
	case err != nil:
		s.malformed.Add(1)
	case e.Kind == KindPause:
		s.applyPause(e, set)
	case e.Kind == KindCancel:
		s.applyCancellation(e, set)
	case e.Kind == KindSettled:
		s.applySettled(e, set)
	case e.Kind == KindSuppress, e.Kind == KindSuppression:
		s.applySuppression(e, set)
	case e.Kind == KindGateway:
		s.applyReport(e, set)
	case e.Kind == KindReceipt: // the API reads it elsewhere
	case e.Kind == KindFingerprintKey && set:
		s.key.Store(&e.Key)
	case e.Kind == KindFingerprintKey:
		s.key.Store(nil)
	}
}

// FingerprintKey returns the key of the fingerprints that workers write to the ledger. ok is false while there is no key.
func (s *State) FingerprintKey() (key [16]byte, ok bool) {
	if k := s.key.Load(); k != nil {
		return *k, true
	}
	return key, false
}

// Skipped returns how many records changed nothing because they could not be decoded.
func (s *State) Skipped() (unknown, malformed uint64) { return s.unknown.Load(), s.malformed.Load() }

func (s *State) applyCancellation(e Entry, set bool) {
	id, _ := parseID(e.ID) // Decode has checked it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled.applyLocked(id, e, set)
}

// Cancelled reports whether the notification must not be sent. id may have any spelling.
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

// Expired returns tombstones of expired cancellations, settled runs and reports, at most [maxTombstones]. One or several
// processes publish them now and then. The expired entries are no longer in force, and are removed from the state once their
// tombstones are read from the topic: a tombstone that could not be published is returned again.
func (s *State) Expired(now time.Time) []Record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.cancelled.expiredLocked(nil, now, func(id uuid) Entry { return Entry{Kind: KindCancel, ID: formatID(id)} })
	all = s.settled.expiredLocked(all, now, func(r settledRun) Entry { return Entry{Kind: KindSettled, ID: formatID(r.id), Run: r.run} })
	return s.expiredReportsLocked(all, now)
}

// appendSuppression appends the name of an entry of kind suppress, see [Entry.Name].
func appendSuppression(b []byte, tenant string, channel notify.Channel, address string) []byte {
	b = append(append(b, tenant...), '/')
	b = append(append(b, channel...), '/')
	return append(b, address...)
}

// parseID is notify.ParseID without the allocation of a canonical spelling.
func parseID(s string) (id uuid, ok bool) {
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

func formatID(id uuid) string {
	s := hex.EncodeToString(id[:])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}
