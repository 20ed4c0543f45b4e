package status

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// kind is what a record was read as.
type kind int

const (
	kindJob kind = iota
	kindEvent
	kindSkipped    // says nothing of a state: an intent
	kindUnreadable // is no event
	kinds
)

type counts [kinds]int

func (c *counts) count(k kind) { c[k]++ }

// end is where a partition stands after a batch.
type end struct {
	part
	behind bool      // more is there
	last   time.Time // when the last record that was read had been written
}

// gauge is what the recorder says of itself.
type gauge struct {
	records  [kinds]prometheus.Counter
	failures prometheus.Counter
	missed   prometheus.Counter

	recreated, truncated prometheus.Counter
	active               atomic.Bool

	mu     sync.Mutex
	oldest time.Time          // of the records in hand; zero when there are none
	behind map[part]time.Time // when what was read last had been written, of partitions that have more
}

func newGauge(to prometheus.Registerer) *gauge {
	g := &gauge{behind: map[part]time.Time{}}
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "laudspeaker_recorder_records_total", Help: "Records that the status store has taken account of: jobs, events, and what is neither.",
	}, []string{"kind"})
	for k, name := range [kinds]string{"job", "event", "skipped", "unreadable"} {
		g.records[k] = records.WithLabelValues(name)
	}
	g.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "laudspeaker_recorder_failures_total", Help: "How often the status store could not be asked or written.",
	})
	g.missed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "laudspeaker_recorder_missed_records_total", Help: "Records that were gone before the status store had read them.",
	})
	void := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "laudspeaker_recorder_void_positions_total",
		Help: "Positions of the status store that mean nothing any more: the topic was created again, or the partition was truncated.",
	}, []string{"cause"})
	g.recreated, g.truncated = void.WithLabelValues("recreated"), void.WithLabelValues("truncated")
	if to != nil {
		to.MustRegister(
			records, g.failures, g.missed, void,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "laudspeaker_recorder_active", Help: "1 in the one process that fills the status store.",
			}, func() float64 {
				if g.active.Load() {
					return 1
				}
				return 0
			}),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "laudspeaker_recorder_lag_seconds", Help: "How far the status store is behind the topics, in the process that fills it.",
			}, func() float64 { return g.lag(time.Now()).Seconds() }),
		)
	}
	return g
}

func (g *gauge) begin() { g.active.Store(true) }

func (g *gauge) end() {
	g.active.Store(false)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.oldest = time.Time{}
	clear(g.behind)
}

// hold takes note of a record that is not in the store yet.
func (g *gauge) hold(written time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.oldest.IsZero() || written.Before(g.oldest) {
		g.oldest = written
	}
}

func (g *gauge) recorded(b *batch) {
	for k, n := range b.counts {
		g.records[k].Add(float64(n))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.oldest = time.Time{}
	for _, e := range b.ends {
		if delete(g.behind, e.part); e.behind {
			g.behind[e.part] = e.last
		}
	}
}

func (g *gauge) lag(now time.Time) (lag time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	since := func(at time.Time) {
		if at.UnixMilli() > 0 { // else nobody said when
			lag = max(lag, now.Sub(at))
		}
	}
	since(g.oldest)
	for _, at := range g.behind {
		since(at)
	}
	return lag
}

// seldom logs trouble that lasts at once and then every ten seconds.
type seldom struct {
	log  *zap.Logger
	mu   sync.Mutex
	last time.Time
}

func newSeldom(log *zap.Logger) *seldom { return &seldom{log: log} }

func (s *seldom) warn(msg string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.last) >= 10*time.Second {
		s.last = now
		s.log.Warn(msg, zap.Error(err))
	}
}
