package bench

import (
	"math"
	"slices"
	"time"
)

// Spread is the median of some legs and their extremes.
type Spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Legs   []float64 `json:"legs"`
}

// spreadOf returns nil where no leg has a value; NaN stands for a leg without one.
func spreadOf(legs []float64) *Spread {
	known := slices.DeleteFunc(slices.Clone(legs), math.IsNaN)
	if len(known) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(known))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return &Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1], Legs: known}
}

// ratiosOf divides the legs of a by those of b, pair by pair. A pair of which one has no value has no ratio.
func ratiosOf(a, b []float64) []float64 {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = math.NaN()
		if b[i] != 0 {
			ratios[i] = a[i] / b[i]
		}
	}
	return ratios
}

// quantile returns the nearest rank of sorted values in milliseconds, NaN where there are none.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return float64(sorted[max(rank, 0)]) / float64(time.Millisecond)
}

// perMessage returns microseconds, NaN where the CPU time is not known or there are no messages.
func perMessage(cpu time.Duration, messages int) float64 {
	if cpu < 0 || messages <= 0 {
		return math.NaN()
	}
	return float64(cpu) / float64(time.Microsecond) / float64(messages)
}
