package control

import (
	"strings"
	"time"
)

// When the topic is deleted and created again, or loses its end, its pauses and cancellations end. Its suppressions do not:
// they protect recipients. Nor does the key of fingerprints: what the ledger holds under it could not be compared any more.
// Whoever knows them writes what is missing to the new topic, and only then reads it.

// restoredNote is the note of an entry that was written again.
const restoredNote = "written again after the control topic was created again"

// Lasting is what a topic speaks of, whether it sets it or takes it back, among the entries that outlast the topic.
type Lasting struct {
	plain, reasoned *keySet // names of suppressions, by kind
	key             bool    // of fingerprints
}

// NewLasting gives an empty set.
func NewLasting() *Lasting { return &Lasting{plain: newKeySet(), reasoned: newKeySet()} }

// Note takes in the key of a record of the topic.
func (l *Lasting) Note(key []byte) {
	if name, ok := strings.CutPrefix(string(key), string(KindSuppress)+":"); ok {
		l.plain.add([]byte(name))
	}
	if name, ok := strings.CutPrefix(string(key), string(KindSuppression)+":"); ok {
		l.reasoned.add([]byte(name))
	}
	if string(key) == string(Entry{Kind: KindFingerprintKey}.key()) {
		l.key = true
	}
}

// Missing gives write the key of fingerprints and the suppressions that are in force and that the topic does not speak of, some
// at a time, and ends with its first error. It is for the one reader of the topic, as [State.Apply] is.
func (s *State) Missing(there *Lasting, at time.Time, write func([]Record) error) error {
	if key, ok := s.FingerprintKey(); ok && !there.key {
		e := Entry{Kind: KindFingerprintKey, Key: key, At: at, Note: restoredNote}
		if err := write([]Record{e.Record()}); err != nil {
			return err
		}
	}
	if err := missing(&s.plain, there.plain, namedSuppression, at, write); err != nil {
		return err
	}
	return missing(&s.reasoned, there.reasoned, namedReasoned, at, write)
}

// missing gives write what is in l and not there.
func missing(l *lastingSet, there *keySet, named func(name string) (Entry, bool), at time.Time, write func([]Record) error) error {
	for _, set := range l.sets() {
		for from := 0; from >= 0; {
			var keys [][]byte
			keys, from = set.page(from, 500)
			var records []Record
			for _, key := range keys {
				e, ok := named(string(key))
				if ok && !there.has(key) {
					e.At, e.Note = at, restoredNote
					records = append(records, e.Record())
				}
			}
			if len(records) == 0 {
				continue
			}
			if err := write(records); err != nil {
				return err
			}
		}
	}
	return nil
}

// Restart begins anew with another topic: pauses and cancellations end. Suppressions and the key of fingerprints stay in force
// until the new topic says something about them.
func (s *State) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain.restart()
	s.reasoned.restart()
	s.cancelled.clearLocked()
	s.reports, s.ranges = map[reporter]Entry{}, 0
	s.countSuppressed()
	old := s.pauses.Load()
	if len(old.entries) > 0 {
		s.pauses.Store(newPauses(nil))
		close(old.changed)
	}
}
