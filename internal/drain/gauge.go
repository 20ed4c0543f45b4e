package drain

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Meter is [kafka.Meter].
type Meter interface {
	// Measure gives the depth of each topic. It ends within seconds, with an error when Kafka does not answer.
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

// Tier is a step of a channel's delay ladder.
type Tier struct {
	Channel notify.Channel
	Name    string
	Topic   string
	Group   string
}

// Config is what a gauge measures. Lanes and tiers are shown in their order.
type Config struct {
	Lanes []Lane
	Tiers []Tier
	Meter Meter
	// Paused says whether an operator has paused a lane; it answers at once. nil: none is.
	Paused func(notify.Channel, notify.Lane) bool
	// ShedBulkAfter is how long bulk may take to drain before more of it is refused; 0 refuses none.
	ShedBulkAfter time.Duration
	Log           *zap.Logger
}

const (
	every = 2 * time.Second  // a measurement
	stale = 30 * time.Second // what is older means nothing
)

// Gauge measures. Its methods answer at once, and may be called from many goroutines.
type Gauge struct {
	cfg     Config
	watched []kafka.Watched

	mu       sync.Mutex
	lanes    []measured // beside cfg.Lanes
	tiers    []int64    // beside cfg.Tiers
	at       time.Time  // of the last measurement
	shedding map[notify.Channel]bool
	strained map[notify.Channel]int // how many measurements in a row
}

// measured is a lane as it was.
type measured struct {
	meter  meter
	depth  kafka.Depth
	before bool // there was one
}

// New makes a gauge, which closes its meter when it has run.
func New(cfg Config) *Gauge {
	if cfg.Paused == nil {
		cfg.Paused = func(notify.Channel, notify.Lane) bool { return false }
	}
	g := &Gauge{
		cfg: cfg, lanes: make([]measured, len(cfg.Lanes)), tiers: make([]int64, len(cfg.Tiers)), shedding: map[notify.Channel]bool{}, strained: map[notify.Channel]int{},
	}
	for _, l := range cfg.Lanes {
		g.watched = append(g.watched, kafka.Watched{Topic: l.Topic, Group: l.Group, Ages: true})
	}
	for _, t := range cfg.Tiers {
		g.watched = append(g.watched, kafka.Watched{Topic: t.Topic, Group: t.Group})
	}
	return g
}

// Run measures until ctx ends. Kafka being away is no error.
func (g *Gauge) Run(ctx context.Context) error {
	defer g.cfg.Meter.Close()
	defer context.AfterFunc(ctx, g.cfg.Meter.Close)()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for away := false; ; {
		switch depths, err := g.cfg.Meter.Measure(g.watched); {
		case ctx.Err() != nil:
			return nil
		case err != nil && !away:
			away = true
			g.cfg.Log.Warn("the backlog cannot be measured; it is tried again", zap.Error(err))
		case err == nil:
			away = false
			g.take(depths, time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// take takes a measurement in, and decides anew what is shed.
func (g *Gauge) take(depths map[string]kafka.Depth, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	in := now.Sub(g.at)
	for i, l := range g.cfg.Lanes {
		m, depth := &g.lanes[i], depths[l.Topic]
		if m.before && in > 0 {
			m.meter.add(depth.Done-m.depth.Done, in, m.depth.Left > 0, depth.Left > 0)
		}
		m.depth, m.before = depth, true
	}
	for i, t := range g.cfg.Tiers {
		g.tiers[i] = depths[t.Topic].Left
	}
	g.at = now
	g.judge(now)
}

// Of gives the drain of a lane of a channel; ok is false while it is not known.
func (g *Gauge) Of(ch notify.Channel, lane notify.Lane) (d notify.Drain, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.known(now) {
		return d, false
	}
	for i, l := range g.cfg.Lanes {
		if l.Channel == ch && l.Lane == lane {
			return g.lanes[i].drain(now), true
		}
	}
	return d, false
}

// known reports whether the figures mean something. The lock is held.
func (g *Gauge) known(now time.Time) bool { return !g.at.IsZero() && now.Sub(g.at) <= stale }

// drain is m for those who ask.
func (m *measured) drain(now time.Time) notify.Drain {
	d := notify.Drain{Backlog: m.depth.Left, Rate: rounded(m.meter.rate())}
	if age, ok := m.age(now); ok {
		d.OldestSeconds = seconds(age)
	}
	if takes, ok := m.meter.drain(m.depth.Left); ok {
		d.DrainSeconds = seconds(takes)
	}
	return d
}

// age is for how long the oldest record waits.
func (m *measured) age(now time.Time) (time.Duration, bool) {
	if m.depth.Left == 0 || m.depth.Oldest.IsZero() {
		return 0, false
	}
	return max(0, now.Sub(m.depth.Oldest)), true
}

// seconds and rounded keep figures to what they are good for.
func seconds(d time.Duration) *float64 {
	s := d.Round(100 * time.Millisecond).Seconds()
	return &s
}

func rounded(rate float64) float64 { return float64(int64(rate*100+0.5)) / 100 }

// Stats gives all figures, in slices of their own. It leaves out for which gateways lanes wait.
func (g *Gauge) Stats() notify.Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	s := notify.Stats{At: g.at, Stale: !g.known(now)}
	place := map[notify.Channel]int{}
	of := func(ch notify.Channel) *notify.ChannelStats {
		i, ok := place[ch]
		if !ok {
			i = len(s.Channels)
			place[ch] = i
			s.Channels = append(s.Channels, notify.ChannelStats{Channel: ch})
		}
		return &s.Channels[i]
	}
	for i, l := range g.cfg.Lanes {
		d := g.lanes[i].drain(now)
		s.Backlog, s.Rate = s.Backlog+d.Backlog, s.Rate+d.Rate
		c := of(l.Channel)
		c.Lanes = append(c.Lanes, notify.LaneDrain{
			Lane: l.Lane, Drain: d, Paused: g.cfg.Paused(l.Channel, l.Lane), Shedding: l.Lane == notify.LaneBulk && !s.Stale && g.shedding[l.Channel],
		})
	}
	for i, t := range g.cfg.Tiers {
		s.Waiting += g.tiers[i]
		c := of(t.Channel)
		c.Waiting = append(c.Waiting, notify.TierWait{Tier: t.Name, Jobs: g.tiers[i]})
	}
	return s
}
