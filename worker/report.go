package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Metrics are the figures of all workers of a process.
type Metrics struct {
	attempts    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	ended       *prometheus.CounterVec
	unavailable *prometheus.GaugeVec
}

// NewMetrics registers the figures with r; a nil r keeps them to themselves.
func NewMetrics(r prometheus.Registerer) *Metrics {
	by := func(more ...string) []string { return append([]string{"channel", "gateway"}, more...) }
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_attempts_total", Help: "Calls of a gateway, by its verdict.",
		}, by("verdict")),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "laudspeaker_attempt_seconds", Help: "How long a call of a gateway took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, by()),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_jobs_ended_total", Help: "Jobs that ended, by their state.",
		}, []string{"channel", "state"}),
		unavailable: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "laudspeaker_gateway_unavailable", Help: "1 while a gateway refuses us and fetching is stopped.",
		}, by()),
	}
	if r != nil {
		r.MustRegister(m.attempts, m.seconds, m.ended, m.unavailable)
	}
	return m
}

// counts are the figures of one worker, looked up once.
type counts struct {
	attempts    map[notify.Verdict]prometheus.Counter
	seconds     prometheus.Observer
	ended       map[notify.State]prometheus.Counter
	unavailable prometheus.Gauge
}

func (m *Metrics) of(ch notify.Channel, gateway string) counts {
	if m == nil {
		m = NewMetrics(nil)
	}
	c := counts{
		attempts:    map[notify.Verdict]prometheus.Counter{},
		seconds:     m.seconds.WithLabelValues(string(ch), gateway),
		ended:       map[notify.State]prometheus.Counter{},
		unavailable: m.unavailable.WithLabelValues(string(ch), gateway),
	}
	for _, v := range []notify.Verdict{notify.Accepted, notify.Permanent, notify.Transient, notify.Throttled, notify.Unavailable, notify.Ambiguous} {
		c.attempts[v] = m.attempts.WithLabelValues(string(ch), gateway, string(v))
	}
	for _, s := range []notify.State{notify.StateSent, notify.StateRejected, notify.StateExpired, notify.StateDead} {
		c.ended[s] = m.ended.WithLabelValues(string(ch), string(s))
	}
	return c
}

func (c counts) attempt(v notify.Verdict, took time.Duration) {
	c.attempts[v].Inc()
	c.seconds.Observe(took.Seconds())
}

func (c counts) end(s notify.State) { c.ended[s].Inc() }

// logAttempt writes the one line of a call of the gateway.
func (w *Worker) logAttempt(a *kafka.Attempt, j *job, t try, took time.Duration) {
	level := zapcore.WarnLevel
	if t.verdict == notify.Accepted {
		level = zapcore.InfoLevel
	}
	line := w.log.Check(level, "attempt")
	if line == nil {
		return
	}
	fields := append(make([]zap.Field, 0, 10),
		zap.String("id", j.id), zap.String("verdict", string(t.verdict)), zap.Int("try", j.calls),
		zap.Int64("ms", took.Milliseconds()), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	if t.failure != nil {
		fields = append(fields, zap.String("code", notify.Clip(t.code(), 64)), zap.String("reason", notify.Clip(t.reason(), 500)))
	}
	switch w.cfg.Recipients {
	case RecipientsNone:
	case RecipientsFull:
		fields = append(fields, zap.String("recipient", j.message.Recipient))
	default:
		fields = append(fields, zap.String("recipient", notify.Mask(j.message.Address)))
	}
	line.Write(fields...)
}

// logEnd writes the line of a job that ends without another call of the gateway.
func (w *Worker) logEnd(a *kafka.Attempt, j *job, s notify.State, reason, code string) {
	w.log.Warn("no attempt", zap.String("id", j.id), zap.String("state", string(s)), zap.String("reason", reason),
		zap.String("code", code), zap.Int("tries", j.calls), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
}

// logShut says once what stands still and what an operator does about it.
func (w *Worker) logShut(f *notify.Failure) {
	remedy := f.Remedy
	if remedy == "" {
		remedy = "check the gateway's credentials and account; `laudspeaker gateways check` tries them without sending"
	}
	w.log.Error("the gateway refuses us: fetching stops until it serves us again, nothing is lost",
		zap.String("code", notify.Clip(f.Code, 64)), zap.String("reason", notify.Clip(f.Reason, 500)),
		zap.String("remedy", remedy), zap.Duration("next_try_in", probeEvery))
}
