package worker

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var somePartition = partition{"email_topic", 3}

// jobOf returns step s of run r of the i-th ID.
func jobOf(i, r, s int) *job {
	return &job{id: fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i), run: r, step: s}
}

// ids returns the number of IDs with a finished step.
func (d *Dedup) ids() int {
	var n int
	for _, p := range d.partitions {
		n += len(p.finished)
	}
	return n
}

// TestDedup_FinishedStepIsDuplicate: a record at stage is arrives after the job has finished stage was.
func TestDedup_FinishedStepIsDuplicate(t *testing.T) {
	for _, c := range []struct {
		was, is stage
		want    dedupResult
	}{
		{stage{0, 0, false}, stage{0, 0, false}, duplicate}, // forwarded twice, or repeated between two acknowledgements
		{stage{0, 0, false}, stage{0, 1, false}, fresh},     // its retry
		{stage{0, 3, false}, stage{0, 1, false}, duplicate}, // an old copy of a tier
		{stage{0, 3, true}, stage{0, 3, false}, duplicate},
		{stage{0, 3, true}, stage{0, 4, false}, duplicate}, // the run is over: sent, though a retry was written
		{stage{0, 3, true}, stage{1, 0, false}, fresh},     // redriven
		{stage{0, 3, false}, stage{1, 0, false}, fresh},
		{stage{1, 0, false}, stage{0, 9, false}, duplicate}, // of the run before
		{stage{1, 0, true}, stage{1, 0, false}, duplicate},  // redriven twice
	} {
		d := NewDedup(0)
		j := jobOf(1, int(c.was.run), int(c.was.step))
		require.Equal(t, fresh, d.begin(somePartition, 1, j))
		d.finish(somePartition, j, c.was.final)
		require.Equal(t, c.want, d.begin(somePartition, 2, jobOf(1, int(c.is.run), int(c.is.step))), "%+v after %+v", c.is, c.was)
		require.Equal(t, fresh, d.begin(somePartition, 3, jobOf(2, 0, 0)), "another id")
		require.Equal(t, fresh, d.begin(partition{"email_topic", 4}, 1, j), "another partition")
	}
}

func TestDedup_InFlightDuplicateWaits(t *testing.T) {
	d := NewDedup(0)
	first := jobOf(1, 0, 0)
	second := jobOf(1, 0, 0)
	redriven := jobOf(1, 1, 0)
	require.Equal(t, fresh, d.begin(somePartition, 1, first))
	require.Equal(t, fresh, d.begin(somePartition, 1, first), "the same record, called from the start")
	require.Equal(t, inFlightDuplicate, d.begin(somePartition, 2, second))
	require.Equal(t, inFlightDuplicate, d.begin(somePartition, 3, redriven))
	d.park(somePartition, first)
	require.Equal(t, inFlightDuplicate, d.begin(somePartition, 2, second), "the first waits in somePartition")
	d.finish(somePartition, first, true)
	require.Equal(t, duplicate, d.begin(somePartition, 2, second))
	require.Equal(t, fresh, d.begin(somePartition, 3, redriven))
	require.Equal(t, inFlightDuplicate, d.begin(somePartition, 4, jobOf(1, 1, 0)))
}

// A take-over forgets the records that wait, as they are read again. A record whose handler still runs keeps its copies
// waiting.
func TestDedup_TakeOverForgetsWaitingRecords(t *testing.T) {
	for name, reset := range map[string]bool{"take-over": false, "an operator's reset": true} {
		t.Run(name, func(t *testing.T) {
			d := NewDedup(0)
			ended := jobOf(1, 0, 0)
			waits := jobOf(2, 0, 0)
			runs := jobOf(3, 0, 0)
			for i, j := range []*job{ended, waits, runs} {
				require.Equal(t, fresh, d.begin(somePartition, int64(i), j))
			}
			d.finish(somePartition, ended, true)
			d.park(somePartition, waits)
			d.park(somePartition, runs)
			d.resume(somePartition, runs)
			other := partition{"email_topic", 4}
			d.begin(other, 0, waits)
			d.park(other, waits)

			d.onTakeOver(somePartition, reset)
			require.Equal(t, fresh, d.begin(somePartition, 12, waits))
			require.Equal(t, inFlightDuplicate, d.begin(somePartition, 13, runs))
			require.Equal(t, inFlightDuplicate, d.begin(other, 12, waits), "another partition's affair")
			if reset {
				require.Equal(t, fresh, d.begin(somePartition, 11, ended), "it is to run again")
				d.finish(somePartition, ended, true)
			}
			require.Equal(t, duplicate, d.begin(somePartition, 21, ended))
		})
	}
}

// An attempt may outlive its claim, and another owner finishes the job. The record then waits for a call that never comes, and
// must not block its copies.
func TestDedup_RecordFinishedElsewhereBlocksNoCopy(t *testing.T) {
	d := NewDedup(0)
	late, redriven := jobOf(1, 0, 2), jobOf(1, 1, 0)
	require.Equal(t, fresh, d.begin(somePartition, 1, late))
	d.learn(somePartition, late.id, stage{0, 2, true}, contentTag{})
	d.onTakeOver(somePartition, false)
	require.Equal(t, inFlightDuplicate, d.begin(somePartition, 9, redriven), "it is still at it")
	d.park(somePartition, late)
	require.Equal(t, fresh, d.begin(somePartition, 9, redriven))
	require.Equal(t, inFlightDuplicate, d.begin(somePartition, 10, redriven))
}

func TestDedup_LearnsFromLedger(t *testing.T) {
	w := newWorker(nil, nil)
	r := record(mail)
	learn := func(kind, run, step, value string) {
		w.OnLedger("email_topic", 3, record(value, "ls-kind", kind, "ls-id", someID, "ls-run", run, "ls-step", step))
	}
	enter := func(run, step int) dedupResult {
		w.dedup.onTakeOver(somePartition, false)
		defer w.dedup.onTakeOver(somePartition, false)
		defer w.dedup.park(somePartition, &job{id: someID})
		return w.dedup.begin(somePartition, r.Offset, &job{id: someID, run: run, step: step})
	}
	learn("intent", "0", "0", "")
	learn("progress", "0", "0", "")
	require.Equal(t, fresh, enter(0, 0), "they end no step")
	learn("outcome", "0", "0", `{"state":"retrying","final":false,"reason":"\"final\":true"}`)
	require.Equal(t, duplicate, enter(0, 0))
	require.Equal(t, fresh, enter(0, 1))
	learn("outcome", "0", "1", `{"state":"sent","final":true}`)
	learn("outcome", "0", "0", `{"state":"retrying","final":false}`) // read again
	require.Equal(t, duplicate, enter(0, 2))
	require.Equal(t, fresh, enter(1, 0))
	learn("outcome", "1", "0", `{"state":"sent","final":false}`)
	require.Equal(t, duplicate, enter(1, 7), "a receipt is awaited: nothing is left to send")
	require.Equal(t, fresh, enter(2, 0))
	learn("outcome", "x", "-7", "")
	learn("outcome", "9999999999999999999", "", "")
	require.Equal(t, fresh, enter(2, 0), "bad headers say nothing")
}

func TestDedup_OldestIsForgottenFirst(t *testing.T) {
	d := NewDedup(128)
	for i := range 129 {
		d.finish(partition{"t", int32(i % 3)}, jobOf(i, 0, 0), true)
	}
	require.Equal(t, 126, d.ids(), "some more than needed are forgotten at once")
	for i := range 129 {
		want := duplicate
		if i < 3 {
			want = fresh
		}
		require.Equal(t, want, d.begin(partition{"t", int32(i % 3)}, 0, jobOf(i, 0, 0)), i)
	}
}

// A step is kept below the capacity, however old it is and however many partitions there are.
func TestDedup_NothingIsForgottenBelowCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDedup(0)
		for i := range defaultDedupCapacity {
			d.finish(partition{"t", int32(i % 30)}, jobOf(i, 0, 0), true)
		}
		time.Sleep(30 * 24 * time.Hour)
		require.Equal(t, defaultDedupCapacity, d.ids())
		require.Equal(t, duplicate, d.begin(partition{"t", 0}, 0, jobOf(0, 0, 0)))
	})
}

// The steps of a lost partition are forgotten. A record whose handler still runs keeps its copies waiting.
func TestDedup_LostPartitionIsForgotten(t *testing.T) {
	d := NewDedup(0)
	kept, gone := partition{"t", 1}, partition{"t", 2}
	other := partition{"u", 2}
	for _, at := range []partition{kept, gone, other} {
		for i := range 10 {
			d.finish(at, jobOf(i, 0, 0), true)
		}
	}
	require.Equal(t, fresh, d.begin(gone, 1, jobOf(11, 0, 0)))
	d.onAssigned("t", []int32{1})
	require.Equal(t, 20, d.size)
	require.Equal(t, 20, d.ids())
	require.Equal(t, duplicate, d.begin(kept, 9, jobOf(1, 0, 0)))
	require.Equal(t, duplicate, d.begin(other, 9, jobOf(1, 0, 0)))
	require.Equal(t, fresh, d.begin(gone, 9, jobOf(1, 0, 0)), "its owner knows")
	require.Equal(t, inFlightDuplicate, d.begin(gone, 9, jobOf(11, 0, 0)))
	d.onAssigned("t", nil)
	d.onAssigned("u", nil)
	require.Zero(t, d.size)
	require.Len(t, d.partitions, 1, "what is in hand stays")
}

// The last step of a job decides when the job is forgotten.
func TestDedup_LastStepDecidesAge(t *testing.T) {
	d := NewDedup(4)
	d.finish(somePartition, jobOf(0, 0, 0), false)
	for i := 1; i <= 3; i++ {
		d.finish(somePartition, jobOf(i, 0, 0), true)
	}
	d.finish(somePartition, jobOf(0, 0, 1), true)
	for i := 4; i <= 6; i++ {
		require.Equal(t, duplicate, d.begin(somePartition, 0, jobOf(0, 0, 1)))
		d.finish(somePartition, jobOf(i, 0, 0), true)
	}
	require.Equal(t, duplicate, d.begin(somePartition, 0, jobOf(0, 0, 1)))
	d.finish(somePartition, jobOf(7, 0, 0), true)
	require.Equal(t, fresh, d.begin(somePartition, 0, jobOf(0, 0, 1)))
}

// dedupModel is the naive model of one partition: it forgets nothing.
type dedupModel map[string]stage

func (m dedupModel) covers(j *job) bool {
	s, ok := m[j.id]
	switch {
	case !ok:
		return false
	case int(s.run) != j.run:
		return int(s.run) > j.run
	default:
		return s.final || int(s.step) >= j.step
	}
}

// Below the capacity, Dedup gives the same results as a model that forgets nothing.
func TestDedup_AgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewDedup(0)
		model := dedupModel{}
		open := map[string]int64{}
		offset := int64(0)
		inHand := map[int64]*job{}
		t.Repeat(map[string]func(*rapid.T){
			"arrive": func(t *rapid.T) {
				j := jobOf(rapid.IntRange(0, 3).Draw(t, "id"), rapid.IntRange(0, 2).Draw(t, "run"), rapid.IntRange(0, 3).Draw(t, "step"))
				offset++
				want := fresh
				if _, busy := open[j.id]; busy {
					want = inFlightDuplicate
				}
				if model.covers(j) {
					want = duplicate
				}
				require.Equal(t, want, d.begin(somePartition, offset, j))
				if want == fresh {
					open[j.id], inHand[offset] = offset, j
				}
			},
			"leave": func(t *rapid.T) {
				if len(inHand) == 0 {
					return
				}
				at := slices.Min(slices.Collect(maps.Keys(inHand)))
				j := inHand[at]
				final := rapid.Bool().Draw(t, "final")
				d.finish(somePartition, j, final)
				if s := (stage{int32(j.run), int32(j.step), final}); !model.covers(j) || final && int(model[j.id].run) == j.run {
					model[j.id] = s
				}
				delete(open, j.id)
				delete(inHand, at)
			},
			"take over": func(*rapid.T) {
				for at, j := range inHand {
					d.park(somePartition, j)
					delete(open, j.id)
					delete(inHand, at)
				}
				d.onTakeOver(somePartition, false)
			},
		})
	})
}

func BenchmarkDedup(b *testing.B) {
	const room, partitions = 10_000, 144
	d := NewDedup(room)
	jobs := make([]*job, 3*room)
	for i := range jobs {
		jobs[i] = jobOf(i, 0, 0)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		j := jobs[i%len(jobs)]
		at := partition{"t", int32(i % len(jobs) % partitions)}
		if d.begin(at, int64(i), j) != fresh {
			b.Fatal("it was forgotten long ago")
		}
		d.finish(at, j, true)
	}
}

// A call that panics leaves its record waiting like any other: after a take-over the record blocks no copy.
func TestWorker_PanickedRecordBlocksNoCopyAfterTakeOver(t *testing.T) {
	fails := true
	w, copied := newWorker(scripted(nil), func(c *Config) { c.Control = panicking{&fails} }), record(mail)
	copied.Offset++
	require.Panics(t, func() { w.Handle(t.Context(), newAttempt(record(mail))) })
	fails = false
	require.False(t, w.Handle(t.Context(), newAttempt(copied)).Again.IsZero(), "it is called again, and decides")
	w.OnTakeOver("email_topic", 3, false)
	require.Equal(t, notify.StateSent, eventOf(t, w.Handle(t.Context(), newAttempt(copied))).State)
}

type panicking struct{ fails *bool }

func (p panicking) Settled(string, int) bool { return false }

func (p panicking) Cancelled(string) bool {
	if *p.fails {
		panic("out of order")
	}
	return false
}
func (panicking) Paused(notify.Channel, notify.Lane) bool        { return false }
func (panicking) PausedGateway(string) bool                      { return false }
func (panicking) Suppressed(string, notify.Channel, string) bool { return false }
func (panicking) AsOf() time.Time                                { return time.Now() }

func (panicking) SenderBlocked(string, notify.Channel, string, string) bool { return false }

func TestWorker_CopyWaitsForAcknowledgement(t *testing.T) {
	s := scripted(nil)
	w, copied := newWorker(s, nil), record(mail)
	copied.Offset++
	res := w.Handle(t.Context(), newAttempt(record(mail)))
	require.False(t, w.Handle(t.Context(), newAttempt(copied)).Again.IsZero())
	res.Ended(res.Outcome)
	require.Equal(t, kafka.Result{}, w.Handle(t.Context(), newAttempt(copied)))
	require.Len(t, s.received, 1)
}
