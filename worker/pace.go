package worker

import (
	"math"
	"time"
)

const (
	burst    = 0.1         // seconds' worth of calls that may be saved up, one call at least
	cutBy    = 0.5         // what is left of the rate after a throttle
	cutEvery = time.Second // how often it is cut at most: one overrun is answered by a throttle for each call in flight
	slowest  = 0.05        // the part of the configured rate that it is never cut below
	climb    = 0.05        // the part of the rate that comes back each second
	goneAt   = 2           // without a configured rate: how far above the measured one the limit is dropped

	nearly = 1 - 1e-6 // a whole token, give or take what the arithmetic loses
)

// pace is a token bucket: this process's part of a gateway's rate. A throttle halves the rate, and it climbs back. Without a
// configured rate there is no bucket until a throttle comes: what was measured last takes its place until it is doubled.
// Times are counted from the limiter's beginning.
type pace struct {
	full     float64            // as configured, for the whole cluster; 0 = unlimited
	shares   map[string]float64 // this process's parts of it
	fraction float64            // their sum

	slowed bool          // since the last cut, and not climbed back yet
	scale  float64       // what the climb is a part of: full, or what was measured
	base   float64       // the rate after the last cut, for the whole cluster
	cut    time.Duration // when that was; negative = never

	rate   float64 // of this process, at the time at; +Inf = unlimited
	tokens float64
	at     time.Duration
	recent meter
}

func newPace(rate float64) *pace {
	if !(rate > 0) || math.IsInf(rate, 1) { // not a number is no rate
		rate = 0
	}
	p := &pace{full: rate, shares: map[string]float64{}, fraction: 1, cut: -cutEvery}
	p.refit()
	if p.full > 0 {
		p.tokens = p.most()
	}
	return p
}

// allowed is the rate of the whole cluster; without a configured one, of this process.
func (p *pace) allowed() float64 {
	if p.slowed {
		return p.base + climb*p.scale*(p.at-p.cut).Seconds()
	}
	if p.full == 0 {
		return math.Inf(1)
	}
	return p.full
}

// upTo brings rate and tokens to the time. Over the time that has gone the rate has climbed in a line, or in a line and
// then not at all: the mean of both ends is what it brought, or less.
func (p *pace) upTo(now time.Duration) {
	before, passed := p.rate, now-p.at
	p.at = now
	if math.IsInf(before, 1) || passed == 0 {
		return
	}
	p.refit()
	if !math.IsInf(p.rate, 1) {
		p.tokens = min(p.most(), p.tokens+(before+p.rate)/2*passed.Seconds())
	}
}

// refit makes the rate what it should be at p.at, and the tokens fit it.
func (p *pace) refit() {
	top := p.full
	if p.full == 0 {
		top = goneAt * p.scale
	}
	p.slowed = p.slowed && p.allowed() < top
	p.rate = p.allowed()
	if p.full > 0 {
		p.rate *= p.fraction
	}
	p.tokens = min(p.tokens, p.most())
}

// most is how many tokens may be saved up.
func (p *pace) most() float64 {
	if p.rate <= 0 {
		return 0
	}
	return max(1, p.rate*burst)
}

// ready reports whether a call may begin.
func (p *pace) ready() bool { return math.IsInf(p.rate, 1) || p.tokens >= nearly }

// take is for a call that begins.
func (p *pace) take(now time.Duration) {
	if p.full == 0 {
		p.recent.add(now)
	}
	if !math.IsInf(p.rate, 1) {
		p.tokens--
	}
}

// back is for a call that did not begin after all.
func (p *pace) back() {
	if !math.IsInf(p.rate, 1) {
		p.tokens = min(p.most(), p.tokens+1)
	}
}

// due is when the next token comes, or earlier while the rate climbs; 0 = never.
func (p *pace) due(now time.Duration) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	most := time.Hour
	if p.slowed {
		most = time.Second
	}
	seconds := min((1-p.tokens)/p.rate, most.Seconds())
	return now + max(1, time.Duration(math.Ceil(seconds*float64(time.Second))))
}

func (p *pace) setShare(key string, fraction float64) {
	if math.IsNaN(fraction) {
		fraction = 0
	}
	p.shares[key] = max(0, fraction)
	sum := 0.0
	for _, f := range p.shares {
		sum += f
	}
	p.fraction = min(1, sum)
	p.refit()
}

func (p *pace) throttled(now time.Duration) {
	if now-p.cut < cutEvery {
		return
	}
	if p.full > 0 {
		p.scale, p.base = p.full, max(slowest*p.full, cutBy*p.allowed())
	} else {
		p.scale = max(1, min(p.recent.rate(now), p.allowed()))
		p.base = cutBy * p.scale
	}
	p.slowed, p.cut = true, now
	p.refit()
}
