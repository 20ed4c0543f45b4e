package worker

import "time"

// memory is how many seconds a peak is remembered: the last 30 whole ones and the one that is under way.
const memory = 31

// peaks knows the highest of a figure over the last 30 seconds.
type peaks struct {
	by  [memory]int // by second
	top int
}

func (p *peaks) note(second, n int) {
	at := &p.by[second%memory]
	*at = max(*at, n)
	p.top = max(p.top, n)
}

// roll goes on from one second to a later one. The figure was n all the while.
func (p *peaks) roll(from, to, n int) {
	for s := max(from, to-memory) + 1; s <= to; s++ {
		p.by[s%memory] = n
	}
	p.top = 0
	for _, n := range p.by {
		p.top = max(p.top, n)
	}
}

// meter counts calls over the last five seconds.
type meter struct {
	by     [5]int // by second
	second int
}

func (m *meter) add(now time.Duration) {
	m.roll(now)
	m.by[m.second%len(m.by)]++
}

// rate is calls a second since the first second of the five in which there was one; over a second at least.
func (m *meter) rate(now time.Duration) float64 {
	m.roll(now)
	sum, first := 0, m.second
	for s := m.second; s > m.second-len(m.by) && s >= 0; s-- {
		if n := m.by[s%len(m.by)]; n > 0 {
			sum, first = sum+n, s
		}
	}
	return float64(sum) / max(1, (now-time.Duration(first)*time.Second).Seconds())
}

func (m *meter) roll(now time.Duration) {
	second := int(now / time.Second)
	for s := max(m.second, second-len(m.by)) + 1; s <= second; s++ {
		m.by[s%len(m.by)] = 0
	}
	m.second = second
}
