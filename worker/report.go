package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Metrics are the figures of all workers of a process.
type Metrics struct {
	attempts   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	left       *prometheus.CounterVec
	dead       *prometheus.CounterVec
	duplicates *prometheus.CounterVec
	conflicts  *prometheus.CounterVec
	endToEnd   *prometheus.HistogramVec
}

// NewMetrics registers the figures with r; a nil r keeps them to themselves.
func NewMetrics(r prometheus.Registerer) *Metrics {
	lane := []string{"channel", "lane"}
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_attempts_total", Help: "Calls of a gateway, by its verdict.",
		}, []string{"channel", "gateway", "verdict"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "laudspeaker_attempt_seconds", Help: "How long a call of a gateway took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120, 600},
		}, []string{"channel", "gateway"}),
		left: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_jobs_ended_total", Help: "Steps of jobs that ended, by the state that they ended in.",
		}, []string{"channel", "state"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_dead_letters_total", Help: "Jobs that became a dead letter.",
		}, lane),
		duplicates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_duplicates_dropped_total", Help: "Second copies of jobs that were not sent.",
		}, lane),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_id_conflicts_total", Help: "Second notifications under a known id that were not sent; an event says so of each.",
		}, lane),
		endToEnd: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "laudspeaker_end_to_end_seconds", Help: "From the acceptance of a notification to that of its gateway.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120, 600, 3600},
		}, lane),
	}
	if r != nil {
		r.MustRegister(m.attempts, m.seconds, m.left, m.dead, m.duplicates, m.conflicts, m.endToEnd)
	}
	return m
}

// counts are the figures of one worker, looked up once.
type counts struct {
	gateways map[string]gatewayCounts
	left     map[notify.State]prometheus.Counter
	dead     prometheus.Counter
	double   prometheus.Counter
	conflict prometheus.Counter
	endToEnd prometheus.Observer
}

type gatewayCounts struct {
	attempts map[notify.Verdict]prometheus.Counter
	seconds  prometheus.Observer
}

func (m *Metrics) of(ch notify.Channel, lane notify.Lane, route *Route) counts {
	if m == nil {
		m = NewMetrics(nil)
	}
	c := counts{
		gateways: map[string]gatewayCounts{}, left: map[notify.State]prometheus.Counter{},
		dead:     m.dead.WithLabelValues(string(ch), string(lane)),
		double:   m.duplicates.WithLabelValues(string(ch), string(lane)),
		conflict: m.conflicts.WithLabelValues(string(ch), string(lane)),
		endToEnd: m.endToEnd.WithLabelValues(string(ch), string(lane)),
	}
	for _, o := range route.Outlets {
		g := gatewayCounts{map[notify.Verdict]prometheus.Counter{}, m.seconds.WithLabelValues(string(ch), o.Name)}
		for _, v := range []notify.Verdict{notify.Accepted, notify.Permanent, notify.Transient, notify.Throttled, notify.Unavailable, notify.Ambiguous} {
			g.attempts[v] = m.attempts.WithLabelValues(string(ch), o.Name, string(v))
		}
		c.gateways[o.Name] = g
	}
	for _, s := range []notify.State{
		notify.StateSent, notify.StateRejected, notify.StateExpired, notify.StateDead, notify.StateHeld, notify.StateRetrying,
		notify.StateScheduled, notify.StateCancelled, notify.StateSuppressed,
		notify.StateDelivered,
	} {
		c.left[s] = m.left.WithLabelValues(string(ch), string(s))
	}
	return c
}

func (c counts) attempt(gateway string, v notify.Verdict, took time.Duration) {
	g := c.gateways[gateway]
	g.attempts[v].Inc()
	g.seconds.Observe(took.Seconds())
}

func (c counts) end(s notify.State)         { c.left[s].Inc() }
func (c counts) buried()                    { c.dead.Inc() }
func (c counts) dropped()                   { c.double.Inc() }
func (c counts) delivered(in time.Duration) { c.endToEnd.Observe(in.Seconds()) }
