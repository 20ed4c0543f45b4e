package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// readEvents reads the status topic, and finds out since when the topic is complete: the records that it no longer holds were
// written before the first record after the gap. Retention may delete records during the audit, so the status topic is read
// before all other topics.
func (a *audit) readEvents(ctx context.Context) error {
	s := a.snapshot
	for i, b := range s.bounds {
		next, gap := b.Oldest, s.whole[i].Oldest > 0
		if gap && b.Oldest > s.whole[i].Oldest { // the records before Since are not read: complete at least since then
			s.setCompleteSince(b.Partition, s.since.Add(-clocksApart))
			gap = false
		}
		err := s.log.Scan(ctx, s.status, []kafka.Bounds{b}, func(r *kafka.Record) error {
			if gap || r.Offset > next {
				s.setCompleteSince(b.Partition, r.Timestamp)
			}
			gap, next = false, r.Offset+1
			a.countRead(s.status)
			return a.addStatusRecord(r)
		})
		if err != nil {
			return err
		}
		if gap || next < b.Newest {
			s.setUnknown(b.Partition)
		}
	}
	return nil
}

// addStatusRecord adds one record of the status topic.
func (a *audit) addStatusRecord(r *kafka.Record) error {
	kind, ledger := r.Header(kafka.HeaderKind)
	if g, ok := status.ReadGap(r); ok {
		a.missingRanges.addPublished(g)
		return nil
	}
	if len(r.Value) == 0 || ledger && kind != kafka.KindOutcome {
		return nil
	}
	a.missingRanges.addOutcome(r)
	g, ok := parseEventPrefix(r.Value)
	if !ok || !ledger || g.State == notify.StateQueued { // a note, which glance does not see
		if err := json.Unmarshal(r.Value, &g); err != nil {
			a.report.Unreadable++
			return nil
		}
	}
	return a.addEvent(r, g, ledger)
}

// addEvent adds the entry of an event. Notes that change nothing are left out.
func (a *audit) addEvent(r *kafka.Record, g eventFields, ledger bool) error {
	e := entry{
		run: uint32(max(0, g.Run)), step: uint32(max(0, g.Step)), offset: r.Offset, partition: r.Partition, at: g.At.UnixNano(), kind: kindEvent,
	}
	id, ok := packID(g.NotificationID)
	state, known := indexIn(states, g.State)
	if !ok || !known {
		a.report.Unreadable++
		return nil
	}
	e.id, e.state = id, state
	switch {
	case g.Note == notify.NoteRedriven:
		e.kind = kindRedrive
		if a.snapshot.anyOutcomeMayBeGone(earliest(r.Timestamp, mintedAt(id, r.Timestamp))) {
			e.marks |= isUnknowable
		}
	case g.Note == notify.NoteUnknown:
		e.kind = kindUnknownNote
	case g.Note != "":
		return nil
	}
	if g.Final {
		e.marks |= isFinal
	}
	if ledger {
		e.marks |= isOutcome
	}
	return a.addEntry(e)
}

// eventFields holds the fields of an event that an audit needs.
type eventFields struct {
	NotificationID string       `json:"notification_id"`
	Run            int          `json:"run"`
	Step           int          `json:"step"`
	State          notify.State `json:"state"`
	Final          bool         `json:"final"`
	At             time.Time    `json:"at"`
	Note           string       `json:"note"`
}

// parseEventPrefix parses the first fields of an event as [notify.Event.Encode] writes them. ok is false for any other
// encoding. Decoding the whole event takes ten times as long.
func parseEventPrefix(b []byte) (g eventFields, ok bool) {
	s := scanner{b: b}
	s.word(`{"event_id":"`)
	s.until('"')
	s.word(`,"notification_id":"`)
	g.NotificationID = string(s.until('"'))
	s.word(`,"run":`)
	g.Run = s.number()
	s.word(`"step":`)
	g.Step = s.number()
	s.word(`"attempt":`)
	s.number()
	s.word(`"state":"`)
	g.State = notify.State(s.until('"'))
	s.word(`,"final":`)
	final := string(s.until(','))
	s.word(`"at":"`)
	at, err := time.Parse(time.RFC3339Nano, string(s.until('"')))
	g.Final, g.At = final == "true", at
	return g, !s.failed && err == nil && (g.Final || final == "false")
}

// scanner consumes text in an expected format.
type scanner struct {
	b      []byte
	failed bool
}

// word consumes the text w.
func (s *scanner) word(w string) {
	rest, ok := bytes.CutPrefix(s.b, []byte(w))
	s.b = rest
	s.failed = s.failed || !ok
}

// until consumes the text up to and including end, and returns the text before end.
func (s *scanner) until(end byte) []byte {
	i := bytes.IndexByte(s.b, end)
	if i < 0 {
		s.failed = true
		return nil
	}
	found := s.b[:i]
	s.b = s.b[i+1:]
	return found
}

// number consumes a number that is followed by a comma.
func (s *scanner) number() int {
	n, err := strconv.Atoi(string(s.until(',')))
	s.failed = s.failed || err != nil
	return n
}
