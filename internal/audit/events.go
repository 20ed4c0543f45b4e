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

// readEvents reads the status topic, and finds out from when on it is complete: what it no longer holds was written before
// the first record behind a gap. Retention may delete while this goes on, which is why it is read before all else.
func (a *audit) readEvents(ctx context.Context) error {
	v := a.view
	for i, b := range v.bounds {
		next, missing := b.Oldest, v.whole[i].Oldest > 0
		if missing && b.Oldest > v.whole[i].Oldest { // then it is complete at least since what was asked for
			v.cut(b.Partition, v.since.Add(-clocksApart))
			missing = false
		}
		err := v.log.Scan(ctx, v.status, []kafka.Bounds{b}, func(r *kafka.Record) error {
			if missing || r.Offset > next {
				v.cut(b.Partition, r.Timestamp)
			}
			missing, next = false, r.Offset+1
			a.progress(v.status)
			return a.event(r)
		})
		if err != nil {
			return err
		}
		if missing || next < b.Newest {
			v.cutOff(b.Partition)
		}
	}
	return nil
}

// event takes one record of the status topic.
func (a *audit) event(r *kafka.Record) error {
	kind, ledger := r.Header(kafka.HeaderKind)
	if g, ok := status.ReadGap(r); ok {
		a.missing.published(g)
		return nil
	}
	if len(r.Value) == 0 || ledger && kind != kafka.KindOutcome {
		return nil
	}
	a.missing.outcome(r)
	g, ok := glance(r.Value)
	if !ok || !ledger || g.State == notify.StateQueued { // a note, which glance does not see
		if err := json.Unmarshal(r.Value, &g); err != nil {
			a.report.Unreadable++
			return nil
		}
	}
	return a.take(r, g, ledger)
}

// take makes an event an entry. Notes that change nothing are left out.
func (a *audit) take(r *kafka.Record, g glanced, ledger bool) error {
	e := entry{run: uint32(max(0, g.Run)), step: uint32(max(0, g.Step)), offset: r.Offset, partition: r.Partition, at: g.At.UnixNano(), kind: anEvent}
	id, ok := compact(g.NotificationID)
	state, known := indexOf(states, g.State)
	if !ok || !known {
		a.report.Unreadable++
		return nil
	}
	e.id, e.state = id, state
	switch {
	case g.Note == notify.NoteRedriven:
		e.kind = aRedrive
		if a.view.fadedAnywhere(earliest(r.Timestamp, mintedAt(id, r.Timestamp))) {
			e.marks |= isFaded
		}
	case g.Note == notify.NoteUnknown:
		e.kind = anUnknown
	case g.Note != "":
		return nil
	}
	if g.Final {
		e.marks |= isFinal
	}
	if ledger {
		e.marks |= isOutcome
	}
	return a.keep(e)
}

// glanced is what counts of an event.
type glanced struct {
	NotificationID string       `json:"notification_id"`
	Run            int          `json:"run"`
	Step           int          `json:"step"`
	State          notify.State `json:"state"`
	Final          bool         `json:"final"`
	At             time.Time    `json:"at"`
	Note           string       `json:"note"`
}

// glance reads an event's first fields as [notify.Event.Encode] writes them, and no further: decoding all of it takes ten times
// as long. ok is false for any other spelling.
func glance(b []byte) (g glanced, ok bool) {
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

// scanner goes through what is expected to be there.
type scanner struct {
	b      []byte
	failed bool
}

func (s *scanner) word(w string) {
	rest, ok := bytes.CutPrefix(s.b, []byte(w))
	s.b = rest
	s.failed = s.failed || !ok
}

// until gives what comes before the next end, and goes on behind it.
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

// number reads one that ends in a comma.
func (s *scanner) number() int {
	n, err := strconv.Atoi(string(s.until(',')))
	s.failed = s.failed || err != nil
	return n
}
