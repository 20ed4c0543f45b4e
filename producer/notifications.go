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
	Drain      *notify.Drain  `json:"drain,omitempty" doc:"How its lane empties, as it was measured last; absent while that is not known."`
}

// accept makes the body a job and answers once that is durable.
func (s *Server) accept(x *exchange) error {
	key, err := idempotencyKey(x.r.Header)
	if err != nil {
		return err
	}
	raw, err := s.body(x, s.maxBody.Load())
	if err != nil {
		return err
	}
	n, _, faults := validate.Decode(raw, true)
	if err := understood(n, faults, key != ""); err != nil {
		return err
	}
	i := &item{n: n, key: key}
	s.submit(x, []*item{i})
	if i.failure != nil {
		return i.failure
	}
	x.log(zap.String("id", i.answer.ID), zap.String("channel", string(i.answer.Channel)))
	x.w.Header().Set("Location", "/v1/notifications/"+i.answer.ID)
	if i.repeated {
		x.log(zap.Bool("repeated", true))
		x.w.Header().Set("Idempotency-Replayed", "true")
	}
	return x.json(http.StatusAccepted, i.answer)
}

// answerTo is the answer to a notification that became a job at that time.
func answerTo(job *notify.Notification, at time.Time) *accepted {
	state := notify.StateQueued
	if job.SendAt != nil && job.SendAt.After(at) {
		state = notify.StateScheduled
	}
	return &accepted{
		ID: job.ID, Channel: job.Channel, State: state, Lane: job.Lane, Reference: job.Reference,
		AcceptedAt: at.UTC().Truncate(time.Millisecond), ExpiresAt: job.ExpiresAt, Warnings: append([]string{}, validate.Warnings(job)...),
	}
}

// onlyJSON refuses what a page in a browser can send to this host without being asked for leave.
func onlyJSON(h http.Header) error {
	contentType := h.Get("Content-Type")
	if contentType == "application/json" && len(h["Content-Encoding"]) == 0 { // what most callers send
		return nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
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

// body reads the request's body, JSON by what it says of itself, and no more of it than most bytes.
func (s *Server) body(x *exchange, most int64) ([]byte, error) {
	if err := onlyJSON(x.r.Header); err != nil {
		return nil, err
	}
	tooLarge := func() *problem {
		return refuse(codeTooLarge, "keep the body within "+strconv.FormatInt(most, 10)+" bytes")
	}
	if x.r.ContentLength > most {
		return nil, tooLarge().with("Connection", "close") // what was announced is not read
	}
	raw, err := readAll(http.MaxBytesReader(x.w, x.r.Body, most), x.r.ContentLength)
	var exceeded *http.MaxBytesError
	switch {
	case err == nil:
		return raw, nil
	case errors.As(err, &exceeded):
		return nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(codeTimeout, "send the whole request within "+s.cfg.Timeouts.Read.String()).with("Connection", "close")
	default:
		return nil, refuse(codeMalformed, "send the whole body: it ended early").because(err)
	}
}

// maxAnnounced bounds the memory that is set aside for a body of which only the length has come.
const maxAnnounced = 64 << 10

// readAll is [io.ReadAll] for a body of the announced length; -1: none was announced. It allocates a small body once.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	if announced < 0 || announced > maxAnnounced {
		return io.ReadAll(r)
	}
	body := make([]byte, 0, announced+1) // a byte more, so that the end is found without growing
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return body, err
		case len(body) == cap(body): // longer than announced, which net/http does not let through
			body = append(body, 0)[:len(body)]
		}
	}
}

// understood is nil for a notification that was read without a fault, else a problem that names all that can be found.
// Thorough also looks for faults that the dispatcher would find: whatever is claimed for n shall be by a sound one, filled in.
// It asks for none that depend on the time: a request that is repeated may have become too late.
func understood(n *notify.Notification, faults notify.Faults, thorough bool) error {
	if faults.Has(validate.Malformed) {
		return refuse(codeMalformed, faults[0].Detail)
	}
	if n != nil && (thorough || len(faults) > 0) {
		anyFrom := map[notify.Channel]bool{notify.ChannelEmail: true, notify.ChannelSMS: true}
		_, more := validate.Rules{DefaultFrom: anyFrom, RecipientTypes: notify.RecipientTypes()}.Check(n)
		if len(faults)+len(more) > 0 { // so that the caller need not mend these to hear of the others
			more = append(more, validate.Times(n, time.Now())...)
		}
		for _, f := range more {
			if !slices.ContainsFunc(faults, func(known notify.Fault) bool { return known.Pointer == f.Pointer }) {
				faults = append(faults, f)
			}
		}
	}
	if len(faults) > 0 {
		return invalid(faults)
	}
	return nil
}

// busFailed also counts a deadline that the dispatcher passed on as it was.
func busFailed(err error) bool {
	return errors.Is(err, notify.ErrBusUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
