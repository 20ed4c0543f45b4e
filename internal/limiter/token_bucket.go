package limiter

import (
	"math"
	"time"
)

const (
	burst              = 0.1         // the bucket holds the tokens of 0.1 s, at least one
	cutFactor          = 0.5         // part of the rate that is left when every call is throttled
	tolerated          = 0.05        // throttled part of the calls that causes no cut: such throttles are about messages, not the rate
	toleratedUnlimited = 0.2         // the same without a configured rate, where the measured rate may be far below the allowed one
	decay              = 1.0 / 64    // weight of a new call in the throttled part; older calls decay by it
	cutEvery           = time.Second // a new cut begins at most once in this time: one overrun brings a throttle per call in flight
	minRate            = 0.05        // no cut goes below this part of the base rate
	recoveryPerSecond  = 0.05        // part of the base rate that comes back per second
	unlimitedAt        = 2           // without a configured rate: the limit ends at this multiple of the measured rate

	oneToken = 1 - 1e-6 // a whole token, less the rounding error
)

// tokenBucket limits the calls per second to this process's part of the rate of a gateway.
//
// Throttles cut the rate: by half when every call is throttled, by less when few are. Then the rate recovers linearly. A
// provider that throttles a few calls at any rate must not bring the gateway to a standstill. Without a configured rate there
// is no limit until the first throttle; then the measured rate is the base, until the rate has recovered to twice the base.
//
// All times are durations since the limiter's start. The caller holds the limiter's mutex.
type tokenBucket struct {
	configured float64            // rate of the whole cluster; 0 = unlimited
	shares     map[string]float64 // parts of the rate that belong to this process
	fraction   float64            // their sum, 1 at most

	cut       bool          // the rate is cut and has not recovered yet
	cutAt     time.Duration // time of the last cut; negative = never
	beforeCut float64       // rate before the last cut, of the whole cluster
	afterCut  float64       // rate after the last cut, of the whole cluster
	base      float64       // base rate of cuts and of the recovery: the configured rate, or the measured one
	calls     float64       // recent calls; decays
	throttles float64       // of them, throttled ones; decays

	rate   float64 // of this process at the time now; +Inf = unlimited
	tokens float64
	now    time.Duration
	recent rateWindow
}

func newTokenBucket(rate float64) *tokenBucket {
	if !(rate > 0) || math.IsInf(rate, 1) { // also for NaN
		rate = 0
	}
	b := &tokenBucket{configured: rate, shares: map[string]float64{}, fraction: 1, cutAt: -cutEvery}
	b.updateRate()
	if b.configured > 0 {
		b.tokens = b.capacity()
	}
	return b
}

// clusterRate returns the present rate of the whole cluster; without a configured rate, of this process.
func (b *tokenBucket) clusterRate() float64 {
	if b.cut {
		return b.afterCut + recoveryPerSecond*b.base*(b.now-b.cutAt).Seconds()
	}
	if b.configured == 0 {
		return math.Inf(1)
	}
	return b.configured
}

// advance brings the rate and the tokens up to the time now. In between the rate has grown linearly, or linearly and then not
// at all: the mean of the old and the new rate yields the exact number of new tokens, or fewer.
func (b *tokenBucket) advance(now time.Duration) {
	before, passed := b.rate, now-b.now
	b.now = now
	if math.IsInf(before, 1) || passed == 0 {
		return
	}
	b.updateRate()
	if !math.IsInf(b.rate, 1) {
		b.tokens = min(b.capacity(), b.tokens+(before+b.rate)/2*passed.Seconds())
	}
}

// updateRate computes the rate at the time b.now and drops the tokens that no longer fit.
func (b *tokenBucket) updateRate() {
	top := b.configured
	if b.configured == 0 {
		top = unlimitedAt * b.base
	}
	b.cut = b.cut && b.clusterRate() < top
	b.rate = b.clusterRate()
	if b.configured > 0 {
		b.rate *= b.fraction
	}
	b.tokens = min(b.tokens, b.capacity())
}

// capacity returns how many tokens the bucket holds.
func (b *tokenBucket) capacity() float64 {
	if b.rate <= 0 {
		return 0
	}
	return max(1, b.rate*burst)
}

// ready reports whether a call may begin.
func (b *tokenBucket) ready() bool { return math.IsInf(b.rate, 1) || b.tokens >= oneToken }

// take removes the token of a call that begins.
func (b *tokenBucket) take(now time.Duration) {
	b.calls = b.calls*(1-decay) + 1
	b.throttles *= 1 - decay
	if b.configured == 0 {
		b.recent.add(now)
	}
	if !math.IsInf(b.rate, 1) {
		b.tokens--
	}
}

// putBack returns the token of a call that did not begin.
func (b *tokenBucket) putBack() {
	if !math.IsInf(b.rate, 1) {
		b.tokens = min(b.capacity(), b.tokens+1)
	}
}

// nextToken returns when to look for the next token; while the rate recovers, that may be before the token is there. 0 = never.
func (b *tokenBucket) nextToken(now time.Duration) time.Duration {
	if b.rate <= 0 {
		return 0
	}
	longest := time.Hour
	if b.cut {
		longest = time.Second
	}
	seconds := min((1-b.tokens)/b.rate, longest.Seconds())
	return now + max(1, time.Duration(math.Ceil(seconds*float64(time.Second))))
}

func (b *tokenBucket) setShare(key string, fraction float64) {
	if math.IsNaN(fraction) {
		fraction = 0
	}
	b.shares[key] = max(0, fraction)
	sum := 0.0
	for _, f := range b.shares {
		sum += f
	}
	b.fraction = min(1, sum)
	b.updateRate()
}

// throttled cuts the rate after one throttled call. The throttles of one second are one overrun: each of them deepens the same
// cut, as the throttled part of the calls grows.
func (b *tokenBucket) throttled(now time.Duration) {
	b.throttles++
	part := min(1, b.throttles/max(1, b.calls))
	ignored := tolerated
	if b.configured == 0 {
		ignored = toleratedUnlimited
	}
	left := 1 - (1-cutFactor)*(part-ignored)/(1-ignored)
	if left >= 1 {
		return
	}
	if now-b.cutAt >= cutEvery {
		b.beforeCut = b.rateBeforeCut(now)
		b.afterCut = b.beforeCut
		b.cut = true
		b.cutAt = now
	}
	b.afterCut = min(b.afterCut, max(minRate*b.base, left*b.beforeCut))
	b.updateRate()
}

// rateBeforeCut returns the rate at which a new cut begins. It sets the base of the cut, unless an earlier cut without a
// configured rate is still in force: then the base of that cut remains.
func (b *tokenBucket) rateBeforeCut(now time.Duration) float64 {
	switch {
	case b.configured > 0:
		b.base = b.configured
	case !b.cut:
		b.base = max(1, b.recent.rate(now))
		return b.base
	}
	return b.clusterRate()
}
