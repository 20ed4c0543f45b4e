package worker

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Outlet is one gateway with what stands before it. All channels and lanes of a process that use the gateway share it.
type Outlet struct {
	Name           string // the name that the configuration gives to the gateway
	Sender         gateway.Sender
	Breaker        *gateway.Breaker
	Limiter        *Limiter // nil limits nothing
	RecipientTypes []string // of channel push, which it delivers to; empty: all

	devices  devices
	refusals refusals
}

// accepts reports whether the gateway delivers to recipients of m's type.
func (o *Outlet) accepts(m *notify.Message) bool {
	return m.RecipientType == "" || len(o.RecipientTypes) == 0 || slices.Contains(o.RecipientTypes, m.RecipientType)
}

// Route is the gateways of one channel. Without weights they are asked in their order, the next one only when the one
// before fails; with weights an attempt begins at one that is drawn by them, and then takes the others in their order.
type Route struct {
	Outlets []*Outlet
	Weights []int // one for each outlet, or none
}

// order gives the gateways that may deliver j, the first to be asked first.
func (r *Route) order(j *job) []*Outlet {
	if len(r.Outlets) == 1 && r.Outlets[0].accepts(j.message) {
		return r.Outlets
	}
	all := make([]*Outlet, 0, len(r.Outlets))
	first := r.draw(j)
	for i := range r.Outlets {
		// the drawn one, then the others as they stand
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

// draw picks the outlet at which j's attempt begins.
func (r *Route) draw(j *job) int {
	total := 0
	for i, w := range r.Weights {
		if r.Outlets[i].accepts(j.message) {
			total += w
		}
	}
	if total == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(j.id))
	n := rand.New(rand.NewPCG(h.Sum64(), uint64(j.run)<<32|uint64(j.step))).IntN(total)
	for i, w := range r.Weights {
		if !r.Outlets[i].accepts(j.message) {
			continue
		}
		if n -= w; n < 0 {
			return i
		}
	}
	return 0
}
