package dispatcher

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Lifetimes says how long a notification is worth delivering, by lane, counted from when it is to be sent. A lane that is
// missing has the contract's: urgent an hour, normal a day, bulk three days.
type Lifetimes map[notify.Lane]time.Duration

// Of gives the lifetime of a lane.
func (l Lifetimes) Of(lane notify.Lane) time.Duration {
	if d := l[lane]; d > 0 {
		return d
	}
	switch lane {
	case notify.LaneUrgent:
		return time.Hour
	case notify.LaneBulk:
		return 72 * time.Hour
	default:
		return 24 * time.Hour
	}
}
