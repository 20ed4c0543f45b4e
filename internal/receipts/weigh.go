package receipts

import (
	"cmp"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// weigh says what a report is to a notification. One that was held or lost was in doubt, which the report ends. A delivered one may
// still bounce: a mail server that has accepted a message may return it later. A bounced one stays bounced.
func weigh(life *notify.Life, gateway string, said notify.Report) (result string, err error) {
	run := said.Run
	if run == notify.AnyRun {
		run = life.Run
	}
	switch {
	case run < life.Run:
		return Late, nil
	case run > life.Run:
		return "", notify.ErrEarly
	case life.State == notify.StateBounced, life.State == notify.StateDelivered && said.State != notify.StateBounced:
		return Repeated, nil
	case life.State == notify.StateDelivered || life.State == notify.StateSent || life.State == notify.StateHeld || life.State == notify.StateLost:
		if !tells(life, gateway, said) {
			return "", notify.ErrUnknownNotification
		}
		return Recorded, nil
	case life.State.Final():
		return Late, nil
	case life.State == notify.StateRetrying && said.State == notify.StateDelivered && called(life, gateway, notify.Ambiguous, notify.Accepted):
		return Resolved, nil
	default:
		return "", notify.ErrEarly
	}
}

// foreign reports whether a report of that gateway cannot be about the notification. Once a run is over, its calls are known: the
// gateway has to be among them. Before, a call may be under way at every gateway of the channel's route.
func (d *Desk) foreign(life *notify.Life, gateway string, said notify.Report) bool {
	tried := slices.ContainsFunc(life.Timeline, func(e notify.Event) bool { return len(e.Tries) > 0 })
	underWay := life.State.Rank() <= notify.StateRetrying.Rank() || said.Run > life.Run
	switch {
	case life.Gateway == gateway || called(life, gateway, notify.Ambiguous, notify.Accepted):
		return false
	case underWay || life.Gateway == "" && !tried:
		return d.Delivers != nil && !d.Delivers(gateway, life.Channel)
	default:
		return true
	}
}

// called reports whether a try of the timeline at that gateway has one of the verdicts.
func called(life *notify.Life, gateway string, verdicts ...notify.Verdict) bool {
	return slices.ContainsFunc(life.Timeline, func(e notify.Event) bool {
		return slices.ContainsFunc(e.Tries, func(t notify.Try) bool { return t.Gateway == gateway && slices.Contains(verdicts, t.Verdict) })
	})
}

// tells reports whether that gateway sent the notification by the try of which it speaks: a provider has no say about what others
// sent, and of two tries whose fates differ the one counts that the engine took for the sending one.
func tells(life *notify.Life, gateway string, said notify.Report) bool {
	if life.State == notify.StateLost && life.Gateway == "" { // nobody else knows of a try, and the report is signed
		return true
	}
	same := life.ProviderID == "" || said.ProviderID == "" || life.ProviderID == said.ProviderID
	return life.Gateway == gateway && same
}

// event is what a report makes known. In the timeline it follows what it is about, whatever the provider's clock says.
func event(life *notify.Life, gateway string, said notify.Report, now time.Time) notify.Event {
	at := said.At
	if at.IsZero() || at.After(now) {
		at = now
	}
	if at.Before(life.UpdatedAt) {
		at = life.UpdatedAt
	}
	return notify.Event{
		NotificationID: life.ID, Run: life.Run, Step: life.Step, Attempt: life.Attempt, State: said.State, At: at,
		Tenant: life.Tenant, Channel: life.Channel, Lane: life.Lane, Reference: life.Reference, Simulated: life.Simulated,
		Gateway: gateway, Code: said.Code, Reason: said.Reason,
		ProviderID: notify.Clip(cmp.Or(life.ProviderID, said.ProviderID), 255),
	}
}
