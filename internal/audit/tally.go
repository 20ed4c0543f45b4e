package audit

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// tally counts the open notifications by lane and by delay tier.
type tally struct {
	lanes map[*topicState]*Lane
	tiers map[*topicState]*Tier
}

// count adds a notification to the report, and reports its findings.
func (a *audit) count(es []entry, v *verdict) error {
	a.report.Notifications++
	if v.duplicates > 0 {
		a.report.DuplicatesSent += int64(v.duplicates)
		if err := a.Found(Finding{What: FoundDuplicate, ID: formatID(es[0].id), Run: v.run, Times: v.duplicates}); err != nil {
			return err
		}
	}
	switch v.class {
	case ended:
		return a.countEnded(v)
	case inFlight:
		a.report.InFlight++
		if v.evidence.kind == kindJob { // else it moved while the topics were read
			a.countOpen(v, a.snapshot.topics[v.evidence.topic])
		}
		return a.reportOpen(v, FoundInFlight)
	case waiting:
		a.report.Waiting++
		a.countOpen(v, a.snapshot.laneTopic(a.snapshot.topics[v.evidence.topic].Channel, notify.Lanes()[v.evidence.state]))
		a.countTier(v, a.snapshot.topics[v.evidence.topic])
		return a.reportOpen(v, FoundWaiting)
	case deadLetter:
		a.report.DeadLetters++
	case unknowable:
		a.report.Unknowable++
	case lost:
		a.report.Lost++
		return a.Found(a.newFinding(v, FoundLost))
	case unknown:
		a.report.Unknown++
		return a.Found(a.newFinding(v, FoundUnknown))
	case missing:
		a.report.Unaccounted++
		f := a.newFinding(v, FoundUnaccounted)
		f.Why = v.evidence.why()
		return a.Found(f)
	}
	return nil
}

func (a *audit) countEnded(v *verdict) error {
	if v.state == notify.StateHeld {
		a.report.Held++
		return a.reportOpen(v, FoundHeld)
	}
	a.report.Ended[v.state]++
	if !v.final {
		a.report.AwaitingReceipt++
	}
	return nil
}

// countOpen counts an open notification of a lane.
func (a *audit) countOpen(v *verdict, lane *topicState) {
	if lane == nil { // it is delayed for a lane that has no topic
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
	if l.Oldest.AcceptedAt == nil || v.evidence.at < l.Oldest.AcceptedAt.UnixMilli() {
		l.Oldest = a.newFinding(v, what)
	}
}

func (a *audit) countTier(v *verdict, tier *topicState) {
	due := time.UnixMilli(v.evidence.due).UTC()
	t := a.tally.tiers[tier]
	if t == nil {
		t = &Tier{Topic: tier.Name, FirstDue: due}
		a.tally.tiers[tier] = t
	}
	t.Waiting++
	if due.Before(t.FirstDue) {
		t.FirstDue = due
	}
}

// addTo adds the counts to the report, in the order of the topics.
func (t *tally) addTo(a *audit) {
	for _, topic := range a.snapshot.topics {
		if l := t.lanes[topic]; l != nil {
			a.report.Lanes = append(a.report.Lanes, *l)
		}
		if l := t.tiers[topic]; l != nil {
			a.report.Tiers = append(a.report.Tiers, *l)
		}
	}
}

// reportOpen reports an open notification if ListOpen is set.
func (a *audit) reportOpen(v *verdict, what FindingKind) error {
	if !a.ListOpen {
		return nil
	}
	return a.Found(a.newFinding(v, what))
}

// newFinding returns a finding about the evidence of a verdict.
func (a *audit) newFinding(v *verdict, what FindingKind) Finding {
	e := v.evidence
	f := Finding{What: what, ID: formatID(e.id), Run: int(e.run), Step: int(e.step), Where: &notify.Origin{Partition: e.partition, Offset: e.offset}}
	if e.kind == kindEvent || e.kind == kindRedrive || e.kind == kindUnknownNote {
		f.Where.Topic = a.Status
		return f
	}
	at := time.UnixMilli(e.at).UTC()
	f.AcceptedAt = &at
	if e.topic == noTopic {
		f.Where = nil
		return f
	}
	f.Where.Topic = a.snapshot.topics[e.topic].Name
	if what == FoundWaiting {
		due := time.UnixMilli(e.due).UTC()
		f.Due = &due
	}
	return f
}

// why returns what is missing, for an entry without a successor.
func (e *entry) why() Why {
	switch e.kind {
	case kindJob:
		return NoOutcome
	case kindDelayed:
		return LeftTier
	case kindRedrive:
		return NoNextRun
	case kindStored:
		if e.is(isInGap) {
			return InGap
		}
		return NoRecord
	default:
		return NoNextStep
	}
}
