package worker

import (
	"math"
	"time"
)

const (
	burst    = 0.1         // seconds' worth of calls that may be saved up, one call at least
	cutBy    = 0.5         // what is left of the rate when every call is throttled
	tolerate = 0.05        // the part of calls that may be throttled without a cut: that is about messages, not about the pace
	without  = 0.2         // the same without a configured rate: what was measured may be far below what is allowed
	fade     = 1.0 / 64    // how fast the calls are forgotten of which that is a part
	cutEvery = time.Second // how often it is cut at most: one overrun is answered by a throttle for each call in flight
	slowest  = 0.05        // the part of the configured rate that it is never cut below
	climb    = 0.05        // the part of the rate that comes back each second
	goneAt   = 2           // without a configured rate: how far above the measured one the limit is dropped

	nearly = 1 - 1e-6 // a whole token, give or take what the arithmetic loses
)

// pace is a token bucket: this process's part of a gateway's rate. Throttles cut the rate, by a half when every call is
// throttled and by less when few are, and it climbs back: a provider that throttles now and then whatever the rate must not
// bring it to a stand. Without a configured rate there is no bucket until a throttle comes: what was measured then takes its
// place until it is doubled.
// Times are counted from the limiter's beginning.
type pace struct {
	full     float64            // as configured, for the whole cluster; 0 = unlimited
	shares   map[string]float64 // this process's parts of it
	fraction float64            // their sum

	slowed bool    // since the last cut, and not climbed back yet
	scale  float64 // what the climb is a part of: full, or what was measured when it slowed
	calls  float64 // of late, and how many of them were throttled; both fade
	thrown float64
	from   float64       // the rate before the last cut, for the whole cluster
	base   float64       // and after it
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
	p.calls, p.thrown = p.calls*(1-fade)+1, p.thrown*(1-fade)
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

// throttled takes in one throttle. Those of one second are one overrun: they deepen the cut as their part of the calls grows.
func (p *pace) throttled(now time.Duration) {
	p.thrown++
	share := min(1, p.thrown/max(1, p.calls))
	bearable := tolerate
	if p.full == 0 {
		bearable = without
	}
	left := 1 - (1-cutBy)*(share-bearable)/(1-bearable)
	if left >= 1 {
		return
	}
	if now-p.cut >= cutEvery {
		p.from = p.before(now)
		p.base, p.slowed, p.cut = p.from, true, now
	}
	p.base = min(p.base, max(slowest*p.scale, left*p.from))
	p.refit()
}

// before is the rate that a cut begins at.
func (p *pace) before(now time.Duration) float64 {
	switch {
	case p.full > 0:
		p.scale = p.full
	case !p.slowed:
		p.scale = max(1, p.recent.rate(now))
		return p.scale
	}
	return p.allowed()
}
