package limiter

import "time"

// peakSeconds is the length of a peakWindow: the last 30 whole seconds and the current one.
const peakSeconds = 31

// peakWindow holds the maximum of a gauge over the last 30 seconds.
type peakWindow struct {
	bySecond [peakSeconds]int
	top      int // maximum of bySecond
}

// note records the value n in the current second.
func (p *peakWindow) note(second, n int) {
	highest := &p.bySecond[second%peakSeconds]
	*highest = max(*highest, n)
	p.top = max(p.top, n)
}

// advance moves the window from one second to a later one. The gauge was n during this time.
func (p *peakWindow) advance(from, to, n int) {
	for s := max(from, to-peakSeconds) + 1; s <= to; s++ {
		p.bySecond[s%peakSeconds] = n
	}
	p.top = 0
	for _, n := range p.bySecond {
		p.top = max(p.top, n)
	}
}

// rateWindow counts the calls of the last five seconds.
type rateWindow struct {
	bySecond [5]int
	second   int // current second
}

func (r *rateWindow) add(now time.Duration) {
	r.advance(now)
	r.bySecond[r.second%len(r.bySecond)]++
}

// rate returns the calls per second since the first second of the window that has a call, measured over at least one second.
func (r *rateWindow) rate(now time.Duration) float64 {
	r.advance(now)
	sum, first := 0, r.second
	for s := r.second; s > r.second-len(r.bySecond) && s >= 0; s-- {
		if n := r.bySecond[s%len(r.bySecond)]; n > 0 {
			sum += n
			first = s
		}
	}
	return float64(sum) / max(1, (now-time.Duration(first)*time.Second).Seconds())
}

func (r *rateWindow) advance(now time.Duration) {
	second := int(now / time.Second)
	for s := max(r.second, second-len(r.bySecond)) + 1; s <= second; s++ {
		r.bySecond[s%len(r.bySecond)] = 0
	}
	r.second = second
}
