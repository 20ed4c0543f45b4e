package drain

import (
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// urgency is what part of its time bulk may keep what is urgent waiting: a tenth.
const urgency = 10

// How long those who are refused are told to wait.
const (
	leastWait = 5 * time.Second
	mostWait  = 5 * time.Minute
)

// convinced is how many measurements in a row have to say so before bulk is refused: the first ones after a quiet time do not
// know yet what a lane can.
const convinced = 3

// judge decides for each channel whether bulk is refused. It begins when the bulk lane takes longer than the limit, or what is
// urgent a tenth of it, and ends when both take less than half of that, so that it does not flap. The lock is held.
func (g *Gauge) judge(now time.Time) {
	limit := g.cfg.ShedBulkAfter
	if limit <= 0 {
		return
	}
	worst := map[notify.Channel]float64{} // of the lanes, as a part of what each may take
	for i, l := range g.cfg.Lanes {
		worst[l.Channel] = max(worst[l.Channel], g.strain(i, now))
	}
	for ch, part := range worst {
		was := g.shedding[ch]
		if g.strained[ch]++; part <= 1 {
			g.strained[ch] = 0
		}
		is := g.strained[ch] >= convinced || was && part > 0.5
		if is != was {
			g.cfg.Log.Warn(map[bool]string{true: "bulk is refused: it takes longer than api.shed_bulk_after", false: "bulk is taken again"}[is],
				zap.String("channel", string(ch)), zap.Float64("part_of_limit", rounded(part)))
		}
		g.shedding[ch] = is
	}
}

// strain is how long a lane takes, as a part of what it may take: to drain or, while nothing is being done, as long as the
// oldest of it has waited. (What drains may be old, and is soon done all the same.) A lane that is paused is not judged: its
// backlog says nothing of what it can do.
func (g *Gauge) strain(i int, now time.Time) float64 {
	l, m, limit := g.cfg.Lanes[i], &g.lanes[i], g.cfg.ShedBulkAfter
	if l.Lane == notify.LaneNormal || g.cfg.Paused(l.Channel, l.Lane) {
		return 0
	}
	if l.Lane == notify.LaneUrgent {
		limit /= urgency
	}
	takes, ok := m.meter.drain(m.depth.Left)
	if !ok {
		takes, _ = m.age(now)
	}
	return takes.Seconds() / limit.Seconds()
}

// Refuse gives, for a notification of a lane that is not to be taken now, why; nil for all others.
func (g *Gauge) Refuse(ch notify.Channel, lane notify.Lane) *notify.Shedding {
	if lane != notify.LaneBulk || g.cfg.ShedBulkAfter <= 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.known(now) || !g.shedding[ch] {
		return nil
	}
	wait := leastWait
	for i, l := range g.cfg.Lanes {
		if l.Channel != ch || l.Lane != notify.LaneBulk {
			continue
		}
		if takes, ok := g.lanes[i].meter.drain(g.lanes[i].depth.Left); ok {
			wait = takes - g.cfg.ShedBulkAfter/2
		} else {
			wait = mostWait
		}
	}
	return &notify.Shedding{RetryAfter: min(max(wait, leastWait), mostWait).Round(time.Second)}
}
