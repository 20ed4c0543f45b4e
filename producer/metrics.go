package producer

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Metrics counts what the API does. A nil one counts nothing.
type Metrics struct {
	acceptedTotal, responsesTotal *prometheus.CounterVec
}

// NewMetrics registers the API's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		acceptedTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_accepted_total", Help: "Notifications that the API has made durable jobs, by channel.",
		}, []string{"channel"}),
		responsesTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "laudspeaker_api_responses_total", Help: "Answers of the API, by HTTP status.",
		}, []string{"status"}),
	}
	for _, c := range notify.Channels() { // so that a rate is there from the first one on
		m.acceptedTotal.WithLabelValues(string(c))
	}
	r.MustRegister(m.acceptedTotal, m.responsesTotal)
	return m
}

func (m *Metrics) accepted(c notify.Channel) {
	if m != nil {
		m.acceptedTotal.WithLabelValues(string(c)).Inc()
	}
}

func (m *Metrics) responded(status int) {
	if m != nil {
		m.responsesTotal.WithLabelValues(strconv.Itoa(status)).Inc()
	}
}
