package cmd

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fault is what was done to processes, and to whom. What of theirs was in flight then may be done once more, once for
// each fault; nothing else may.
type fault struct {
	kind    string
	workers []string // nil: all
	from    time.Time
	until   time.Time
}

// struck says that q was in flight when f struck, or began before it was over. It is until its outcome is on the ledger.
func (f fault) struck(q request) bool {
	if f.workers != nil && !slices.Contains(f.workers, q.worker) {
		return false
	}
	return q.begun.Before(f.until) && (q.settled.IsZero() || q.settled.After(f.from))
}

const (
	// beginSlack: between a worker's last look at a job and the provider's first sight of the request there is the wait
	// for a place (half a second at most) and the machine.
	beginSlack = 1500 * time.Millisecond
	// cancelSlack is what a cancellation may take beyond its promise.
	cancelSlack = time.Second
)

// verdict is what the records say of a run.
type verdict struct {
	acked, delivered, ended, lost, duplicated, bound, again int
	unread                                                  int // answers that came too late for their worker, with no fault
	early, expiredLate, cancelledLate, disorder             int
	states                                                  map[notify.State]int
	late                                                    []time.Duration // of scheduled letters
	slowest                                                 time.Duration   // begun so long after it had expired or was cancelled
	wrong                                                   map[string][]string
	notes                                                   []string // those of again
}

// judge holds the letters against the provider's requests and the events.
func judge(letters map[int]*letter, requests map[int][]request, e *events, faults []fault) *verdict {
	v := &verdict{states: map[notify.State]int{}, wrong: map[string][]string{}}
	for number, qs := range requests {
		e.settle(number, qs)
		for _, q := range qs {
			for _, f := range faults {
				if f.struck(q) {
					v.bound++
				}
			}
		}
	}
	for number, l := range letters {
		c := &file{v: v, letter: l, requests: requests[number], endings: e.of(number), faults: faults, overdue: e.overdue[number]}
		c.count()
		c.fate()
		c.repetitions()
		c.times()
	}
	v.order(letters, requests, e)
	return v
}

// order: of the letters of a key and a lane that were plain and never put off, none overtakes an earlier one of its partition.
// A key changes its partition once when partitions are added.
func (v *verdict) order(letters map[int]*letter, requests map[int][]request, e *events) {
	lines := map[string][]int{}
	for number, l := range letters {
		qs := requests[number]
		if l.plain() && !l.acked.IsZero() && len(qs) > 0 && qs[0].did.taken() && !e.retried[number] {
			line := string(l.lane) + l.key + " " + e.claims[number]
			lines[line] = append(lines[line], number)
		}
	}
	for line, numbers := range lines {
		sort.Ints(numbers)
		for i := 1; i < len(numbers); i++ {
			if a, b := requests[numbers[i-1]][0], requests[numbers[i]][0]; b.begun.Before(a.begun) {
				v.disorder++
				v.wrong["out of order"] = append(v.wrong["out of order"], fmt.Sprintf("%s: %d at %s before %d at %s",
					line, b.message, clock4(b.begun), a.message, clock4(a.begun)))
			}
		}
	}
}
