package audit

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// tally is what is open, by where it is.
type tally struct {
	lanes map[*opened]*Lane
	tiers map[*opened]*Tier
}

// count adds a notification to the report, and gives what is to be said of it.
func (a *audit) count(es []entry, v *verdict) error {
	a.report.Notifications++
	if v.again > 0 {
		a.report.DuplicatesSent += int64(v.again)
		if err := a.Found(Finding{What: FoundDuplicate, ID: spelt(es[0].id), Run: v.run, Times: v.again}); err != nil {
			return err
		}
	}
	switch v.class {
	case ended:
		return a.countEnded(v)
	case inFlight:
		a.report.InFlight++
		if v.at.kind == aJob { // else it was on its way while this was read
			a.countOpen(v, a.view.shelves[v.at.shelf])
		}
		return a.open(v, FoundInFlight)
	case waiting:
		a.report.Waiting++
		a.countOpen(v, a.view.lane(a.view.shelves[v.at.shelf].Channel, notify.Lanes()[v.at.state]))
		a.countTier(v, a.view.shelves[v.at.shelf])
		return a.open(v, FoundWaiting)
	case buried:
		a.report.DeadLetters++
	case faded:
		a.report.Faded++
	case lost:
		a.report.Lost++
		return a.Found(a.finding(v, FoundLost))
	case unknown:
		a.report.Unknown++
		return a.Found(a.finding(v, FoundUnknown))
	case hole:
		a.report.Unaccounted++
		f := a.finding(v, FoundUnaccounted)
		f.Why = v.at.why()
		return a.Found(f)
	}
	return nil
}

func (a *audit) countEnded(v *verdict) error {
	if v.state == notify.StateHeld {
		a.report.Held++
		return a.open(v, FoundHeld)
	}
	a.report.Ended[v.state]++
	if !v.final {
		a.report.AwaitingReceipt++
	}
	return nil
}

// countOpen takes note of one that is open in a lane.
func (a *audit) countOpen(v *verdict, lane *opened) {
	if lane == nil { // it waits for a lane that has no topic
		return
	}
	l := a.tally.lanes[lane]
	if l == nil {
		l = &Lane{Channel: lane.Channel, Lane: lane.Lane}
		a.tally.lanes[lane] = l
	}
	what := FoundInFlight
	if v.class == waiting {
		what = FoundWaiting
		l.Waiting++
	} else {
		l.InFlight++
	}
	if l.Oldest.AcceptedAt == nil || v.at.at < l.Oldest.AcceptedAt.UnixMilli() {
		l.Oldest = a.finding(v, what)
	}
}

func (a *audit) countTier(v *verdict, tier *opened) {
	due := time.UnixMilli(v.at.due).UTC()
	t := a.tally.tiers[tier]
	if t == nil {
		t = &Tier{Topic: tier.Topic, FirstDue: due}
		a.tally.tiers[tier] = t
	}
	t.Waiting++
	if due.Before(t.FirstDue) {
		t.FirstDue = due
	}
}

// close puts what was counted into the report, in the order of the shelves.
func (t *tally) close(a *audit) {
	for _, o := range a.view.shelves {
		if l := t.lanes[o]; l != nil {
			a.report.Lanes = append(a.report.Lanes, *l)
		}
		if l := t.tiers[o]; l != nil {
			a.report.Tiers = append(a.report.Tiers, *l)
		}
	}
}

// open gives what is open, to those who asked for it.
func (a *audit) open(v *verdict, what FindingKind) error {
	if !a.Open {
		return nil
	}
	return a.Found(a.finding(v, what))
}

// finding describes the record that the verdict rests on.
func (a *audit) finding(v *verdict, what FindingKind) Finding {
	e := v.at
	f := Finding{What: what, ID: spelt(e.id), Run: int(e.run), Step: int(e.step), Where: &notify.Origin{Partition: e.partition, Offset: e.offset}}
	if e.kind == anEvent || e.kind == aRedrive || e.kind == anUnknown {
		f.Where.Topic = a.Status
		return f
	}
	at := time.UnixMilli(e.at).UTC()
	if f.AcceptedAt = &at; e.shelf == noShelf {
		f.Where = nil
		return f
	}
	f.Where.Topic = a.view.shelves[e.shelf].Topic
	if what == FoundWaiting {
		due := time.UnixMilli(e.due).UTC()
		f.Due = &due
	}
	return f
}

// why says what is missing of a notification whose records lead to e and no further.
func (e *entry) why() Why {
	switch e.kind {
	case aJob:
		return NoOutcome
	case aWait:
		return LeftTier
	case aRedrive:
		return NoNextRun
	case aStored:
		if e.is(isInGap) {
			return InGap
		}
		return NoRecord
	default:
		return NoNextStep
	}
}
