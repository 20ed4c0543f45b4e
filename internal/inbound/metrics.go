package inbound

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts texts. A nil one counts nothing.
type Metrics struct{ total *prometheus.CounterVec }

// NewMetrics registers the figures with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "laudspeaker_inbound_total",
		Help: "Texts that people sent to us, by gateway (empty: one that takes none) and by what became of them.",
	}, []string{"gateway", "result"})}
	r.MustRegister(m.total)
	return m
}

func (m *Metrics) count(gateway string, err error, result string) {
	if m == nil {
		return
	}
	if err != nil {
		result = errLabel(err)
	}
	m.total.WithLabelValues(gateway, result).Inc()
}
