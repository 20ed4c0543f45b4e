package backlog

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Dispatcher publishes notifications as jobs. Both results have one entry for each notification: jobs[i] or errs[i] belongs to
// ns[i].
type Dispatcher interface {
	Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (jobs []*notify.Notification, errs []error)
}

// Shedder is a [Dispatcher] that refuses notifications while their lane sheds load, and passes the others to Next. It may be
// called concurrently.
type Shedder struct {
	Next   Dispatcher
	Refuse func(notify.Channel, notify.Lane) *notify.Shedding // [Monitor.Refuse]
}

// Dispatch returns a [notify.Shedding] as the error of each refused notification. It dispatches the others in their order.
func (s Shedder) Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (jobs []*notify.Notification, errs []error) {
	jobs, errs = make([]*notify.Notification, len(ns)), make([]error, len(ns))
	admitted := make([]*notify.Notification, 0, len(ns))
	index := make([]int, 0, len(ns)) // index in ns of each admitted notification
	for i, n := range ns {
		if shed := s.Refuse(n.Channel, n.Lane); shed != nil {
			errs[i] = shed
			continue
		}
		admitted = append(admitted, n)
		index = append(index, i)
	}
	if len(admitted) == 0 {
		return jobs, errs
	}
	admittedJobs, admittedErrs := s.Next.Dispatch(ctx, at, admitted)
	for k, i := range index {
		jobs[i], errs[i] = admittedJobs[k], admittedErrs[k]
	}
	return jobs, errs
}
