package drain

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Dispatcher makes notifications jobs, each with a job or an error in the same place.
type Dispatcher interface {
	Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (jobs []*notify.Notification, errs []error)
}

// Guard is a dispatcher that does not get what is refused. It may be called at once from many goroutines.
type Guard struct {
	Next   Dispatcher
	Refuse func(notify.Channel, notify.Lane) *notify.Shedding // [Gauge.Refuse]
}

// Dispatch gives each notification that is refused a [notify.Shedding]; the others keep their order.
func (g Guard) Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (jobs []*notify.Notification, errs []error) {
	jobs, errs = make([]*notify.Notification, len(ns)), make([]error, len(ns))
	taken := make([]*notify.Notification, 0, len(ns))
	of := make([]int, 0, len(ns)) // the place in ns of each that is taken
	for i, n := range ns {
		if shed := g.Refuse(n.Channel, n.Lane); shed != nil {
			errs[i] = shed
			continue
		}
		taken, of = append(taken, n), append(of, i)
	}
	if len(taken) == 0 {
		return jobs, errs
	}
	some, failed := g.Next.Dispatch(ctx, at, taken)
	for t, i := range of {
		jobs[i], errs[i] = some[t], failed[t]
	}
	return jobs, errs
}
