package drain

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Dispatcher makes notifications jobs, each with a job or an error in the same place.
type Dispatcher interface {
	Dispatch(ctx context.Context, ns []*notify.Notification) (jobs []*notify.Notification, errs []error)
}

// Guard is a dispatcher that does not get what is refused. It may be called at once from many goroutines.
type Guard struct {
	Next   Dispatcher
	Refuse func(notify.Channel, notify.Lane) *notify.Shedding // [Gauge.Refuse]
}

// Dispatch gives each notification that is refused a [notify.Shedding]; the others keep their order.
func (g Guard) Dispatch(ctx context.Context, ns []*notify.Notification) (jobs []*notify.Notification, errs []error) {
	jobs, errs = make([]*notify.Notification, len(ns)), make([]error, len(ns))
	var taken []*notify.Notification
	var at []int // the place in ns of each that is taken
	for i, n := range ns {
		if shed := g.Refuse(n.Channel, n.Lane); shed != nil {
			errs[i] = shed
			continue
		}
		taken, at = append(taken, n), append(at, i)
	}
	if len(taken) == 0 {
		return jobs, errs
	}
	some, failed := g.Next.Dispatch(ctx, taken)
	for t, i := range at {
		jobs[i], errs[i] = some[t], failed[t]
	}
	return jobs, errs
}
