package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world is a job log, a ledger shared with others, and one owner after another. It plays everything that design allows
// to go wrong between a delivery and its commit, and judges by what was delivered.
type world struct {
	t         *rapid.T
	jobs      []int64 // offsets that hold a job; the others are markers
	ledger    []entry
	committed committed
	delivered map[int64]int // how often each job was sent
	allowed   map[int64]int // how often it may have been: once, and once more per kill in flight
	acked     map[int64]bool

	p       progress
	known   int64 // the ledger's end as this owner knows it
	at      int   // next of jobs to be fetched
	running []run
}

type run struct {
	job     int64
	stage   int // 0 sent, 1 handed to the producer, 2 on the ledger
	ledgeAt int64
}

func (w *world) id(o int64) string { return fmt.Sprint("job", o) }

func (w *world) takeOver() {
	newest := int64(0)
	if len(w.jobs) > 0 {
		newest = w.jobs[len(w.jobs)-1] + 1
	}
	s := begin(w.committed, logs{newest: newest, ledgerCount: 1})
	w.known = int64(len(w.ledger))
	from := s.from(w.known, 0, newest == 0)
	w.p = newProgress(s.low)
	w.p.restore(s.low, s.bitmap, s.limit)
	for _, e := range w.ledger[from:] {
		if e.group != "mine" {
			continue
		}
		if e.kind == KindOutcome {
			w.p.readOutcome(e.jobOffset, e.at, e.id)
		} else {
			w.p.readIntent(e.jobOffset, e.at, e.id)
		}
	}
	w.at, _ = slices.BinarySearch(w.jobs, s.low)
	w.commit()
}

func (w *world) commit() {
	offset, text, fits := w.p.commit(w.known, metadata{count: 1})
	require.True(w.t, fits)
	w.committed = committed{offset: offset, metadata: text}
}

func (w *world) append(e entry) int64 {
	e.at = int64(len(w.ledger))
	w.ledger = append(w.ledger, e)
	return e.at
}

func (w *world) fetch() {
	if w.at == len(w.jobs) {
		return
	}
	o := w.jobs[w.at]
	w.at++
	if w.p.arrive(o, func() string { return w.id(o) }) == skip {
		return
	}
	w.delivered[o]++
	require.LessOrEqual(w.t, w.delivered[o], 1+w.allowed[o], "job %d was sent again although nothing was killed in flight", o)
	require.False(w.t, w.acked[o], "job %d was sent again although its outcome had been acknowledged", o)
	w.running = append(w.running, run{job: o})
}

// step moves one running job on: hand-off, append, acknowledgement.
func (w *world) step(i int) {
	r := &w.running[i]
	switch r.stage {
	case 0:
		w.p.handOff(r.job, w.known)
	case 1:
		r.ledgeAt = w.append(entry{kind: KindOutcome, group: "mine", jobOffset: r.job, id: w.id(r.job)})
		w.acked[r.job] = true // on the log: a take-over will see it
	case 2:
		w.known = max(w.known, r.ledgeAt+1)
		w.p.finish(r.job)
		w.running = slices.Delete(w.running, i, i+1)
		return
	}
	r.stage++
}

func (w *world) kill() {
	for _, r := range w.running {
		if r.stage < 2 {
			w.allowed[r.job]++
		}
	}
	w.running = nil
	w.takeOver()
}

func TestNothingIsLostAndNothingAcknowledgedIsRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, committed: committed{offset: -1},
			delivered: map[int64]int{}, allowed: map[int64]int{}, acked: map[int64]bool{},
		}
		w.takeOver()
		next := int64(0)
		for range rapid.IntRange(10, 400).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				next += rapid.SampledFrom([]int64{0, 0, 0, 1, 90}).Draw(t, "markers")
				w.jobs = append(w.jobs, next)
				next++
			case 2, 3:
				w.fetch()
			case 4, 5, 6:
				if len(w.running) > 0 {
					w.step(rapid.IntRange(0, len(w.running)-1).Draw(t, "which"))
				}
			case 7: // others write to the same ledger, of offsets that are ours too
				w.append(entry{kind: KindOutcome, group: "theirs", jobOffset: rapid.Int64Range(0, next+1).Draw(t, "theirs"), id: "other"})
				if rapid.Bool().Draw(t, "asked") {
					w.known = int64(len(w.ledger))
				}
			case 8:
				w.commit()
			case 9:
				if rapid.IntRange(0, 4).Draw(t, "kill") == 0 {
					w.kill()
				}
			}
		}
		for w.at < len(w.jobs) || len(w.running) > 0 {
			w.fetch()
			for i := len(w.running) - 1; i >= 0; i-- {
				w.step(i)
			}
		}
		for _, o := range w.jobs {
			require.NotZero(t, w.delivered[o], "job %d was never sent", o)
		}
		if len(w.jobs) > 0 {
			require.Equal(t, w.jobs[len(w.jobs)-1]+1, w.p.low)
		}
		require.Empty(t, w.p.pins)
	})
}

func TestAnOutcomeOfAnotherJobDoesNotCount(t *testing.T) {
	p := newProgress(0)
	p.readOutcome(3, 50, "job of the old topic")
	require.EqualValues(t, 50, p.reflected(99), "unverified outcomes pin L")
	require.Equal(t, process, p.arrive(0, nil))
	require.Equal(t, mismatch, p.arrive(3, func() string { return "job of the new topic" }))
	require.EqualValues(t, 99, p.reflected(99))
	require.False(t, p.isDone(3))
}

func TestOfSeveralOutcomesTheLatestCounts(t *testing.T) {
	p := newProgress(0)
	p.readOutcome(0, 10, "old")
	p.readOutcome(0, 20, "new")
	require.EqualValues(t, 20, p.reflected(99))
	require.Equal(t, skip, p.arrive(0, func() string { return "new" }))
}

func TestAnOutcomeOfASkippedOffsetLetsGo(t *testing.T) {
	p := newProgress(0)
	p.readOutcome(2, 10, "deleted since")
	p.readIntent(3, 11, "x")
	require.Equal(t, process, p.arrive(5, nil))
	require.EqualValues(t, 99, p.reflected(99))
	require.EqualValues(t, 5, p.low)
}

func TestAnIntentPinsUntilItsOutcome(t *testing.T) {
	p := newProgress(0)
	p.readIntent(0, 10, "x")
	require.EqualValues(t, 10, p.reflected(99))
	p.readOutcome(0, 12, "a")
	require.EqualValues(t, 12, p.reflected(99))
	p.handOff(1, 40)
	p.handOff(1, 60)
	require.Equal(t, skip, p.arrive(0, func() string { return "a" }))
	require.EqualValues(t, 40, p.reflected(99), "the first hand-off counts")
	p.finish(1)
	require.EqualValues(t, 99, p.reflected(99))
}
