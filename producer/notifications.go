package producer

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// accepted is the answer to a notification that became a job.
type accepted struct {
	ID         string         `json:"id" format:"uuid"`
	Channel    notify.Channel `json:"channel"`
	State      notify.State   `json:"state" enum:"queued,scheduled"`
	Lane       notify.Lane    `json:"lane"`
	AcceptedAt time.Time      `json:"accepted_at"`
	ExpiresAt  *time.Time     `json:"expires_at" doc:"No attempt starts later."`
	Reference  string         `json:"reference,omitempty"`
	Warnings   []string       `json:"warnings" nullable:"false"`
}

// accept makes the body a job and answers once that is durable.
func (s *Server) accept(x *exchange) error {
	if len(x.r.Header.Values("Idempotency-Key")) > 0 {
		return refuse(codeNotSupportedYet, "leave the header Idempotency-Key out: it is not supported yet")
	}
	if err := onlyJSON(x.r.Header); err != nil {
		return err
	}
	raw, err := s.body(x)
	if err != nil {
		return err
	}
	n, err := read(raw)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.cfg.Timeouts.Dispatch)
	defer cancel()
	job, err := s.cfg.Dispatcher.Dispatch(ctx, n)
	if err != nil {
		return undispatched(err, n)
	}
	s.cfg.Metrics.accepted(job.Channel)
	x.log(zap.String("id", job.ID), zap.String("channel", string(job.Channel)))
	x.w.Header().Set("Location", "/v1/notifications/"+job.ID)
	now := time.Now().UTC()
	state := notify.StateQueued
	if job.SendAt != nil && job.SendAt.After(now) {
		state = notify.StateScheduled
	}
	return x.json(http.StatusAccepted, accepted{
		ID: job.ID, Channel: job.Channel, State: state, Lane: job.Lane, Reference: job.Reference,
		AcceptedAt: now.Truncate(time.Millisecond), ExpiresAt: job.ExpiresAt, Warnings: []string{},
	})
}

// onlyJSON refuses what a page in a browser can send to this host without being asked for leave.
func onlyJSON(h http.Header) error {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset, other := params["charset"]
	switch {
	case err != nil || kind != "application/json" || other && !strings.EqualFold(charset, "utf-8"):
		return refuse(codeUnsupportedMedia, "send Content-Type: application/json, in UTF-8").with("Accept", "application/json")
	case len(h.Values("Content-Encoding")) > 0:
		return refuse(codeUnsupportedMedia, "send the body as it is, without Content-Encoding").with("Accept-Encoding", "identity")
	default:
		return nil
	}
}

// body reads the request's body, and no more of it than is allowed.
func (s *Server) body(x *exchange) ([]byte, error) {
	most := s.maxBody.Load()
	tooLarge := refuse(codeTooLarge, "keep the body within "+strconv.FormatInt(most, 10)+" bytes")
	if x.r.ContentLength > most {
		return nil, tooLarge.with("Connection", "close") // what was announced is not read
	}
	raw, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, most))
	var exceeded *http.MaxBytesError
	switch {
	case err == nil:
		return raw, nil
	case errors.As(err, &exceeded):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(codeTimeout, "send the whole request within "+s.cfg.Timeouts.Read.String()).with("Connection", "close")
	default:
		return nil, refuse(codeMalformed, "send the whole body: it ended early").because(err)
	}
}

// read makes raw a notification, or a problem that names every fault of it.
func read(raw []byte) (*notify.Notification, error) {
	n, _, faults := validate.Decode(raw, true)
	if faults.Has(validate.Malformed) {
		return nil, refuse(codeMalformed, faults[0].Detail)
	}
	if len(faults) == 0 {
		return n, nil
	}
	if n != nil { // so that the caller need not mend these to hear of the others
		anyFrom := map[notify.Channel]bool{notify.ChannelEmail: true, notify.ChannelSMS: true}
		_, more := validate.Rules{DefaultFrom: anyFrom, RecipientTypes: notify.RecipientTypes()}.Check(n)
		for _, f := range append(more, validate.Times(n, time.Now())...) {
			if !slices.ContainsFunc(faults, func(known notify.Fault) bool { return known.Pointer == f.Pointer }) {
				faults = append(faults, f)
			}
		}
	}
	return nil, invalid(faults)
}

// busFailed also counts a deadline that the dispatcher passed on as it was.
func busFailed(err error) bool {
	return errors.Is(err, notify.ErrBusUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
