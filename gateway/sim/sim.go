// Package sim simulates a provider, for load tests and drills. It sends nothing, waits for the configured latency, and judges each
// message by its recipient.
//
//	recipient            sms              verdict
//	anything else        anything else    accepted
//	soft-2x              +15005551nnn     transient twice, then accepted
//	hard                 +15005552nnn     permanent, about the message
//	throttle-3s          +15005553nnn     throttled once for 3 s, then accepted
//	hang                 +15005554nnn     no answer until the deadline of the attempt: ambiguous
//	drop-after-write     +15005555nnn     accepted, and the answer lost, every time: ambiguous
//
// The keyword is the recipient up to the first "@", "+" or ":", so that each keyword has many recipients: soft-2x+7@example.com,
// soft-2x:device-7. The tries of soft-2x and throttle-3s are counted by notification ID, for the last 10,000 IDs.
package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Sender is one simulated provider.
type Sender struct {
	latency, timeout time.Duration

	wait       func(context.Context, time.Duration) error
	onAccepted func(*notify.Message) // called for each accepted message; only in tests
	accepted   atomic.Uint64

	closed atomic.Bool
	mu     sync.Mutex
	tries  tryCounter
}

var _ gateway.Sender = (*Sender)(nil)

// New returns the simulated provider of the gateway called name.
func New(name string, cfg config.Sim) (*Sender, error) {
	if cfg.Latency < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("gateways.%s: latency and timeout must not be negative", name)
	}
	return &Sender{latency: cfg.Latency, timeout: cfg.Timeout, wait: sleep, tries: newTryCounter(10_000)}, nil
}

// Taken returns the number of messages that the provider has accepted, including those with a lost answer.
func (s *Sender) Taken() uint64 { return s.accepted.Load() }

// Send simulates one try.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return notify.Receipt{}, notify.Judge(err)
	}
	if s.closed.Load() {
		return notify.Receipt{}, (&gateway.Exchange{Err: gateway.ErrClosed}).Lost()
	}
	verdict := keyword(m)
	if err := s.think(ctx, verdict == "hang"); err != nil {
		return notify.Receipt{}, silent(err)
	}
	switch {
	case verdict == "soft-2x" && s.try(m.ID) <= 2:
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Transient, Code: "sim soft", Reason: "the simulated provider asks to try again"}
	case verdict == "hard":
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Permanent, Code: "sim hard", Reason: "the simulated provider refuses the message"}
	case verdict == "throttle-3s" && s.try(m.ID) == 1:
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Throttled, Code: "sim throttle", Reason: "the simulated provider asks to slow down", After: 3 * time.Second}
	}
	s.accept(m)
	if verdict == "drop-after-write" {
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Ambiguous, Code: "sim drop", Reason: "the simulated provider took the message and its answer was lost"}
	}
	return notify.Receipt{ProviderID: "sim-" + m.ID, Simulated: true}, nil
}

// think waits for the provider's latency. Without latency it does not wait, so that load tests measure everything but the
// gateway.
func (s *Sender) think(ctx context.Context, hang bool) error {
	if s.latency == 0 && !hang {
		return nil
	}
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.wait(ctx, s.latency)
}

// Check fails only if ctx has ended: there is nothing to connect to.
func (s *Sender) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return notify.Judge(err)
	}
	return nil
}

// Close ends the sending.
func (s *Sender) Close() error {
	s.closed.Store(true)
	return nil
}

// try returns the number of tries of a notification, this one included.
func (s *Sender) try(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries.count(id)
}

func (s *Sender) accept(m *notify.Message) {
	s.accepted.Add(1)
	if s.onAccepted != nil {
		s.onAccepted(m)
	}
}

func silent(err error) error {
	return &notify.Failure{Verdict: notify.Ambiguous, Code: "sim silent", Reason: "the attempt's time ran out before the answer came", Err: err}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// numbers are the keywords by the digit after +1500555, a block of numbers that belongs to nobody.
var numbers = map[byte]string{'1': "soft-2x", '2': "hard", '3': "throttle-3s", '4': "hang", '5': "drop-after-write"}

func keyword(m *notify.Message) string {
	if rest, ok := strings.CutPrefix(m.Address, "+1500555"); ok && len(rest) == 4 {
		return numbers[rest[0]]
	}
	if i := strings.IndexAny(m.Address, "@+:"); i >= 0 {
		return m.Address[:i]
	}
	return m.Address
}
