package backlog

import (
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// urgentShare divides the limit of lane bulk: lane urgent may take a tenth of that time.
const urgentShare = 10

// Limits of the Retry-After of a refused notification.
const (
	minRetryAfter = 5 * time.Second
	maxRetryAfter = 5 * time.Minute
)

// sheddingAfter is how many measurements in a row must be over the limit before bulk is refused: the first measurements after
// an idle period do not know the lane's capacity yet.
const sheddingAfter = 3

// updateSheddingLocked decides for each channel whether bulk is refused. Shedding begins when lane bulk takes longer than its
// limit, or lane urgent longer than a tenth of this limit. Shedding ends when both take less than half of their limits: this
// hysteresis prevents flapping.
func (m *Monitor) updateSheddingLocked(now time.Time) {
	if m.cfg.ShedBulkAfter <= 0 {
		return
	}
	worst := map[notify.Channel]float64{} // highest load of the channel's lanes
	for i, l := range m.cfg.Lanes {
		worst[l.Channel] = max(worst[l.Channel], m.loadLocked(i, now))
	}
	for ch, load := range worst {
		if load > 1 {
			m.overLimit[ch]++
		} else {
			m.overLimit[ch] = 0
		}
		was := m.shedding[ch]
		is := m.overLimit[ch] >= sheddingAfter || was && load > 0.5
		m.shedding[ch] = is
		if is == was {
			continue
		}
		message := "bulk is taken again"
		if is {
			message = "bulk is refused: it takes longer than api.shed_bulk_after"
		}
		m.cfg.Log.Warn(message, zap.String("channel", string(ch)), zap.Float64("part_of_limit", roundRate(load)))
	}
}

// loadLocked returns the drain time of a lane as a fraction of its limit. While nothing is processed, the age of the oldest
// record replaces the drain time. (In a lane that drains, an old record is soon processed all the same.) The load of a paused
// lane is 0, because its backlog says nothing about its capacity. The load of lane normal is always 0.
func (m *Monitor) loadLocked(i int, now time.Time) float64 {
	l, lane := m.cfg.Lanes[i], &m.lanes[i]
	limit := m.cfg.ShedBulkAfter
	if l.Lane == notify.LaneNormal || m.cfg.Paused(l.Channel, l.Lane) {
		return 0
	}
	if l.Lane == notify.LaneUrgent {
		limit /= urgentShare
	}
	d, ok := lane.throughput.timeToDrain(lane.depth.Left)
	if !ok {
		d, _ = lane.oldestAge(now)
	}
	return d.Seconds() / limit.Seconds()
}

// Refuse returns the reason to refuse a notification of the lane now; nil if the notification may be accepted.
func (m *Monitor) Refuse(ch notify.Channel, lane notify.Lane) *notify.Shedding {
	if lane != notify.LaneBulk || m.cfg.ShedBulkAfter <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.currentLocked(time.Now()) || !m.shedding[ch] {
		return nil
	}
	wait := minRetryAfter
	for i, l := range m.cfg.Lanes {
		if l.Channel != ch || l.Lane != notify.LaneBulk {
			continue
		}
		if d, ok := m.lanes[i].throughput.timeToDrain(m.lanes[i].depth.Left); ok {
			wait = d - m.cfg.ShedBulkAfter/2
		} else {
			wait = maxRetryAfter
		}
	}
	return &notify.Shedding{RetryAfter: min(max(wait, minRetryAfter), maxRetryAfter).Round(time.Second)}
}
