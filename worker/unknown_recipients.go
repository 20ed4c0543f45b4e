package worker

import (
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// misconfiguredAfter is the number of unknown recipients in a row after which the configuration of a gateway is in doubt.
const misconfiguredAfter = 10

// unknownRecipients counts the recipients that one gateway has called unknown since the last message that it accepted. The zero
// value is a gateway that has accepted nothing yet. Concurrent calls are safe.
type unknownRecipients struct {
	mu       sync.Mutex
	accepted bool
	inARow   int
}

func (u *unknownRecipients) onAccepted() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accepted = true
	u.inARow = 0
}

// onUnknown counts one unknown recipient. It reports whether the configuration of the gateway is in doubt, and whether this
// recipient completes the series, so that it is time to log an error.
func (u *unknownRecipients) onUnknown() (inDoubt, logNow bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inARow++
	return !u.accepted || u.inARow >= misconfiguredAfter, u.inARow == misconfiguredAfter
}

// mayBeMisconfigured reports whether the recipient of j may exist although every gateway has refused it. That is so if one of
// the gateways knows only the recipients of one app and environment, and has accepted nothing since its last refusals. Such a
// message becomes a dead letter.
func (w *Worker) mayBeMisconfigured(j *job, f *notify.Failure) bool {
	if !f.Gone || !f.Next {
		return false
	}
	misconfigured := false
	for _, o := range w.cfg.Route.Outlets {
		if !slices.ContainsFunc(j.tries, func(t notify.Try) bool { return t.Gateway == o.Name && isUnknownRecipient(t) }) {
			continue
		}
		inDoubt, logNow := o.unknown.onUnknown()
		if logNow {
			w.log.Error("the gateway knows none of the last devices: their pushes become dead letters", zap.String("gateway", o.Name),
				zap.Int("devices", misconfiguredAfter), zap.String("code", notify.Clip(f.Code, 64)), zap.String("remedy", f.Remedy))
		}
		misconfigured = misconfigured || inDoubt
	}
	return misconfigured
}

func isUnknownRecipient(t notify.Try) bool {
	return t.Verdict == notify.Permanent && t.Reason == notify.ReasonBadRecipient
}
