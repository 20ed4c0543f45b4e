package producer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// item is a notification on the way to its answer: once it has been submitted it has that, or a failure.
type item struct {
	n   *notify.Notification
	key string // its idempotency key; empty: none

	claim   notify.Claim
	granted bool // the claim is: it has to be settled
	first   bool
	like    *item // one before it in its batch, with the same key

	ownID     bool // the caller has given it an id
	idClaim   notify.IDClaim
	idClaimed bool

	answer   *accepted
	failure  error
	repeated bool // the answer is that of an earlier request
}

// ended reports whether nothing is to be done for i any more.
func (i *item) ended() bool { return i.answer != nil || i.failure != nil }

// submit brings all items that have not failed yet to their end, those under an idempotency key only as their key allows.
//
// A row of the key is there before the first publishing and keeps the id: whoever repeats a request that went wrong after
// that publishes under the same id, by which workers know the second copy.
func (s *Server) submit(x *exchange, items []*item) {
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Dispatch)
	defer cancel()
	for _, i := range items {
		i.ownID = i.n != nil && i.n.ID != ""
	}
	s.claim(ctx, items)
	if err := s.claimIDs(ctx, items); err != nil {
		x.log(zap.NamedError("ids_unchecked", err))
	}
	s.dispatch(ctx, items)
	if err := s.releaseIDs(context.WithoutCancel(ctx), items); err != nil {
		x.log(zap.NamedError("ids_unreleased", err)) // each stays with the content that was refused, until its claim is too old
	}
	if err := s.settle(context.WithoutCancel(ctx), items); err != nil {
		// What was published is durable. Whoever repeats it publishes it again, under the same id.
		x.log(zap.NamedError("unsettled", err))
	}
	for _, i := range items {
		if i.like != nil {
			i.answer, i.failure, i.repeated = i.like.answer, i.like.failure, i.like.answer != nil
		}
	}
}

// dispatch publishes, in order.
func (s *Server) dispatch(ctx context.Context, items []*item) {
	due := make([]*item, 0, len(items))
	ns := make([]*notify.Notification, 0, len(items))
	for _, i := range items {
		if !i.ended() && i.like == nil {
			due, ns = append(due, i), append(ns, i.n)
		}
	}
	if len(due) == 0 {
		return
	}
	now := time.Now()
	jobs, errs := s.cfg.Dispatcher.Dispatch(ctx, now, ns)
	for d, i := range due {
		if errs[d] != nil {
			i.failure = undispatched(errs[d], i.n)
			continue
		}
		s.cfg.Metrics.accepted(jobs[d].Channel)
		i.answer = answerTo(jobs[d], now)
		i.answer.Drain = s.drainOf(jobs[d])
	}
}

// refused reports whether err says that nothing was published.
func refused(err error) bool {
	var p *problem
	if !errors.As(err, &p) {
		return false
	}
	switch p.Status {
	case http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusConflict:
		return true
	default:
		return false
	}
}
