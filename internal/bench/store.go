package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Store measures what the recorder of the status store costs, beside a bare multi-row insert into SQLite.
type Store struct {
	Options
	Rows       int // notifications in the store when the measurement begins
	Lifecycles int // of a leg
}

// Check says what is wrong with the arguments.
func (r *Store) Check() error {
	if r.Short {
		r.Rows, r.Lifecycles = min(r.Rows, 2000), min(r.Lifecycles, 2000)
	}
	if r.Rows < 0 {
		return errors.New("--rows: give 0 or more, such as --rows 1000000")
	}
	if r.Lifecycles < chunk {
		return fmt.Errorf("--lifecycles: give at least %d, such as --lifecycles 50000", chunk)
	}
	if len(r.Brokers) > 0 || len(r.Set) > 0 {
		return errors.New("bench store starts no role: --brokers and --set have no effect on it, leave them out")
	}
	return r.check()
}

// storeReport is a message of the process that fills the store.
type storeReport struct {
	Side     int     `json:"side"`
	Rate     float64 `json:"rate"` // rows, or lifecycles, per second
	CPU      float64 `json:"cpu"`  // microseconds of each; below 0: not known
	Bytes    float64 `json:"bytes"`
	Peak     float64 `json:"peak"`
	Progress string  `json:"progress"` // not empty: nothing else is in the message
	End      bool    `json:"end"`
	Recorded int     `json:"recorded"` // at the end: lifecycles that the store has
	Wanted   int     `json:"wanted"`
}

// Run fills both stores, and then alternates legs.
func (r *Store) Run(ctx context.Context) (*Result, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	s, err := r.newStage()
	if err != nil {
		return nil, err
	}
	defer s.close()
	result := r.result("store", fmt.Sprintf("SQLite, %s rows before, %d legs of %s lifecycles", whole(r.Rows), r.Legs, whole(r.Lifecycles)), "bare")
	f := newFigures()
	p, err := s.helper(ctx, "store", storeHelper, storeSettings{Dir: s.dir, Rows: r.Rows, Lifecycles: r.Lifecycles, Legs: r.Legs})
	if err != nil {
		return nil, err
	}
	for {
		var report storeReport
		if err := p.receive(ctx, &report); err != nil {
			return nil, err
		}
		switch {
		case report.Progress != "":
			r.say("%s", report.Progress)
			continue
		case report.End:
			result.Audit = Audit{Accepted: report.Wanted, Delivered: report.Recorded, Lost: report.Wanted - report.Recorded}
			return result, r.finish(result, f, storeTargets(), voidInsert(f.values[rowLifecycle][baseline]))
		}
		if report.CPU < 0 {
			report.CPU = math.NaN()
		}
		events := map[int]float64{baseline: report.Rate, ours: 2 * report.Rate}[report.Side]
		f.add(report.Side, "lifecycles", "/s", report.Rate)
		f.add(report.Side, "events", "/s", events)
		f.add(report.Side, rowLifecycle, "µs", report.CPU)
		f.add(report.Side, rowBytes, "bytes per notification", report.Bytes)
		if report.Side == ours {
			f.add(ours, "peak RSS", "MB", report.Peak)
		}
	}
}

// voidInsert is void for a baseline of which the reference is a cost and not a rate.
func voidInsert(legs []float64) string {
	if s := spreadOf(legs); s != nil && s.Max > insertCPU/tolerance {
		return fmt.Sprintf("the machine was not quiet: a baseline leg took %s µs for each row, the reference is %d", number(s.Max), insertCPU)
	}
	return ""
}
