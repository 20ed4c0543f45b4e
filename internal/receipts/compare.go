package receipts

import (
	"cmp"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// compare returns the result of a report for a notification. A held or lost notification is in doubt, and the report resolves
// the doubt. A delivered notification may still bounce: a mail server that has accepted a message may return it later. A
// bounced notification stays bounced.
func compare(life *notify.Life, gateway string, report notify.Report) (string, error) {
	run := report.Run
	if run == notify.AnyRun {
		run = life.Run
	}
	switch {
	case run < life.Run:
		return Late, nil
	case run > life.Run:
		return "", notify.ErrEarly
	case life.State == notify.StateBounced, life.State == notify.StateDelivered && report.State != notify.StateBounced:
		return Repeated, nil
	case life.State == notify.StateDelivered || life.State == notify.StateSent || life.State == notify.StateHeld || life.State == notify.StateLost:
		if !sentBy(life, gateway, report) {
			return "", notify.ErrUnknownNotification
		}
		return Recorded, nil
	case life.State.Final():
		return Late, nil
	case life.State == notify.StateRetrying && report.State == notify.StateDelivered && hasTry(life, gateway, notify.Ambiguous, notify.Accepted):
		return Resolved, nil
	default:
		return "", notify.ErrEarly
	}
}

// isForeign reports whether a report of that gateway cannot be about the notification. After the end of a run, the calls of the
// run are known, and the gateway has to be among them. Before the end, a call may be in flight at every gateway of the
// channel's route.
func (h *Handler) isForeign(life *notify.Life, gateway string, report notify.Report) bool {
	hasTries := slices.ContainsFunc(life.Timeline, func(e notify.Event) bool { return len(e.Tries) > 0 })
	inProgress := life.State.Rank() <= notify.StateRetrying.Rank() || report.Run > life.Run
	switch {
	case life.Gateway == gateway || hasTry(life, gateway, notify.Ambiguous, notify.Accepted):
		return false
	case inProgress || life.Gateway == "" && !hasTries:
		return h.Delivers != nil && !h.Delivers(gateway, life.Channel)
	default:
		return true
	}
}

// hasTry reports whether the timeline has a try at that gateway with one of the verdicts.
func hasTry(life *notify.Life, gateway string, verdicts ...notify.Verdict) bool {
	return slices.ContainsFunc(life.Timeline, func(e notify.Event) bool {
		return slices.ContainsFunc(e.Tries, func(t notify.Try) bool { return t.Gateway == gateway && slices.Contains(verdicts, t.Verdict) })
	})
}

// sentBy reports whether that gateway sent the notification by the try of the report. A provider cannot report on messages that
// another provider sent. Of two tries with different results, only the try that the worker recorded as the sending one counts.
func sentBy(life *notify.Life, gateway string, report notify.Report) bool {
	if life.State == notify.StateLost && life.Gateway == "" { // no other record of a try exists, and the report is signed
		return true
	}
	sameMessage := life.ProviderID == "" || report.ProviderID == "" || life.ProviderID == report.ProviderID
	return life.Gateway == gateway && sameMessage
}

// newEvent returns the event of a report. Its time is at least that of the notification's last change, whatever the provider's
// clock says, so that the event follows that change in the timeline.
func newEvent(life *notify.Life, gateway string, report notify.Report, now time.Time) notify.Event {
	at := report.At
	if at.IsZero() || at.After(now) {
		at = now
	}
	if at.Before(life.UpdatedAt) {
		at = life.UpdatedAt
	}
	return notify.Event{
		NotificationID: life.ID, Run: life.Run, Step: life.Step, Attempt: life.Attempt, State: report.State, At: at,
		Tenant: life.Tenant, Channel: life.Channel, Lane: life.Lane, Reference: life.Reference, Simulated: life.Simulated,
		Gateway: gateway, Code: report.Code, Reason: report.Reason,
		ProviderID: notify.Clip(cmp.Or(life.ProviderID, report.ProviderID), 255),
	}
}
