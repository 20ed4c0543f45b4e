package worker

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Outlet is one gateway with its circuit breaker and its limiter. All channels and lanes of a process that use the gateway
// share it.
type Outlet struct {
	Name           string // name of the gateway in the configuration
	Sender         gateway.Sender
	Breaker        *gateway.Breaker
	Limiter        *limiter.Limiter // nil limits nothing
	RecipientTypes []string         // recipient types of channel push that the gateway delivers to; empty: all

	unknown unknownRecipients
	circuit circuitHistory
}

// accepts reports whether the gateway delivers to recipients of m's type.
func (o *Outlet) accepts(m *notify.Message) bool {
	return m.RecipientType == "" || len(o.RecipientTypes) == 0 || slices.Contains(o.RecipientTypes, m.RecipientType)
}

// Route is the failover order of the gateways of one channel. Without weights an attempt calls them in their order, the next one
// only when the one before fails. With weights an attempt begins at a gateway that is drawn by weight, and then calls the others
// in their order.
type Route struct {
	Outlets []*Outlet
	Weights []int // one for each outlet, or none
}

// order returns the gateways that may deliver j, in the order of their calls.
func (r *Route) order(j *job) []*Outlet {
	if len(r.Outlets) == 1 && r.Outlets[0].accepts(j.message) {
		return r.Outlets
	}
	all := make([]*Outlet, 0, len(r.Outlets))
	first := r.drawFirst(j)
	for i := range r.Outlets {
		// the drawn gateway, then the others in their order
		at := i
		if i == 0 {
			at = first
		} else if i <= first {
			at = i - 1
		}
		if o := r.Outlets[at]; o.accepts(j.message) {
			all = append(all, o)
		}
	}
	return all
}

// drawFirst returns the index of the outlet at which an attempt of j begins. It depends only on ID, run and step of the job.
func (r *Route) drawFirst(j *job) int {
	total := 0
	for i, weight := range r.Weights {
		if r.Outlets[i].accepts(j.message) {
			total += weight
		}
	}
	if total == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(j.id))
	n := rand.New(rand.NewPCG(h.Sum64(), uint64(j.run)<<32|uint64(j.step))).IntN(total)
	for i, weight := range r.Weights {
		if !r.Outlets[i].accepts(j.message) {
			continue
		}
		n -= weight
		if n < 0 {
			return i
		}
	}
	return 0
}
