// Package producer is the HTTP Producer API: what applications call to have something sent.
//
// It alone knows the routes, the API keys, and which status and which words a caller gets for which fault: one table. It
// answers 202 only after its [Dispatcher] has said that the job is durable, and repeats nothing itself: what the bus does
// not take in time is a 503 that the caller repeats. Nothing that was submitted comes back in a problem or goes into the
// log. It keeps nothing, so that ending it loses nothing but requests that have not been answered.
package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Dispatcher makes notifications jobs. It may be called at once from many goroutines.
type Dispatcher interface {
	// Dispatch validates ns, each for itself, and returns once those without an error are durable jobs that were accepted at
	// that time, with id, tenant, lane and expiry filled in. Jobs of one ordering key have the order of ns. It ends with ctx.
	// Its errors: [notify.Faults], [notify.ErrTooLarge], [notify.ErrChannelNotConfigured], [notify.ErrBusUnavailable], and a
	// [notify.Shedding].
	Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (jobs []*notify.Notification, errs []error)
}

// Canceller keeps a notification from being sent, as far as it has not been. It may be called at once from many goroutines.
type Canceller interface {
	// Cancel returns once that is durable: when it was asked for, and from when on no attempt starts. It ends with ctx. Its
	// error is [notify.ErrBusUnavailable]; the notification may be cancelled all the same.
	Cancel(ctx context.Context, id string) (requested, effective time.Time, err error)
}

// Outbox holds what was captured instead of sent. It may be called at once from many goroutines.
type Outbox interface {
	// List gives the latest first, at most limit, without content.
	List(limit int) ([]notify.Captured, error)
	// Get gives one with its content; its error is [io/fs.ErrNotExist] when there is none of that id.
	Get(id string) (notify.Captured, error)
}

// Config is what the API is made of.
type Config struct {
	Dispatcher     Dispatcher
	Idempotency    Idempotency // nil: requests with a key are refused, as while the store is away
	IDs            IDs         // nil: nobody knows whether an id stands for another notification
	Canceller      Canceller
	Outbox         Outbox // nil: nothing is captured here
	Lives          Lives
	Feed           Feed
	DeadLetters    DeadLetters
	Expunger       Expunger
	Drains         Drains
	Waits          Waits           // nil: nobody knows whether a gateway refuses calls
	Fed            <-chan struct{} // may say that Feed has more, so that streams have it at once; nil: they look often
	Receipts       Receipts        // nil: no gateway takes any
	Inbound        Inbound         // nil: no gateway takes any
	PublicHost     string          // the name by which providers call to bring receipts and texts; empty: they do not
	Keys           []Key           // none: only callers on this host, unless AllowAnonymous
	AllowAnonymous bool
	MaxBody        int64 // bytes of a request's body; 0 = 5 MiB

	Livez, Readyz, MetricsPage http.Handler // served without a key; nil ones are not served

	Log      *zap.Logger
	Metrics  *Metrics // nil counts nothing
	Timeouts Timeouts
}

// Timeouts bound what one caller can hold. Zero ones take the defaults.
type Timeouts struct {
	Header   time.Duration // for the request's head; 5s
	Read     time.Duration // for the whole request; 30s
	Idle     time.Duration // between two requests of a connection; 2m
	Dispatch time.Duration // for the bus to take a job; 4.5s, so that the caller knows within 5s
	Claim    time.Duration // for the status store to grant idempotency keys, and again to settle them; 2s
	Status   time.Duration // for the status store to answer; 5s
	Letters  time.Duration // for one request about dead letters; 20s
	Expunge  time.Duration // for one request to expunge; 20s
	Drain    time.Duration // for requests under way when the server ends; 10s
}

func (t Timeouts) orDefaults() Timeouts {
	return Timeouts{
		Header:   cmp.Or(t.Header, 5*time.Second),
		Read:     cmp.Or(t.Read, 30*time.Second),
		Idle:     cmp.Or(t.Idle, 2*time.Minute),
		Dispatch: cmp.Or(t.Dispatch, 4500*time.Millisecond),
		Claim:    cmp.Or(t.Claim, 2*time.Second),
		Status:   cmp.Or(t.Status, 5*time.Second),
		Letters:  cmp.Or(t.Letters, 20*time.Second),
		Expunge:  cmp.Or(t.Expunge, 20*time.Second),
		Drain:    cmp.Or(t.Drain, 10*time.Second),
	}
}

const (
	defaultMaxBody = 5 << 20
	maxHeader      = 32 << 10
)

// Server is the API.
type Server struct {
	cfg     Config
	keys    keyring
	latest  *latest // for the streams
	maxBody atomic.Int64
	router  http.Handler
	spec    []byte // of /openapi.json
}

// New makes a server; its errors are faults of the keys.
func New(cfg Config) (*Server, error) {
	keys, err := newKeyring(cfg.Keys)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, keys: keys, spec: OpenAPI()}
	if s.cfg.Log == nil {
		s.cfg.Log = zap.NewNop()
	}
	s.maxBody.Store(cmp.Or(cfg.MaxBody, defaultMaxBody))
	s.cfg.Timeouts = cfg.Timeouts.orDefaults()
	s.latest = newLatest(cfg.Feed, len(cfg.Keys), s.cfg.Log)
	s.router = s.newRouter()
	return s, nil
}

// LowerMaxBody lowers the largest body that is read, for topics that were found to take less. It never raises it.
func (s *Server) LowerMaxBody(bytes int64) {
	for {
		now := s.maxBody.Load()
		if bytes >= now || s.maxBody.CompareAndSwap(now, bytes) {
			return
		}
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.router.ServeHTTP(w, r) }

// Serve answers on l until ctx ends, then finishes what is under way. It closes l. An l that other hosts can reach is
// refused as [CheckListen] does.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := CheckListen(l.Addr().String(), len(s.cfg.Keys) > 0, s.cfg.AllowAnonymous); err != nil {
		l.Close()
		return err
	}
	t := s.cfg.Timeouts
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: t.Header, ReadTimeout: t.Read, IdleTimeout: t.Idle, MaxHeaderBytes: maxHeader,
		WriteTimeout: t.Read + max(t.Dispatch, t.Letters, t.Expunge) + 10*time.Second, // it runs from the end of the head
	}
	if errorLog, err := zap.NewStdLogAt(s.cfg.Log, zap.WarnLevel); err == nil {
		server.ErrorLog = errorLog
	}
	reading, stop := context.WithCancel(ctx)
	var streams sync.WaitGroup
	streams.Go(func() { s.latest.run(reading, s.cfg.Fed) })
	defer streams.Wait()
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		s.cfg.Log.Warn("api.drain", zap.String("reason", "requests were cut off: they outlasted the drain"), zap.Duration("drain", t.Drain))
		server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}
