package control

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Partitions is a set of partition numbers: sorted ranges that neither overlap nor touch. The zero value is empty. Its text
// form is "0-5,9".
type Partitions []span

// span is the range of numbers from from up to, but excluding, to.
type span struct{ from, to int32 }

const (
	maxPartitions = 10_000 // of a topic; higher numbers are considered a mistake
	maxRanges     = 512    // in the partitions of one report
)

// NewPartitions returns the set of the given numbers, which may be in any order.
func NewPartitions(numbers []int32) Partitions {
	spans := make([]span, len(numbers))
	for i, n := range numbers {
		spans[i] = span{n, n + 1}
	}
	return union(spans)
}

// union returns the set of the numbers in the ranges, which may be in any order. It reorders spans.
func union(spans []span) Partitions {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var all Partitions
	for _, s := range spans {
		if last := len(all) - 1; last >= 0 && s.from <= all[last].to {
			all[last].to = max(all[last].to, s.to)
			continue
		}
		all = append(all, s)
	}
	return all
}

// intersect returns the numbers that are in both sets.
func (p Partitions) intersect(q Partitions) Partitions {
	var both Partitions
	for i, j := 0, 0; i < len(p) && j < len(q); {
		if s := (span{max(p[i].from, q[j].from), min(p[i].to, q[j].to)}); s.from < s.to {
			both = append(both, s)
		}
		if p[i].to < q[j].to {
			i++
		} else {
			j++
		}
	}
	return both
}

// Has reports whether n is in the set.
func (p Partitions) Has(n int32) bool {
	at, found := slices.BinarySearchFunc(p, n, func(s span, n int32) int { return cmp.Compare(s.from, n) })
	return found || at > 0 && n < p[at-1].to
}

// len returns how many numbers the set has.
func (p Partitions) len() int {
	n := 0
	for _, s := range p {
		n += int(s.to - s.from)
	}
	return n
}

// MarshalText encodes the first [maxRanges] ranges.
func (p Partitions) MarshalText() ([]byte, error) {
	var b []byte
	for i, s := range p[:min(len(p), maxRanges)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(s.from), 10)
		if s.to > s.from+1 {
			b = strconv.AppendInt(append(b, '-'), int64(s.to-1), 10)
		}
	}
	return b, nil
}

// UnmarshalText parses the text that MarshalText returns. Its errors do not repeat the text.
func (p *Partitions) UnmarshalText(text []byte) error {
	*p = nil
	if len(text) == 0 {
		return nil
	}
	if len(text) > 12*maxRanges {
		return fmt.Errorf("%w: more than %d ranges of partitions", ErrMalformed, maxRanges)
	}
	parts := strings.Split(string(text), ",")
	spans := make([]span, 0, len(parts))
	for _, part := range parts {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 31)
		to, err2 := strconv.ParseUint(last, 10, 31)
		if err1 != nil || err2 != nil || from > to || to >= maxPartitions {
			return fmt.Errorf("%w: a range of partitions is not FROM-TO, with numbers below %d", ErrMalformed, maxPartitions)
		}
		spans = append(spans, span{int32(from), int32(to) + 1})
	}
	*p = union(spans)
	if len(*p) > maxRanges {
		return fmt.Errorf("%w: more than %d ranges of partitions", ErrMalformed, maxRanges)
	}
	return nil
}
