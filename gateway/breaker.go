package gateway

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// BreakerConfig says when a [Breaker] opens and how soon it tries again. Leave it alone except in tests.
type BreakerConfig struct {
	Failures    int           // failures in a row that open it; 15
	FirstWait   time.Duration // before the first probe after failures, doubled by every probe that fails; 1s
	LongestWait time.Duration // what the doubling ends at, and the wait after unavailable from the start; 10s
}

// BreakerState is what a [Breaker] does with those who ask.
type BreakerState string

// The states of a breaker.
const (
	BreakerClosed   BreakerState = "closed"    // everybody is admitted
	BreakerHalfOpen BreakerState = "half-open" // one probe is out, or may go
	BreakerOpen     BreakerState = "open"      // nobody is admitted until a probe is due
)

// BreakerChange is what a result did to a [Breaker].
type BreakerChange string

// The changes of a breaker. Its caller logs the first and the last and lets lanes go on at the last.
const (
	BreakerUnchanged BreakerChange = ""
	BreakerOpened    BreakerChange = "opened"   // it was closed
	BreakerReopened  BreakerChange = "reopened" // a probe failed
	BreakerReclosed  BreakerChange = "closed"   // a probe was served
)

// Breaker remembers for all lanes and channels of a process whether one gateway works, so that a broken one is not asked
// by every job in turn. Accepted, permanent and throttled show a provider that works; transient and ambiguous count
// against it, and enough of them in a row open the breaker; unavailable opens it at once. While it is open one job at a
// time goes through as a probe, ever more rarely, and only a probe closes it.
//
// It reads no clock and starts nothing: time is what its callers say. Its methods may be called at once from many
// goroutines and do not block.
type Breaker struct {
	cfg BreakerConfig

	mu      sync.Mutex
	circuit circuitbreaker.CircuitBreaker[any] // counts, and knows the state; its own waits are not used, see NewBreaker
	epoch   uint64                             // counts changes: the result of a pass from before the last one is stale
	probing bool                               // half-open: a probe is out
	wait    time.Duration                      // the last wait before a probe; 0 when the gateway was served last
	due     time.Time                          // open: when a probe may go
}

// Pass is leave to call the gateway. Each ends in one Record or Abandon: a probe that does neither keeps the breaker shut
// for ever. The zero Pass is stale everywhere.
type Pass struct {
	epoch uint64
	probe bool
}

// Probe reports whether p's holder tries, alone, whether the gateway works again.
func (p Pass) Probe() bool { return p.probe }

// NewBreaker gives a closed breaker. The library computes a wait that changes only for calls that it makes itself and
// reads its own clock: it gets none to wait, and we do not ask it for a permit before the probe is due.
func NewBreaker(cfg BreakerConfig) *Breaker {
	if cfg.Failures <= 0 {
		cfg.Failures = 15
	}
	if cfg.FirstWait <= 0 {
		cfg.FirstWait = time.Second
	}
	if cfg.LongestWait <= 0 {
		cfg.LongestWait = 10 * time.Second
	}
	circuit := circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(uint(cfg.Failures)). // so many of the last so many: in a row
		WithSuccessThreshold(1).                  // half-open: one probe at a time, and it decides
		WithDelay(0).
		Build()
	return &Breaker{cfg: cfg, circuit: circuit, epoch: 1}
}

// Admit asks for leave to call the gateway now.
func (b *Breaker) Admit(now time.Time) (Pass, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.circuit.IsClosed():
		return Pass{epoch: b.epoch}, true
	case b.probing, b.circuit.IsOpen() && (now.Before(b.due) || !b.circuit.TryAcquirePermit()):
		return Pass{}, false
	default: // half-open from here on; the permit of a probe that was abandoned is ours still
		b.probing = true
		return Pass{epoch: b.epoch, probe: true}, true
	}
}

// Record takes in how the call of p's holder ended, once for each pass. A stale result, such as a success on a connection
// from better times, changes nothing and does not count.
func (b *Breaker) Record(p Pass, v notify.Verdict, now time.Time) BreakerChange {
	return b.RecordFor(p, v, 0, now)
}

// longestPause bounds what a provider can ask of a breaker: an operator who has put things right waits no longer.
const longestPause = 15 * time.Minute

// RecordFor is Record for an unavailable gateway that asks for no probe before pause is over. Other verdicts ignore pause.
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
		b.wait = b.cfg.LongestWait
		b.circuit.Open()
	default: // transient or ambiguous
		b.circuit.RecordFailure()
	}
	return b.changed(p, pause, now)
}

// changed says what the result of p's holder made of the circuit, and plans the next probe when it is open.
func (b *Breaker) changed(p Pass, pause time.Duration, now time.Time) BreakerChange {
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
	b.wait = min(max(2*b.wait, b.cfg.FirstWait), b.cfg.LongestWait)
	b.due = now.Add(max(b.wait, min(pause, longestPause)))
	if p.probe {
		return BreakerReopened
	}
	return BreakerOpened
}

// Abandon ends a pass without a result, because its holder never asked the gateway or gave up for reasons of its own: the
// next one to ask takes a probe's place at once. A result that comes all the same is stale.
func (b *Breaker) Abandon(p Pass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.probe && p.epoch == b.epoch {
		b.probing = false
		b.epoch++
	}
}

// State gives what the breaker does with those who ask.
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

// NextProbe is how long to wait before it makes sense to ask again: 0 when somebody would be admitted now. While a probe
// is out nobody knows, and it is the shortest wait.
func (b *Breaker) NextProbe(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.probing:
		return b.cfg.FirstWait
	case b.circuit.IsOpen():
		return max(0, b.due.Sub(now))
	default:
		return 0
	}
}
