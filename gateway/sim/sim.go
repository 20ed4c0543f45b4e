// Package sim plays a provider, for load tests and drills: it sends nothing, takes as long as it is told and judges by the
// recipient.
//
//	recipient            sms              what happens
//	anything else        anything else    accepted
//	soft-2x              +15005551nnn     transient twice, then accepted
//	hard                 +15005552nnn     permanent, about the message
//	throttle-3s          +15005553nnn     throttled once for 3 s, then accepted
//	hang                 +15005554nnn     silent until the attempt's time is up: ambiguous
//	drop-after-write     +15005555nnn     taken, and the answer lost, every time: ambiguous
//
// The word is the recipient up to the first "@", "+" or ":", so that one word has many recipients: soft-2x+7@example.com,
// soft-2x:device-7. How often a notification was tried is remembered by its id, for the last 10,000 that matter.
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

	wait  func(context.Context, time.Duration) error
	took  func(*notify.Message) // each message that was taken; nil in life
	taken atomic.Uint64

	closed atomic.Bool
	mu     sync.Mutex
	tries  memory
}

var _ gateway.Sender = (*Sender)(nil)

// New makes the provider of the gateway called name.
func New(name string, cfg config.Sim) (*Sender, error) {
	if cfg.Latency < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("gateways.%s: latency and timeout must not be negative", name)
	}
	return &Sender{latency: cfg.Latency, timeout: cfg.Timeout, wait: sleep, tries: newMemory(10_000)}, nil
}

// Taken is how many messages the provider has taken, those included whose answer was lost.
func (s *Sender) Taken() uint64 { return s.taken.Load() }

// Send plays one try.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return notify.Receipt{}, notify.Judge(err)
	}
	if s.closed.Load() {
		return notify.Receipt{}, (&gateway.Exchange{Err: gateway.ErrClosed}).Lost()
	}
	verdict := word(m)
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
	s.take(m)
	if verdict == "drop-after-write" {
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Ambiguous, Code: "sim drop", Reason: "the simulated provider took the message and its answer was lost"}
	}
	return notify.Receipt{ProviderID: "sim-" + m.ID, Simulated: true}, nil
}

// think takes the provider's time. One that takes none costs none: it measures all but the gateway.
func (s *Sender) think(ctx context.Context, forEver bool) error {
	if s.latency == 0 && !forEver {
		return nil
	}
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	if forEver {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.wait(ctx, s.latency)
}

// Check has nothing to connect to.
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

// try counts the tries of a notification, this one included.
func (s *Sender) try(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries.count(id)
}

func (s *Sender) take(m *notify.Message) {
	s.taken.Add(1)
	if s.took != nil {
		s.took(m)
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

// numbers are the words of the digit after +1500555, a block that belongs to nobody.
var numbers = map[byte]string{'1': "soft-2x", '2': "hard", '3': "throttle-3s", '4': "hang", '5': "drop-after-write"}

func word(m *notify.Message) string {
	if rest, ok := strings.CutPrefix(m.Address, "+1500555"); ok && len(rest) == 4 {
		return numbers[rest[0]]
	}
	if i := strings.IndexAny(m.Address, "@+:"); i >= 0 {
		return m.Address[:i]
	}
	return m.Address
}
