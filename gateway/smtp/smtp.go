// Package smtp hands mail to a relay by RFC 5321, over connections that are kept.
//
// It alone knows the relay's protocol and what its replies mean, which it judges by their cause (cause.go). One Send is one
// transaction for recipient, cc and bcc together: all or nothing. Only a relay that takes fewer recipients at a time gets several
// (split.go). Up to the final dot a lost connection means that nothing was sent (transient); after it, only
// the relay knows (ambiguous). A reply decides by itself. Nothing is retried, but for one case: a kept connection that
// turns out to be dead before the relay has answered anything is replaced within the same try.
//
// Each step has a timeout of its own (RFC 5321 4.5.3.2). Until the relay has the mail, Send also keeps to the gateway's timeout, so that
// another gateway is asked soon; SendPatiently does not. The wait for the reply to the final dot may be long, and keeps its connection.
package smtp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var _ gateway.LongSender = (*Sender)(nil)

// Sender sends over one relay.
type Sender struct {
	relay relay
	from  string // of mail that names none; may be empty
	limit config.SMTP
	pool  *puddle.Pool[*connection]

	once   sync.Once
	closed chan struct{}
	reaper sync.WaitGroup
}

// New checks cfg and makes its sender; it connects to nothing yet. What cfg leaves zero has the documented default.
func New(name string, cfg config.SMTP, log *zap.Logger) (*Sender, error) {
	cfg = withDefaults(cfg)
	r, err := newRelay(name, cfg, log)
	if err != nil {
		return nil, err
	}
	s := &Sender{relay: r, from: cfg.From, limit: cfg, closed: make(chan struct{})}
	s.pool, err = puddle.NewPool(&puddle.Config[*connection]{
		MaxSize: int32(cfg.Connections), //nolint:gosec // bounded by newRelay
		// Not connected yet: puddle would do that without the deadline of the Send that waits for it.
		Constructor: func(context.Context) (*connection, error) { return &connection{}, nil },
		Destructor:  (*connection).quit,
	})
	if err != nil {
		return nil, err
	}
	s.reaper.Go(s.reap)
	return s, nil
}

// Send hands m to the relay. Its receipt has the relay's queue id or, if it told none, the Message-ID.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.send(ctx, m, time.Now().Add(s.relay.timeouts.leave))
}

// SendPatiently is [gateway.LongSender]'s.
func (s *Sender) SendPatiently(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.send(ctx, m, time.Now().Add(s.relay.timeouts.patient()))
}

// send hands m to the relay. The relay must have it by early, and then has reply_timeout to say what becomes of it.
func (s *Sender) send(ctx context.Context, m *notify.Message, early time.Time) (notify.Receipt, error) {
	e, err := s.envelope(m)
	if err != nil {
		return notify.Receipt{}, err
	}
	if p := m.Parts; p != nil {
		p.Fields = e.fields
		if p.Apart() {
			return s.sendApart(ctx, e, early)
		}
	}
	for {
		kept, err := s.acquire(ctx, early)
		if err != nil {
			return notify.Receipt{}, err
		}
		answer, rest, lost := kept.Value().send(ctx, e, early)
		var warnings []string
		if lost == nil && len(rest) > 0 {
			answer, warnings, lost = s.split(ctx, kept.Value(), e, early)
		}
		s.release(kept)
		switch {
		case lost == nil:
			return notify.Receipt{ProviderID: providerID(answer, e), Warnings: warnings}, nil
		case lost.stale && ctx.Err() == nil && time.Now().Before(early):
			continue // it is gone from the pool: another kept one, or a new one
		default:
			return notify.Receipt{}, s.relay.judge(ctx, e, lost)
		}
	}
}

// Check connects and authenticates on a connection of its own. Then it names the gateway's own sender as sender and recipient
// of a mail, and resets: by default Postfix reports at RCPT that it refuses the client, its name or its sender. What the relay
// says of the recipient is no fault of the gateway.
func (s *Sender) Check(ctx context.Context) error {
	early := time.Now().Add(s.relay.timeouts.leave)
	var c connection
	defer c.quit()
	if err := s.relay.connect(ctx, &c, early); err != nil || s.from == "" {
		return err
	}
	e, err := s.probe()
	if err != nil {
		return err
	}
	refused := c.probe(ctx, e, early)
	if refused == nil {
		return nil
	}
	f := notify.Judge(s.relay.judge(ctx, e, refused))
	if refused.err == nil && refused.at == atRcpt && f.Verdict != notify.Unavailable && (f.Verdict != notify.Throttled || f.Works) {
		return nil
	}
	return f
}

// Close waits for what is being sent and says goodbye on every connection.
func (s *Sender) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.pool.Close()
	s.reaper.Wait()
	return nil
}

func (s *Sender) acquire(ctx context.Context, early time.Time) (*puddle.Resource[*connection], error) {
	waits, cancel := context.WithDeadline(ctx, early)
	defer cancel()
	for {
		kept, err := s.pool.Acquire(waits)
		switch {
		case errors.Is(err, puddle.ErrClosedPool):
			return nil, &notify.Failure{Verdict: notify.Transient, Reason: "the gateway is closed", Err: err}
		case err != nil:
			return nil, &notify.Failure{Verdict: notify.Transient, Reason: "no connection to the relay became free in time", Err: err}
		case s.tired(kept):
			kept.Destroy()
			continue
		}
		if c := kept.Value(); !c.ready() {
			if err := s.relay.connect(ctx, c, early); err != nil {
				kept.Destroy()
				return nil, err
			}
		}
		return kept, nil
	}
}

func (s *Sender) release(kept *puddle.Resource[*connection]) {
	if kept.Value().broken || time.Since(kept.CreationTime()) > s.limit.ConnectionLifetime {
		kept.Destroy()
		return
	}
	kept.Release()
}

// tired: relays drop what is idle, and say so only when it is used again.
func (s *Sender) tired(kept *puddle.Resource[*connection]) bool {
	return kept.IdleDuration() > s.limit.IdleTimeout
}

// reap closes idle connections on time, also when nothing is sent any more.
func (s *Sender) reap() {
	tick := time.NewTicker(max(s.limit.IdleTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-tick.C:
		}
		for _, kept := range s.pool.AcquireAllIdle() {
			if s.tired(kept) {
				kept.Destroy()
			} else {
				kept.ReleaseUnused()
			}
		}
	}
}
