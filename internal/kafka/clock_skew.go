package kafka

import (
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// skewLimit is the clock skew from which on the log warns. Below it, expiry and schedules are off by less than anybody notices.
const skewLimit = 5 * time.Second

// skewSaidEvery is how often the log warns of the same skew.
const skewSaidEvery = 10 * time.Minute

// clockSkew is how far this host's clock is ahead of the brokers', as the acknowledgements of topics with LogAppendTime show.
// Its methods may be called concurrently.
type clockSkew struct {
	seconds atomic.Uint64 // float64 bits; NaN is stored as unknown
	known   atomic.Bool
	said    atomic.Int64 // when the log warned last, Unix nanoseconds
}

// take learns from a record that was handed over at begun, appended at the broker's time, and acknowledged now. The truth lies
// between two bounds that are as far apart as the acknowledgement took: the one nearer to zero is kept, so that a slow
// broker is not taken for a wrong clock.
func (s *clockSkew) take(begun, appended, now time.Time, log *zap.Logger) {
	const truncated = time.Millisecond // the broker's time is in milliseconds
	least, most := begun.Sub(appended)-truncated, now.Sub(appended)
	skew := max(least, min(most, 0))
	s.seconds.Store(math.Float64bits(skew.Seconds()))
	s.known.Store(true)
	if skew.Abs() < skewLimit {
		return
	}
	last := s.said.Load()
	if now.UnixNano()-last < int64(skewSaidEvery) && last != 0 || !s.said.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	log.Warn("the clock of this host differs from the brokers': messages expire and become due at the wrong time; synchronize the clocks of this host and of the brokers (NTP)",
		zap.Duration("ahead_by", skew.Round(time.Millisecond)))
}

// ClockSkew returns by how many seconds this host's clock is ahead of the brokers', NaN while that is not known: until a record
// of a topic with LogAppendTime, as the delay topics are, was acknowledged.
func (p *Publisher) ClockSkew() float64 {
	if !p.skew.known.Load() {
		return math.NaN()
	}
	return math.Float64frombits(p.skew.seconds.Load())
}
