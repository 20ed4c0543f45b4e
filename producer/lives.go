package producer

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Lives knows what became of notifications. It may be called at once from many goroutines; each call ends with ctx. What it
// cannot say now is [notify.ErrStatusUnavailable].
type Lives interface {
	// Get gives one whole. A notification that was accepted before the call is found: only of one that the topics do not
	// hold either it says [notify.ErrUnknownNotification].
	Get(ctx context.Context, id string) (*notify.Life, error)
	// List gives the latest first, at most limit, from where cursor says; empty begins. Its error is [notify.ErrBadCursor]
	// for a cursor that it did not give.
	List(ctx context.Context, f notify.LifeFilter, cursor string, limit int) (notify.Lives, error)
}

// Waits knows for which gateways notifications wait. It answers at once, and may be called from many goroutines.
type Waits interface {
	// Mark sets Waiting of those notifications that wait because no gateway can be called for them.
	Mark(lives []notify.Life)
	// MarkLanes sets Waiting of those lanes of which jobs wait because no gateway can be called for them.
	MarkLanes(channels []notify.ChannelStats)
	// Gateways gives those that some process cannot call, or that an operator has paused, by name.
	Gateways() []notify.GatewayStatus
}

// getLife answers what became of one notification.
func (s *Server) getLife(x *exchange) error {
	id, ok := notify.ParseID(chi.URLParam(x.r, "id"))
	if !ok {
		return refuse(codeNotFound, "there is no notification of this id: give the UUID with which it was accepted")
	}
	if x.r.URL.RawQuery != "" {
		return refuse(codeInvalidParameter, "give no parameter: the id says it all")
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Status)
	defer cancel()
	life, err := s.cfg.Lives.Get(ctx, id)
	if err != nil {
		return unread(err)
	}
	x.log(zap.String("id", id))
	one := []notify.Life{*life}
	shown := &one[0]
	if shown.Sensitive || shown.Expunged {
		shown.Payload = nil
	}
	s.mark(one)
	return x.json(http.StatusOK, shown)
}

// listLives answers the latest notifications that the parameters choose.
func (s *Server) listLives(x *exchange) error {
	q := readQuery(x.r.URL.RawQuery)
	f := q.filter()
	f.Gateway = q.text("gateway", 255)
	f.Recipient = q.recipient(f.Channel)
	f.Since, f.Until = q.moment("since"), q.moment("until")
	cursor, limit := q.text("cursor", 1024), q.number("limit", defaultLimit, 1, mostLives)
	if err := q.refusal(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Status)
	defer cancel()
	lives, err := s.cfg.Lives.List(ctx, f, cursor, int(limit))
	if err != nil {
		return unread(err)
	}
	s.mark(lives.Data)
	return x.json(http.StatusOK, pageOf(lives.Data, lives.Next))
}

func (s *Server) mark(lives []notify.Life) {
	if s.cfg.Waits != nil {
		s.cfg.Waits.Mark(lives)
	}
}

// mostLives is the longest page of notifications.
const mostLives = 200

// unread is the problem of what the status store did not answer.
func unread(err error) error {
	switch {
	case errors.Is(err, notify.ErrUnknownNotification):
		return refuse(codeNotFound, "there is no notification of this id, or it is older than what is kept (status.retention)")
	case errors.Is(err, notify.ErrBadCursor):
		return refuse(codeInvalidParameter, "cursor: give the next_cursor of a page of this list as it is, or leave it out to begin")
	case errors.Is(err, notify.ErrStatusUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(codeStatusUnavailable, "ask again after a while: the status store cannot answer, or has not read far enough to").
			with("Retry-After", "1").because(err)
	default:
		return err
	}
}
