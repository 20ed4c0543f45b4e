package control

import (
	"strings"
	"time"
)

// When the topic is deleted and created again, or loses its end, its pauses and cancellations end. Its suppressions do not:
// they protect recipients. Whoever knows them writes those to the new topic that are missing there, and only then reads it.

// restoredNote is the note of a suppression that was written again.
const restoredNote = "written again after the control topic was created again"

// Suppressions are the suppressions that a topic speaks of, whether it sets them or takes them back.
type Suppressions struct{ keys *keySet }

// NewSuppressions gives an empty set.
func NewSuppressions() *Suppressions { return &Suppressions{newKeySet()} }

// Note takes in the key of a record of the topic.
func (s *Suppressions) Note(key []byte) {
	if name, ok := strings.CutPrefix(string(key), string(KindSuppress)+":"); ok {
		s.keys.add([]byte(name))
	}
}

// Missing gives write the suppressions that are in force and that the topic does not speak of, some at a time, and ends with
// its first error. It is for the one reader of the topic, as [State.Apply] is.
func (s *State) Missing(there *Suppressions, at time.Time, write func([]Record) error) error {
	for _, set := range []*keySet{s.carried, s.suppressed} {
		if set == nil {
			continue
		}
		for from := 0; from >= 0; {
			var keys [][]byte
			keys, from = set.page(from, 500)
			var missing []Record
			for _, key := range keys {
				e, ok := namedSuppression(string(key))
				if ok && !there.keys.has(key) {
					e.At, e.Note = at, restoredNote
					missing = append(missing, e.Record())
				}
			}
			if len(missing) == 0 {
				continue
			}
			if err := write(missing); err != nil {
				return err
			}
		}
	}
	return nil
}

// Restart begins anew with another topic: pauses and cancellations end. Suppressions stay in force until the new topic says
// something about them.
func (s *State) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	carried := s.suppressed
	if s.carried != nil {
		for from := 0; from >= 0; {
			var keys [][]byte
			keys, from = s.carried.page(from, 500)
			for _, key := range keys {
				carried.add(key)
			}
		}
	}
	s.carried, s.suppressed = carried, newKeySet()
	s.cancelled = map[hash]int64{}
	s.nCancelled.Store(0)
	s.countSuppressed()
	old := s.pauses.Load()
	if len(old.entries) > 0 {
		s.pauses.Store(newPauses(nil))
		close(old.changed)
	}
}
