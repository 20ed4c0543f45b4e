package producer

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// page is one page of a list.
type page[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"null: there is no next page"`
}

// pageOf makes data a page; next is empty where none follows.
func pageOf[T any](data []T, next string) page[T] {
	p := page[T]{Data: data, NextCursor: cursorOf(next)}
	if p.Data == nil {
		p.Data = []T{} // not null
	}
	return p
}

// cursorOf is next as answers have it.
func cursorOf(next string) *string {
	if next == "" {
		return nil
	}
	return &next
}

func (s *Server) listOutbox(x *exchange) error {
	if s.cfg.Outbox == nil {
		return noOutbox()
	}
	limit, err := limit(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	captured, err := s.cfg.Outbox.List(limit)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, pageOf(captured, ""))
}

// limit reads the one parameter that lists have; others would be ignored, and are refused.
func limit(query string) (int, error) {
	values, err := url.ParseQuery(query)
	if err == nil && len(values) == 0 {
		return defaultLimit, nil
	}
	n, notNumber := strconv.Atoi(values.Get("limit"))
	if err != nil || notNumber != nil || len(values) > 1 || len(values["limit"]) > 1 || n < 1 || n > maxLimit {
		return 0, refuse(codeInvalidParameter, "give no parameter but limit, a number from 1 to "+strconv.Itoa(maxLimit))
	}
	return n, nil
}

func (s *Server) getOutbox(x *exchange) error {
	if s.cfg.Outbox == nil {
		return noOutbox()
	}
	id, ok := notify.ParseID(chi.URLParam(x.r, "id"))
	if !ok {
		return notCaptured()
	}
	captured, err := s.cfg.Outbox.Get(id)
	if errors.Is(err, fs.ErrNotExist) {
		return notCaptured()
	}
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, captured)
}

func notCaptured() error {
	return refuse(codeNotFound, "no message of this id was captured, or it was removed to make room: see GET /v1/outbox")
}

func noOutbox() error {
	return refuse(codeNotFound, "nothing is captured here: there is no gateway of type capture")
}
