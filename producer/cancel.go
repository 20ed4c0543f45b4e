package producer

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// cancelled is the answer to a cancellation.
type cancelled struct {
	ID          string    `json:"id" format:"uuid"`
	RequestedAt time.Time `json:"cancel_requested_at"`
	EffectiveAt time.Time `json:"effective_at" doc:"No attempt starts later."`
}

// cancel answers once the cancellation is durable. Whether there is such a notification, and whether it was sent, is not
// known here: the answer says from when on it will not be.
func (s *Server) cancel(x *exchange) error {
	id, ok := notify.ParseID(chi.URLParam(x.r, "id"))
	if !ok {
		return refuse(codeNotFound, "there is no notification of this id: give the UUID with which it was accepted")
	}
	if x.r.URL.RawQuery != "" || x.r.ContentLength != 0 {
		return refuse(codeInvalidParameter, "give no parameter and no body: the id says it all")
	}
	ctx, end := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Dispatch)
	defer end()
	requested, effective, err := s.cfg.Canceller.Cancel(ctx, id)
	if busFailed(err) {
		return refuse(codeBusUnavailable, "repeat it after a while: Kafka did not confirm it in time, and it may be in force all the same").
			with("Retry-After", "5").because(err)
	}
	if err != nil {
		return err
	}
	x.log(zap.String("id", id))
	return x.json(http.StatusOK, cancelled{
		ID: id, RequestedAt: requested.UTC().Truncate(time.Millisecond), EffectiveAt: effective.UTC().Truncate(time.Millisecond),
	})
}
