package receipts

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Metrics counts receipts. A nil Metrics counts nothing.
type Metrics struct{ total *prometheus.CounterVec }

// NewMetrics returns metrics that are registered with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "laudspeaker_receipts_total",
		Help: "What providers report of messages later, by gateway (empty: one that takes none) and by what became of it.",
	}, []string{"gateway", "result"})}
	r.MustRegister(m.total)
	return m
}

func (m *Metrics) count(gateway string, err error, result string) {
	if m != nil {
		m.total.WithLabelValues(gateway, label(err, result)).Inc()
	}
}

func label(err error, result string) string {
	var faults notify.Faults
	switch {
	case err == nil:
		return result
	case errors.Is(err, notify.ErrForged):
		return "forged"
	case errors.Is(err, notify.ErrUnknownGateway), errors.Is(err, notify.ErrUnknownNotification):
		return "unknown"
	case errors.Is(err, notify.ErrEarly):
		return "early"
	case errors.As(err, &faults):
		return "invalid"
	default:
		return "unavailable"
	}
}
