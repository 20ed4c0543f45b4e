// Package smtp sends e-mail through a relay by SMTP (RFC 5321), over a pool of connections.
//
// Only this package knows the relay's protocol and the meaning of its replies, which it judges by their cause (cause.go). One Send
// is one transaction for recipient, cc and bcc together: all or nothing. If a relay accepts only a few recipients at a time, Send
// makes several transactions (split.go).
//
// Failure policy: if the connection is lost before the final dot, nothing was sent (transient). After the final dot only the relay
// knows (ambiguous). A reply always decides. Nothing is retried, with one exception: a pooled connection that turns out to be dead
// before the relay has answered anything is replaced within the same try.
//
// Each step has its own timeout (RFC 5321 4.5.3.2). Until the relay has the mail, Send also keeps to the gateway's timeout, so that
// another gateway is called soon; SendPatiently does not. The wait for the reply to the final dot may be long, and occupies its
// connection.
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

// Sender sends mail through one relay.
type Sender struct {
	relay relay
	from  string // default sender; may be empty
	limit config.SMTP
	pool  *puddle.Pool[*connection]

	once   sync.Once
	closed chan struct{}
	reaper sync.WaitGroup
}

// New returns a sender for a valid configuration. It does not connect yet. Zero fields of cfg have their documented defaults.
func New(name string, cfg config.SMTP, log *zap.Logger) (*Sender, error) {
	cfg = withDefaults(cfg)
	r, err := newRelay(name, cfg, log)
	if err != nil {
		return nil, err
	}
	s := &Sender{relay: r, from: cfg.From, limit: cfg, closed: make(chan struct{})}
	s.pool, err = puddle.NewPool(&puddle.Config[*connection]{
		MaxSize: int32(cfg.Connections), //nolint:gosec // bounded by newRelay
		// The connection is made later: puddle would make it without the deadline of the Send that waits for it.
		Constructor: func(context.Context) (*connection, error) { return &connection{}, nil },
		Destructor:  (*connection).quit,
	})
	if err != nil {
		return nil, err
	}
	s.reaper.Go(s.closeIdle)
	return s, nil
}

// Send sends m through the relay. The receipt has the relay's queue ID or, without one, the Message-ID.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.send(ctx, m, time.Now().Add(s.relay.timeouts.handover))
}

// SendPatiently implements [gateway.LongSender].
func (s *Sender) SendPatiently(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	return s.send(ctx, m, time.Now().Add(s.relay.timeouts.longest()))
}

// send sends m. The relay must have the mail by handoverBy, and then has reply_timeout for its final reply.
func (s *Sender) send(ctx context.Context, m *notify.Message, handoverBy time.Time) (notify.Receipt, error) {
	e, err := s.envelope(m)
	if err != nil {
		return notify.Receipt{}, err
	}
	if p := m.Parts; p != nil {
		p.Fields = e.fields
		if p.Apart() {
			return s.sendPerRecipient(ctx, e, handoverBy)
		}
	}
	for {
		pooled, err := s.acquire(ctx, handoverBy)
		if err != nil {
			return notify.Receipt{}, err
		}
		answer, rest, failed := pooled.Value().send(ctx, e, handoverBy)
		var warnings []string
		if failed == nil && len(rest) > 0 {
			answer, warnings, failed = s.split(ctx, pooled.Value(), e, handoverBy)
		}
		s.release(pooled)
		switch {
		case failed == nil:
			return notify.Receipt{ProviderID: providerID(answer, e), Warnings: warnings}, nil
		case failed.stale && ctx.Err() == nil && time.Now().Before(handoverBy):
			continue // the dead connection is no longer in the pool: try another one
		default:
			return notify.Receipt{}, s.relay.judge(ctx, e, failed)
		}
	}
}

// Check connects and authenticates on a separate connection. Then it names the gateway's own sender as sender and recipient of
// a mail, and resets the transaction: by default Postfix reports only at RCPT that it refuses the client, its name or its
// sender. A refusal of the recipient itself is not a fault of the gateway.
func (s *Sender) Check(ctx context.Context) error {
	handoverBy := time.Now().Add(s.relay.timeouts.handover)
	var c connection
	defer c.quit()
	if err := s.relay.connect(ctx, &c, handoverBy); err != nil || s.from == "" {
		return err
	}
	e, err := s.probe()
	if err != nil {
		return err
	}
	refused := c.probe(ctx, e, handoverBy)
	if refused == nil {
		return nil
	}
	f := notify.Judge(s.relay.judge(ctx, e, refused))
	if refused.err == nil && refused.at == atRcpt && f.Verdict != notify.Unavailable && (f.Verdict != notify.Throttled || f.Works) {
		return nil
	}
	return f
}

// Close waits for the messages in flight and closes every connection.
func (s *Sender) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.pool.Close()
	s.reaper.Wait()
	return nil
}

func (s *Sender) acquire(ctx context.Context, handoverBy time.Time) (*puddle.Resource[*connection], error) {
	waits, cancel := context.WithDeadline(ctx, handoverBy)
	defer cancel()
	for {
		pooled, err := s.pool.Acquire(waits)
		switch {
		case errors.Is(err, puddle.ErrClosedPool):
			return nil, &notify.Failure{Verdict: notify.Transient, Reason: "the gateway is closed", Err: err}
		case err != nil:
			return nil, &notify.Failure{Verdict: notify.Transient, Reason: "no connection to the relay became free in time", Err: err}
		case s.idleTooLong(pooled):
			pooled.Destroy()
			continue
		}
		if c := pooled.Value(); !c.ready() {
			if err := s.relay.connect(ctx, c, handoverBy); err != nil {
				pooled.Destroy()
				return nil, err
			}
		}
		return pooled, nil
	}
}

func (s *Sender) release(pooled *puddle.Resource[*connection]) {
	if pooled.Value().broken || time.Since(pooled.CreationTime()) > s.limit.ConnectionLifetime {
		pooled.Destroy()
		return
	}
	pooled.Release()
}

// idleTooLong reports whether the relay may have closed the connection: relays close idle connections without a word.
func (s *Sender) idleTooLong(pooled *puddle.Resource[*connection]) bool {
	return pooled.IdleDuration() > s.limit.IdleTimeout
}

// closeIdle closes idle connections in time, also when nothing is sent any more.
func (s *Sender) closeIdle() {
	tick := time.NewTicker(max(s.limit.IdleTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-tick.C:
		}
		for _, pooled := range s.pool.AcquireAllIdle() {
			if s.idleTooLong(pooled) {
				pooled.Destroy()
			} else {
				pooled.ReleaseUnused()
			}
		}
	}
}
