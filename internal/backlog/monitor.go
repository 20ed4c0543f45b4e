package backlog

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Meter measures topics. [kafka.Meter] implements it.
type Meter interface {
	// Measure returns the depth of each topic. It returns within seconds, with an error when Kafka does not answer.
	Measure(topics []kafka.Watched) (map[string]kafka.Depth, error)
	// Close ends a measurement that is under way.
	Close()
}

// Lane is a lane of a channel.
type Lane struct {
	Channel notify.Channel
	Lane    notify.Lane
	Topic   string
	Group   string
}

// Tier is a tier of a channel's delay ladder.
type Tier struct {
	Channel notify.Channel
	Name    string
	Topic   string
	Group   string
}

// Config configures a [Monitor]. The figures list lanes and tiers in the order of this config.
type Config struct {
	Lanes []Lane
	Tiers []Tier
	Meter Meter
	// Paused reports whether an operator has paused a lane. It must not block. Nil means that no lane is paused.
	Paused func(notify.Channel, notify.Lane) bool
	// ShedBulkAfter is how long lane bulk may take to drain before more notifications are refused; 0 refuses none.
	ShedBulkAfter time.Duration
	Log           *zap.Logger
}

const (
	measureEvery = 2 * time.Second
	staleAfter   = 30 * time.Second // older figures count as unknown
)

// Monitor measures the backlog of all lanes and tiers. Its methods except [Monitor.Run] do not block, and may be called
// concurrently.
type Monitor struct {
	cfg     Config
	watched []kafka.Watched

	mu         sync.Mutex
	lanes      []laneState // parallel to cfg.Lanes
	tierJobs   []int64     // parallel to cfg.Tiers
	measuredAt time.Time   // time of the last measurement
	shedding   map[notify.Channel]bool
	overLimit  map[notify.Channel]int // number of measurements in a row with a lane over its limit
}

// laneState is the state of a lane at the last measurement.
type laneState struct {
	throughput throughput
	depth      kafka.Depth
	measured   bool // depth is set
}

// New returns a monitor. Its Run closes the meter.
func New(cfg Config) *Monitor {
	if cfg.Paused == nil {
		cfg.Paused = func(notify.Channel, notify.Lane) bool { return false }
	}
	m := &Monitor{
		cfg:       cfg,
		lanes:     make([]laneState, len(cfg.Lanes)),
		tierJobs:  make([]int64, len(cfg.Tiers)),
		shedding:  map[notify.Channel]bool{},
		overLimit: map[notify.Channel]int{},
	}
	for _, l := range cfg.Lanes {
		m.watched = append(m.watched, kafka.Watched{Topic: l.Topic, Group: l.Group, Ages: true})
	}
	for _, t := range cfg.Tiers {
		m.watched = append(m.watched, kafka.Watched{Topic: t.Topic, Group: t.Group})
	}
	return m
}

// Run measures until ctx ends, and then returns nil. While Kafka is unavailable, Run logs the first failure and tries again.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.cfg.Meter.Close()
	defer context.AfterFunc(ctx, m.cfg.Meter.Close)()
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for unavailable := false; ; {
		depths, err := m.cfg.Meter.Measure(m.watched)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !unavailable:
			unavailable = true
			m.cfg.Log.Warn("the backlog cannot be measured; it is tried again", zap.Error(err))
		case err == nil:
			unavailable = false
			m.update(depths, time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// update stores a measurement and decides which channels shed load.
func (m *Monitor) update(depths map[string]kafka.Depth, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	elapsed := now.Sub(m.measuredAt)
	for i, l := range m.cfg.Lanes {
		lane, depth := &m.lanes[i], depths[l.Topic]
		if lane.measured && elapsed > 0 {
			lane.throughput.add(depth.Done-lane.depth.Done, elapsed, lane.depth.Left > 0, depth.Left > 0)
		}
		lane.depth, lane.measured = depth, true
	}
	for i, t := range m.cfg.Tiers {
		m.tierJobs[i] = depths[t.Topic].Left
	}
	m.measuredAt = now
	m.updateSheddingLocked(now)
}

// Of returns the backlog figures of a channel's lane. ok is false while the figures are unknown.
func (m *Monitor) Of(ch notify.Channel, lane notify.Lane) (d notify.Drain, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if !m.currentLocked(now) {
		return d, false
	}
	for i, l := range m.cfg.Lanes {
		if l.Channel == ch && l.Lane == lane {
			return m.lanes[i].figures(now), true
		}
	}
	return d, false
}

// currentLocked reports whether there is a measurement that is recent enough to be valid.
func (m *Monitor) currentLocked(now time.Time) bool {
	return !m.measuredAt.IsZero() && now.Sub(m.measuredAt) <= staleAfter
}

// figures returns the rounded figures of the lane for API answers.
func (l *laneState) figures(now time.Time) notify.Drain {
	d := notify.Drain{Backlog: l.depth.Left, Rate: roundRate(l.throughput.rate())}
	if age, ok := l.oldestAge(now); ok {
		d.OldestSeconds = roundSeconds(age)
	}
	if drainTime, ok := l.throughput.timeToDrain(l.depth.Left); ok {
		d.DrainSeconds = roundSeconds(drainTime)
	}
	return d
}

// oldestAge returns how long the oldest unprocessed record of the lane has waited. ok is false when the lane is empty or the
// age is unknown.
func (l *laneState) oldestAge(now time.Time) (age time.Duration, ok bool) {
	if l.depth.Left == 0 || l.depth.Oldest.IsZero() {
		return 0, false
	}
	return max(0, now.Sub(l.depth.Oldest)), true
}

// roundSeconds returns d in seconds, rounded to the precision of the measurement.
func roundSeconds(d time.Duration) *float64 {
	s := d.Round(100 * time.Millisecond).Seconds()
	return &s
}

// roundRate returns rate, rounded to the precision of the measurement.
func roundRate(rate float64) float64 { return float64(int64(rate*100+0.5)) / 100 }

// Stats returns all figures. Its slices are copies. It does not set the gateways for which lanes wait.
func (m *Monitor) Stats() notify.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	s := notify.Stats{At: m.measuredAt, Stale: !m.currentLocked(now)}
	index := map[notify.Channel]int{}
	channelStats := func(ch notify.Channel) *notify.ChannelStats {
		i, ok := index[ch]
		if !ok {
			i = len(s.Channels)
			index[ch] = i
			s.Channels = append(s.Channels, notify.ChannelStats{Channel: ch})
		}
		return &s.Channels[i]
	}
	for i, l := range m.cfg.Lanes {
		d := m.lanes[i].figures(now)
		s.Backlog += d.Backlog
		s.Rate += d.Rate
		c := channelStats(l.Channel)
		c.Lanes = append(c.Lanes, notify.LaneDrain{
			Lane:     l.Lane,
			Drain:    d,
			Paused:   m.cfg.Paused(l.Channel, l.Lane),
			Shedding: l.Lane == notify.LaneBulk && !s.Stale && m.shedding[l.Channel],
		})
	}
	for i, t := range m.cfg.Tiers {
		s.Waiting += m.tierJobs[i]
		c := channelStats(t.Channel)
		c.Waiting = append(c.Waiting, notify.TierWait{Tier: t.Name, Jobs: m.tierJobs[i]})
	}
	return s
}
