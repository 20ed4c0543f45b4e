package control

import (
	"strings"
	"time"
)

// When the topic is deleted and created again, or is truncated, its pauses and cancellations end. Its suppressions remain in
// force, because they protect recipients. The key of fingerprints remains in force too: without the key, the fingerprints on the
// ledger could not be compared any more. Each process that knows these entries writes the missing ones to the new topic, and
// reads the new topic only after that.

// restoredNote is the note of an entry that was written again.
const restoredNote = "written again after the control topic was created again"

// LastingKeys is the set of keys on a topic, set or revoked, of the entries that outlast the topic.
type LastingKeys struct {
	plain, reasoned *keySet // names of suppressions, of kind suppress and of kind suppression
	key             bool    // the key of fingerprints
}

// NewLastingKeys returns an empty set.
func NewLastingKeys() *LastingKeys { return &LastingKeys{plain: newKeySet(), reasoned: newKeySet()} }

// Add adds the key of a record of the topic. It ignores keys of entries that end with the topic.
func (l *LastingKeys) Add(key []byte) {
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

// WriteMissing calls write with the key of fingerprints and the suppressions that are in force but not on the topic, in several
// parts. It ends with write's first error. Only the single reader of the topic may call it, as with [State.Apply].
func (s *State) WriteMissing(onTopic *LastingKeys, at time.Time, write func([]Record) error) error {
	if key, ok := s.FingerprintKey(); ok && !onTopic.key {
		e := Entry{Kind: KindFingerprintKey, Key: key, At: at, Note: restoredNote}
		if err := write([]Record{e.Record()}); err != nil {
			return err
		}
	}
	if err := writeMissing(&s.plain, onTopic.plain, parseSuppressName, at, write); err != nil {
		return err
	}
	return writeMissing(&s.reasoned, onTopic.reasoned, parseSuppressionName, at, write)
}

// writeMissing calls write with the entries that are in l and not on the topic.
func writeMissing(l *lastingSet, onTopic *keySet, parse func(name string) (Entry, bool), at time.Time, write func([]Record) error) error {
	for _, set := range l.sets() {
		for from := 0; from >= 0; {
			var keys [][]byte
			keys, from = set.page(from, 500)
			var records []Record
			for _, key := range keys {
				e, ok := parse(string(key))
				if ok && !onTopic.has(key) {
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

// Restart prepares the state for a new topic. Pauses, cancellations and reports end. Suppressions and the key of fingerprints
// remain in force until the new topic has an entry with their key.
func (s *State) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain.restart()
	s.reasoned.restart()
	s.cancelled.clearLocked()
	s.reports, s.ranges = map[reporter]Entry{}, 0
	s.countSuppressionsLocked()
	old := s.pauses.Load()
	if len(old.entries) > 0 {
		s.pauses.Store(newPauses(nil))
		close(old.changed)
	}
}
