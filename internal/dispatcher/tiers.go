package dispatcher

import (
	"strings"
	"time"
)

// Tiers are the steps of the delay ladder, in rising order. A job waits in one tier after another: always in the longest
// that is not longer than what remains, so that a topic holds one length of waiting and its head is always due first.
type Tiers []time.Duration

// DefaultTiers are the contract's.
func DefaultTiers() Tiers {
	return Tiers{5 * time.Second, 30 * time.Second, 3 * time.Minute, 20 * time.Minute, 2 * time.Hour, 12 * time.Hour}
}

// For gives the tier for a job that is due after that time: the shortest for whatever is due sooner.
func (ts Tiers) For(remaining time.Duration) time.Duration {
	tier := ts[0]
	for _, t := range ts[1:] {
		if t <= remaining {
			tier = t
		}
	}
	return tier
}

// TierName is how a tier is spelt in a topic's name: 5s, 3m, 12h.
func TierName(tier time.Duration) string {
	s := tier.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (t Topics) tiers() Tiers {
	if len(t.Tiers) == 0 {
		return DefaultTiers()
	}
	return t.Tiers
}
