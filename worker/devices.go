package worker

import (
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// doubtAfter is the number of recipients in a row that a gateway does not know before its configuration is in doubt.
const doubtAfter = 10

// devices counts the recipients that one gateway does not know, since the last message that it accepted. The zero value is a
// gateway that has accepted nothing yet. Its methods may be called at once from many goroutines.
type devices struct {
	mu       sync.Mutex
	accepted bool
	unknown  int
}

func (d *devices) accept() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted, d.unknown = true, 0
}

// miss counts one more. It reports whether the gateway itself is in doubt, and whether the series has just become long enough
// to tell an operator.
func (d *devices) miss() (doubtful, tell bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unknown++
	return !d.accepted || d.unknown >= doubtAfter, d.unknown == doubtAfter
}

// doubtful reports whether the recipient of j may be good although every gateway has refused it: one of them knows only the
// recipients of one app and environment, and has accepted nothing since it last refused one. The message is then kept as a dead
// letter.
func (w *Worker) doubtful(j *job, f *notify.Failure) bool {
	if !f.Gone || !f.Next {
		return false
	}
	doubtful := false
	for _, o := range w.cfg.Route.Outlets {
		if !slices.ContainsFunc(j.tries, func(t notify.Try) bool { return t.Gateway == o.Name && unknownTo(t) }) {
			continue
		}
		doubt, tell := o.devices.miss()
		if tell {
			w.log.Error("the gateway knows none of the last devices: their pushes become dead letters", zap.String("gateway", o.Name),
				zap.Int("devices", doubtAfter), zap.String("code", notify.Clip(f.Code, 64)), zap.String("remedy", f.Remedy))
		}
		doubtful = doubtful || doubt
	}
	return doubtful
}

func unknownTo(t notify.Try) bool {
	return t.Verdict == notify.Permanent && t.Reason == notify.ReasonBadRecipient
}
