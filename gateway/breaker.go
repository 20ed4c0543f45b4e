package gateway

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// BreakerConfig holds the thresholds of a [Breaker]. Keep the defaults except in tests.
type BreakerConfig struct {
	Failures    int           // failures in a row that open the breaker; 15
	InitialWait time.Duration // wait before the first probe after failures; doubled by every failed probe; 1s
	MaxWait     time.Duration // end of the doubling, and the wait after unavailable; 10s
}

// BreakerState is the state of a [Breaker].
type BreakerState string

// The states of a breaker.
const (
	BreakerClosed   BreakerState = "closed"    // every call is admitted
	BreakerHalfOpen BreakerState = "half-open" // one probe is in flight, or may begin
	BreakerOpen     BreakerState = "open"      // no call is admitted until a probe is due
)

// BreakerChange is the change of a [Breaker] by one result.
type BreakerChange string

// The changes of a breaker.
const (
	BreakerUnchanged BreakerChange = ""
	BreakerOpened    BreakerChange = "opened"   // it was closed
	BreakerReopened  BreakerChange = "reopened" // a probe failed
	BreakerReclosed  BreakerChange = "closed"   // a probe succeeded
)

// Breaker is a circuit breaker: it remembers whether one gateway works, for all lanes and channels of a process, so that not every
// job calls a broken gateway. The verdicts accepted, permanent and throttled show that the provider works. Transient and ambiguous
// are failures; enough failures in a row open the breaker. Unavailable opens it at once. While the breaker is open, one job at a
// time is admitted as a probe, at growing intervals, and only a probe closes it.
//
// The breaker reads no clock and starts no goroutine: callers pass the time. Methods do not block, and concurrent calls are safe.
type Breaker struct {
	cfg BreakerConfig

	mu      sync.Mutex
	circuit circuitbreaker.CircuitBreaker[any] // counts failures and holds the state; its own delays are not used, see NewBreaker
	epoch   uint64                             // counts changes: the result of a pass from an earlier epoch is stale
	probing bool                               // half-open: a probe is in flight
	wait    time.Duration                      // the last wait before a probe; 0 after a success
	due     time.Time                          // open: when a probe may begin
}

// Pass admits one call of the gateway. Each pass ends in one Record or Abandon: a probe without either keeps the breaker from
// closing for ever. The zero Pass is stale in every breaker.
type Pass struct {
	epoch uint64
	probe bool
}

// Probe reports whether the call with p is the probe that finds out whether the gateway works again.
func (p Pass) Probe() bool { return p.probe }

// NewBreaker returns a closed breaker. The library supports growing delays only for calls that the library makes itself, and reads
// its own clock. So its delay is 0, and Admit does not ask it for a permit before the probe is due.
func NewBreaker(cfg BreakerConfig) *Breaker {
	if cfg.Failures <= 0 {
		cfg.Failures = 15
	}
	if cfg.InitialWait <= 0 {
		cfg.InitialWait = time.Second
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 10 * time.Second
	}
	circuit := circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(uint(cfg.Failures)). // in a row
		WithSuccessThreshold(1).                  // half-open: one probe at a time decides
		WithDelay(0).
		Build()
	return &Breaker{cfg: cfg, circuit: circuit, epoch: 1}
}

// Admit returns a pass to call the gateway now; ok is false if no call is admitted.
func (b *Breaker) Admit(now time.Time) (p Pass, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.circuit.IsClosed():
		return Pass{epoch: b.epoch}, true
	case b.probing, b.circuit.IsOpen() && (now.Before(b.due) || !b.circuit.TryAcquirePermit()):
		return Pass{}, false
	default: // half-open from here on; after an abandoned probe the library's permit is still held
		b.probing = true
		return Pass{epoch: b.epoch, probe: true}, true
	}
}

// Record records the verdict of the call with p. Call it at most once for each pass. A stale result, such as that of a call which
// began before the breaker opened, changes nothing and is not counted.
func (b *Breaker) Record(p Pass, v notify.Verdict, now time.Time) BreakerChange {
	return b.RecordFor(p, v, 0, now)
}

// maxPause bounds the pause that a provider may ask for: after an operator has fixed the cause, no probe is later than this.
const maxPause = 15 * time.Minute

// RecordFor is Record with a pause: after the verdict unavailable no probe begins before pause is over. Other verdicts ignore pause.
func (b *Breaker) RecordFor(p Pass, v notify.Verdict, pause time.Duration, now time.Time) BreakerChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.epoch != b.epoch {
		return BreakerUnchanged
	}
	if v != notify.Unavailable {
		pause = 0
	}
	switch v {
	case notify.Accepted, notify.Permanent, notify.Throttled:
		b.circuit.RecordSuccess()
	case notify.Unavailable:
		b.wait = b.cfg.MaxWait
		b.circuit.Open()
	default: // transient or ambiguous
		b.circuit.RecordFailure()
	}
	return b.applyLocked(p, pause, now)
}

// applyLocked returns the change of the circuit by the result of p, and schedules the next probe if the circuit is open.
func (b *Breaker) applyLocked(p Pass, pause time.Duration, now time.Time) BreakerChange {
	closed := b.circuit.IsClosed()
	if closed && !p.probe {
		return BreakerUnchanged
	}
	b.epoch++
	b.probing = false
	if closed {
		b.wait = 0
		return BreakerReclosed
	}
	b.wait = min(max(2*b.wait, b.cfg.InitialWait), b.cfg.MaxWait)
	b.due = now.Add(max(b.wait, min(pause, maxPause)))
	if p.probe {
		return BreakerReopened
	}
	return BreakerOpened
}

// Abandon ends a pass without a result, because the gateway was not called or the caller gave up. If p was a probe, the next caller
// becomes the probe at once. A later result of p is stale.
func (b *Breaker) Abandon(p Pass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.probe && p.epoch == b.epoch {
		b.probing = false
		b.epoch++
	}
}

// State returns the state of the breaker.
func (b *Breaker) State() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.circuit.State() {
	case circuitbreaker.OpenState:
		return BreakerOpen
	case circuitbreaker.HalfOpenState:
		return BreakerHalfOpen
	default:
		return BreakerClosed
	}
}

// NextProbe returns how long to wait before the next Admit; 0 if a call would be admitted now. While a probe is in flight the time
// is unknown, and NextProbe returns the shortest wait.
func (b *Breaker) NextProbe(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.probing:
		return b.cfg.InitialWait
	case b.circuit.IsOpen():
		return max(0, b.due.Sub(now))
	default:
		return 0
	}
}
