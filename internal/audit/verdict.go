package audit

import (
	"cmp"
	"slices"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// class is the place of a notification in the accounting.
type class int

const (
	ended      class = iota // its run has ended, or it is held: the state says how
	inFlight                // on its lane, not done
	waiting                 // on the delay ladder
	deadLetter              // a dead letter is its only remaining record
	unknowable              // done, and so old that its outcome may have been deleted
	lost                    // an event says that its record was deleted and that the result is unknown
	unknown                 // missing or unknowable, and an event has the note unknown
	missing                 // unaccounted for
)

// verdict is the result of judging the entries of one notification.
type verdict struct {
	class
	evidence *entry // the open record, the dead letter, the entry without a successor or, for ended, the event
	stage           // the furthest stage that some entry expects
	state    notify.State
	final    bool
	place    int64 // precedence of state, as the status store orders states; -1 if no entry has a state
	run      int   // of state

	duplicates      int    // number of times that a gateway accepted the notification again within a run
	acceptedInScope bool   // the notification was accepted at Since or later
	onlyLate        bool   // all entries were written after the snapshot
	unknownNote     *entry // the event with the note unknown
}

// progress is the furthest stage of a notification that an event confirms, in the same order in which workers remember it.
type progress struct {
	known    bool
	reached  stage
	runEnded bool
}

// add adds an event.
func (p *progress) add(s stage, ends bool) {
	if !p.known || s.run > p.reached.run || s.run == p.reached.run && (ends && !p.runEnded || ends == p.runEnded && p.reached.before(s)) {
		*p = progress{known: true, reached: s, runEnded: ends}
	}
}

// covers reports whether the events confirm the stage or a later one.
func (p *progress) covers(s stage) bool {
	return p.known && (s.run < p.reached.run || s.run == p.reached.run && (p.runEnded || !p.reached.before(s)))
}

// judge returns the verdict for all entries of one notification. Entries that were written after the snapshot only prove that
// the notification is not missing.
//
// Each entry of something that was done or decided expects a stage: a job that is done expects an outcome, an event that delays
// the job expects the next step, and a redrive expects the next run. Only the furthest expected stage counts, because a later
// stage proves all earlier ones. The expectation is met by an outcome of that stage or a later one, by an outcome that ends
// the run, or by a record of that stage that is not done.
func judge(es []entry) verdict {
	v := verdict{place: -1, onlyLate: true}
	var confirmed progress
	var letter *entry
	expecting := false
	for i := range es {
		e := &es[i]
		if e.is(isLate) {
			continue
		}
		v.onlyLate = false
		v.acceptedInScope = v.acceptedInScope || e.is(isFirst)
		v.mergeState(e)
		switch {
		case e.kind == kindUnknownNote:
			v.unknownNote = e
		case e.kind == kindEvent && states[e.state] != notify.StateQueued:
			confirmed.add(e.stage(), states[e.state].Final())
		case e.kind == kindDeadLetter && (letter == nil || letter.stage().before(e.stage())):
			letter = e
		}
		if s, ok := e.expects(); ok && (!expecting || v.stage.before(s)) {
			expecting = true
			v.stage = s
		}
	}
	v.duplicates = countDuplicates(es)
	switch {
	case expecting && confirmed.covers(v.stage), !expecting && confirmed.known:
		v.class = ended
		if v.state == notify.StateLost {
			v.class = lost
		}
	case expecting:
		v.judgeUncovered(es, letter)
	case letter != nil:
		v.class, v.evidence = deadLetter, letter
	default:
		v.class, v.evidence = unknown, v.unknownNote
	}
	if v.unknownNote != nil && (v.class == missing || v.class == unknowable) {
		v.class, v.evidence = unknown, cmp.Or(v.evidence, v.unknownNote)
	}
	return v
}

// expects returns the stage that must be found because of the entry. It returns false if the entry expects nothing.
func (e *entry) expects() (stage, bool) {
	switch {
	case e.kind == kindRedrive:
		return stage{e.run + 1, 0}, true
	case e.kind == kindEvent && states[e.state].Rank() == notify.StateRetrying.Rank():
		return stage{e.run, e.step + 1}, true
	case e.kind == kindJob, e.kind == kindDelayed, e.kind == kindStored, e.kind == kindEvent && states[e.state] == notify.StateQueued:
		return e.stage(), true
	default:
		return stage{}, false
	}
}

// judgeUncovered sets the class of a notification whose expected stage no event covers. letter is its furthest dead letter, or
// nil.
func (v *verdict) judgeUncovered(es []entry, letter *entry) {
	v.class = unknowable
	var deadEnd *entry // an entry whose successor should exist
	alive := false     // a record of the stage or a later one was written after the snapshot
	for i := range es {
		e := &es[i]
		alive = alive || e.is(isLate) && !e.stage().before(v.stage)
		s, ok := e.expects()
		if !ok || s != v.stage || e.is(isLate) {
			continue
		}
		isRecord := e.kind == kindJob || e.kind == kindDelayed
		switch {
		case isRecord && !e.is(isDone) && v.class != inFlight:
			v.class, v.evidence = inFlight, e
			if e.kind == kindDelayed {
				v.class = waiting
			}
		case v.class == inFlight || v.class == waiting:
		case !e.is(isUnknowable) && (deadEnd == nil || e.kind < deadEnd.kind):
			deadEnd = e
		}
	}
	switch {
	case v.class != unknowable:
	case letter != nil && !letter.stage().before(v.stage) && (deadEnd == nil || deadEnd.kind != kindJob):
		v.class, v.evidence = deadLetter, letter
	case deadEnd != nil && alive:
		v.class, v.evidence = inFlight, deadEnd
		v.onlyLate = deadEnd.kind == kindStored // the notification was accepted, or delayed, after the snapshot
	case deadEnd != nil:
		v.class, v.evidence = missing, deadEnd
	}
}

// mergeState keeps the state with the highest precedence. Of equal precedence, the earliest event counts.
func (v *verdict) mergeState(e *entry) {
	event := notify.Event{Run: int(e.run), Step: int(e.step), State: notify.StateQueued}
	switch {
	case e.kind == kindEvent:
		event.State, event.Final = states[e.state], e.is(isFinal)
	case e.kind != kindJob: // the store reads jobs and events only
		return
	}
	place := status.Place(&event)
	if place < v.place || place == v.place && (e.kind != kindEvent || v.evidence != nil && v.evidence.at <= e.at) {
		return
	}
	v.place, v.run = place, event.Run
	v.state, v.final = event.State, event.Final
	if e.kind == kindEvent {
		v.evidence = e
	}
}

// countDuplicates returns how many times a gateway accepted the notification again within a run. An outcome that was published
// twice because its acknowledgement was lost has the same time both times, and counts once.
func countDuplicates(es []entry) int {
	var sent []*entry
	for i := range es {
		if e := &es[i]; e.kind == kindEvent && !e.is(isLate) && e.is(isOutcome) && states[e.state] == notify.StateSent {
			sent = append(sent, e)
		}
	}
	if len(sent) < 2 {
		return 0
	}
	slices.SortFunc(sent, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.at, b.at)) })
	n := 0
	for i, e := range sent[1:] {
		if before := sent[i]; e.run == before.run && e.at != before.at {
			n++
		}
	}
	return n
}
