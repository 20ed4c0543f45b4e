package audit

import (
	"cmp"
	"slices"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// class is what becomes of a notification in the accounting.
type class int

const (
	ended    class = iota // its run ended, or it is held: its state says how
	inFlight              // on its lane, not done
	waiting               // on the delay ladder
	buried                // a dead letter is all that tells
	faded                 // done, and too old for anybody to know more
	lost                  // an event says that its record is gone and no result is known
	unknown               // unaccounted for, or faded, and an event has the note unknown
	hole
)

// verdict is what the records of a notification add up to.
type verdict struct {
	class
	at    *entry // the record that says so: the open one, the letter, or what leads nowhere; of what ended, its event
	stage        // how far it has come, or should have
	state notify.State
	final bool
	place int64 // of the state, as the status store orders them; -1 where no record gives one
	run   int   // of the state
	again int   // how often a gateway accepted it besides the first time of each run
	first bool  // it was accepted in what was read

	nothing bool   // no record of it is accounted for: all are later
	noted   *entry // the note that it is missing
}

// judge reads all records of one notification. What is later than what is accounted for only shows that it is not lost.
//
// Everything that is done or decided asks for something: a job that is done for an outcome, an event that puts the job off
// for its next step, a redrive for the next run. Only the furthest of these counts, since each is met by whatever is later.
// It is met by an outcome of that step or a later one, by one that ends the run, or by a record of it that is not done.
func judge(es []entry) (v verdict) {
	v.place, v.nothing = -1, true
	reached, over := stage{}, false // as a worker remembers it: how far events say it came, and whether that run is over
	known, asked := false, false
	var letter *entry
	for i := range es {
		e := &es[i]
		if e.is(isLate) {
			continue
		}
		v.nothing = false
		v.first = v.first || e.is(isFirst)
		v.fold(e)
		if e.kind == anUnknown {
			v.noted = e
		}
		switch {
		case e.kind == anEvent && states[e.state] != notify.StateQueued:
			s, ends := e.stage(), states[e.state].Final()
			if !known || s.run > reached.run || s.run == reached.run && (ends && !over || ends == over && reached.before(s)) {
				known, reached, over = true, s, ends
			}
		case e.kind == aLetter && (letter == nil || letter.stage().before(e.stage())):
			letter = e
		}
		if s, ok := e.asks(); ok && (!asked || v.stage.before(s)) {
			asked, v.stage = true, s
		}
	}
	v.again = sentAgain(es)
	covered := known && (v.stage.run < reached.run || v.stage.run == reached.run && (over || !reached.before(v.stage)))
	switch {
	case covered && asked, known && !asked:
		if v.class = ended; v.state == notify.StateLost {
			v.class = lost
		}
	case !asked && letter != nil:
		v.class, v.at = buried, letter
	case !asked:
		v.class, v.at = unknown, v.noted
	default:
		v.missing(es, letter)
	}
	if v.noted != nil && (v.class == hole || v.class == faded) {
		v.class, v.at = unknown, cmp.Or(v.at, v.noted)
	}
	return v
}

// asks gives the step of which something is to be found.
func (e *entry) asks() (stage, bool) {
	switch {
	case e.kind == aRedrive:
		return stage{e.run + 1, 0}, true
	case e.kind == anEvent && states[e.state].Rank() == notify.StateRetrying.Rank():
		return stage{e.run, e.step + 1}, true
	case e.kind == aJob, e.kind == aWait, e.kind == aStored, e.kind == anEvent && states[e.state] == notify.StateQueued:
		return e.stage(), true
	default:
		return stage{}, false
	}
}

// missing says what there is of a step that no event covers.
func (v *verdict) missing(es []entry, letter *entry) {
	v.class = faded
	var gone *entry
	alive := false
	for i := range es {
		e := &es[i]
		alive = alive || e.is(isLate) && !e.stage().before(v.stage)
		s, ok := e.asks()
		if !ok || s != v.stage || e.is(isLate) {
			continue
		}
		record := e.kind == aJob || e.kind == aWait
		switch {
		case record && !e.is(isDone) && (v.class != inFlight):
			v.class, v.at = inFlight, e
			if e.kind == aWait {
				v.class = waiting
			}
		case v.class == inFlight || v.class == waiting:
		case !e.is(isFaded) && (gone == nil || e.kind < gone.kind):
			gone = e
		}
	}
	switch {
	case v.class != faded:
	case letter != nil && !letter.stage().before(v.stage) && (gone == nil || gone.kind != aJob):
		v.class, v.at = buried, letter
	case gone != nil && alive:
		v.class, v.at = inFlight, gone
		v.nothing = gone.kind == aStored // it was accepted, or put off, later
	case gone != nil:
		v.class, v.at = hole, gone
	}
}

// fold keeps the state with the highest place; of the same place the earliest counts.
func (v *verdict) fold(e *entry) {
	one := notify.Event{Run: int(e.run), Step: int(e.step), State: notify.StateQueued}
	switch {
	case e.kind == anEvent:
		one.State, one.Final = states[e.state], e.is(isFinal)
	case e.kind != aJob: // the store reads no others
		return
	}
	place := status.Place(&one)
	if place < v.place || place == v.place && (e.kind != anEvent || v.at != nil && v.at.at <= e.at) {
		return
	}
	v.place, v.state, v.final, v.run = place, one.State, one.Final, one.Run
	if e.kind == anEvent {
		v.at = e
	}
}

// sentAgain counts the times that a gateway accepted the notification besides the first of each run. An outcome that was
// published twice, since no acknowledgement came, bears the same time and is one.
func sentAgain(es []entry) (n int) {
	var sent []*entry
	for i := range es {
		if e := &es[i]; e.kind == anEvent && !e.is(isLate) && e.is(isOutcome) && states[e.state] == notify.StateSent {
			sent = append(sent, e)
		}
	}
	if len(sent) < 2 {
		return 0
	}
	slices.SortFunc(sent, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.at, b.at)) })
	for i, e := range sent[1:] {
		if before := sent[i]; e.run == before.run && e.at != before.at {
			n++
		}
	}
	return n
}
