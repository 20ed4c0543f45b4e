package producer

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// exchange is one request and what its log line will say.
type exchange struct {
	w         http.ResponseWriter
	r         *http.Request
	requestID string
	key       string // the id of the caller's; empty: it has none
	status    int
	fields    []zap.Field
	caused    bool // the cause of a problem is among them
}

// log adds to the request's one log line.
func (x *exchange) log(fs ...zap.Field) { x.fields = append(x.fields, fs...) }

// serve makes rt a handler: guard, handle, answer what went wrong, log.
func (s *Server) serve(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		x := &exchange{w: w, r: r, requestID: requestID(r), fields: make([]zap.Field, 0, 4)}
		w.Header().Set("X-Request-Id", x.requestID)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		defer func() {
			s.cfg.Metrics.responded(x.status)
			s.logLine(x, rt, time.Since(began))
		}()
		if err := s.guarded(x, rt); err != nil {
			x.fail(err)
		}
	}
}

// guarded turns a panic into an error: it is a fault of ours, and not of the other requests.
func (s *Server) guarded(x *exchange, rt route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T\n%s", p, debug.Stack()) // not its text, which may hold what was submitted
		}
	}()
	if err := s.admit(x, rt); err != nil {
		return err
	}
	return rt.handle(s, x)
}

// fail answers with the problem that err is.
func (x *exchange) fail(err error) {
	p := x.problemOf(err)
	if x.status != 0 {
		return // the answer has begun
	}
	x.log(zap.String("code", string(p.Code)))
	for name, value := range p.headers {
		x.w.Header().Set(name, value)
	}
	_ = x.write(p.Status, "application/problem+json", p) // it holds nothing that JSON cannot
}

// problemOf is err as the caller sees it. Its cause goes into the log; of several, as a batch has them, the first.
func (x *exchange) problemOf(err error) *problem {
	var p *problem
	cause := err
	if errors.As(err, &p) {
		cause = p.cause
	} else {
		p = refuse(codeInternal, "this is a fault of the server: its log says more under the request id")
	}
	if cause != nil && !x.caused {
		x.caused = true
		x.log(zap.NamedError("cause", cause))
	}
	answer := *p
	answer.RequestID = x.requestID
	return &answer
}

func (x *exchange) json(status int, v any) error { return x.write(status, "application/json", v) }

func (x *exchange) write(status int, contentType string, v any) error {
	if h, ok := v.(handwritten); ok {
		scratch := answers.Get().(*[]byte)
		body, ok := h.appendJSON((*scratch)[:0])
		if ok {
			x.bytes(status, contentType, body)
		}
		if *scratch = body; cap(body) <= maxKept {
			answers.Put(scratch)
		}
		if ok {
			return nil
		}
	}
	body, err := encodeJSON(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	x.bytes(status, contentType, body)
	return nil
}

// answers keeps buffers in which answers are written, none larger than maxKept.
var answers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }} //nolint:gochecknoglobals // a cache

const maxKept = 64 << 10

func (x *exchange) bytes(status int, contentType string, body []byte) {
	x.w.Header().Set("Content-Type", contentType)
	x.status = status
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a caller that has left cannot be told so
}

func (s *Server) logLine(x *exchange, rt route, took time.Duration) {
	level := zapcore.InfoLevel
	switch {
	case x.status == http.StatusInternalServerError:
		level = zapcore.ErrorLevel
	case x.status >= 500:
		level = zapcore.WarnLevel
	case rt.scope != ScopeSend:
		level = zapcore.DebugLevel
	}
	if entry := s.cfg.Log.Check(level, "api.request"); entry != nil {
		path := rt.Path // the route, since what was asked for may hold anything
		if path == "" {
			path = "none"
		}
		fields := append(make([]zap.Field, 0, 5+len(x.fields)),
			zap.String("request_id", x.requestID), zap.String("method", method(x.r)), zap.String("route", path),
			zap.Int("status", x.status), zap.Duration("took", took))
		entry.Write(append(fields, x.fields...)...)
	}
}

func method(r *http.Request) string {
	switch r.Method {
	case "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT":
		return r.Method
	default:
		return "other"
	}
}

// requestID is the caller's own, if it can stand in a log, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 64 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return notify.NewID()
	}
	return id
}
