package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Metrics are the metrics of all workers of a process.
type Metrics struct {
	attempts    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	ended       *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	duplicates  *prometheus.CounterVec
	conflicts   *prometheus.CounterVec
	endToEnd    *prometheus.HistogramVec
}

// NewMetrics returns metrics that are registered with r; with a nil r they are not registered.
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
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_jobs_ended_total", Help: "Steps of jobs that ended, by the state that they ended in.",
		}, []string{"channel", "state"}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{
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
		r.MustRegister(m.attempts, m.seconds, m.ended, m.deadLetters, m.duplicates, m.conflicts, m.endToEnd)
	}
	return m
}

// workerMetrics are the metrics of one worker, with their labels looked up once.
type workerMetrics struct {
	gateways    map[string]gatewayMetrics
	byState     map[notify.State]prometheus.Counter
	deadLetters prometheus.Counter
	duplicates  prometheus.Counter
	conflicts   prometheus.Counter
	endToEnd    prometheus.Observer
}

type gatewayMetrics struct {
	attempts map[notify.Verdict]prometheus.Counter
	seconds  prometheus.Observer
}

func (m *Metrics) of(ch notify.Channel, lane notify.Lane, route *Route) workerMetrics {
	if m == nil {
		m = NewMetrics(nil)
	}
	w := workerMetrics{
		gateways:    map[string]gatewayMetrics{},
		byState:     map[notify.State]prometheus.Counter{},
		deadLetters: m.deadLetters.WithLabelValues(string(ch), string(lane)),
		duplicates:  m.duplicates.WithLabelValues(string(ch), string(lane)),
		conflicts:   m.conflicts.WithLabelValues(string(ch), string(lane)),
		endToEnd:    m.endToEnd.WithLabelValues(string(ch), string(lane)),
	}
	for _, o := range route.Outlets {
		g := gatewayMetrics{map[notify.Verdict]prometheus.Counter{}, m.seconds.WithLabelValues(string(ch), o.Name)}
		for _, v := range []notify.Verdict{notify.Accepted, notify.Permanent, notify.Transient, notify.Throttled, notify.Unavailable, notify.Ambiguous} {
			g.attempts[v] = m.attempts.WithLabelValues(string(ch), o.Name, string(v))
		}
		w.gateways[o.Name] = g
	}
	for _, s := range []notify.State{
		notify.StateSent, notify.StateRejected, notify.StateExpired, notify.StateDead, notify.StateHeld, notify.StateRetrying,
		notify.StateScheduled, notify.StateCancelled, notify.StateSuppressed,
		notify.StateDelivered,
	} {
		w.byState[s] = m.ended.WithLabelValues(string(ch), string(s))
	}
	return w
}

func (w workerMetrics) attempt(gateway string, v notify.Verdict, took time.Duration) {
	g := w.gateways[gateway]
	g.attempts[v].Inc()
	g.seconds.Observe(took.Seconds())
}

func (w workerMetrics) ended(s notify.State)       { w.byState[s].Inc() }
func (w workerMetrics) deadLettered()              { w.deadLetters.Inc() }
func (w workerMetrics) duplicate()                 { w.duplicates.Inc() }
func (w workerMetrics) delivered(in time.Duration) { w.endToEnd.Observe(in.Seconds()) }
