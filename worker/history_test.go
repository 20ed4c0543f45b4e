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

var place = partition{"email_topic", 3}

// jobOf is step s of run r of the i-th id.
func jobOf(i, r, s int) *job {
	return &job{id: fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i), run: r, step: s}
}

// ids is how many ids a memory has.
func (h *Memory) ids() (n int) {
	for _, p := range h.parts {
		n += len(p.last)
	}
	return n
}

// TestWhatIsOldNews: a record that comes after a job has got as far as was.
func TestWhatIsOldNews(t *testing.T) {
	for _, c := range []struct {
		was, is stage
		want    arrivedAs
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
		h := NewMemory(0)
		j := jobOf(1, int(c.was.run), int(c.was.step))
		require.Equal(t, fresh, h.enter(place, 1, j))
		h.leave(place, j, c.was.final)
		require.Equal(t, c.want, h.enter(place, 2, jobOf(1, int(c.is.run), int(c.is.step))), "%+v after %+v", c.is, c.was)
		require.Equal(t, fresh, h.enter(place, 3, jobOf(2, 0, 0)), "another id")
		require.Equal(t, fresh, h.enter(partition{"email_topic", 4}, 1, j), "another partition")
	}
}

func TestTwinsWait(t *testing.T) {
	h := NewMemory(0)
	first, second, redriven := jobOf(1, 0, 0), jobOf(1, 0, 0), jobOf(1, 1, 0)
	require.Equal(t, fresh, h.enter(place, 1, first))
	require.Equal(t, fresh, h.enter(place, 1, first), "the same record, called from the start")
	require.Equal(t, twin, h.enter(place, 2, second))
	require.Equal(t, twin, h.enter(place, 3, redriven))
	h.rest(place, first)
	require.Equal(t, twin, h.enter(place, 2, second), "the first waits in place")
	h.leave(place, first, true)
	require.Equal(t, duplicate, h.enter(place, 2, second))
	require.Equal(t, fresh, h.enter(place, 3, redriven))
	require.Equal(t, twin, h.enter(place, 4, jobOf(1, 1, 0)))
}

// A take-over forgets what waited, for it comes again; what still runs in this process goes on to keep its twins waiting.
func TestATakeOverForgetsWhatWaited(t *testing.T) {
	for name, reset := range map[string]bool{"take-over": false, "an operator's reset": true} {
		t.Run(name, func(t *testing.T) {
			h := NewMemory(0)
			ended, waits, runs := jobOf(1, 0, 0), jobOf(2, 0, 0), jobOf(3, 0, 0)
			for i, j := range []*job{ended, waits, runs} {
				require.Equal(t, fresh, h.enter(place, int64(i), j))
			}
			h.leave(place, ended, true)
			h.rest(place, waits)
			h.rest(place, runs)
			h.resume(place, runs)
			other := partition{"email_topic", 4}
			h.enter(other, 0, waits)
			h.rest(other, waits)

			h.tookOver(place, reset)
			require.Equal(t, fresh, h.enter(place, 12, waits))
			require.Equal(t, twin, h.enter(place, 13, runs))
			require.Equal(t, twin, h.enter(other, 12, waits), "another partition's affair")
			if reset {
				require.Equal(t, fresh, h.enter(place, 11, ended), "it is to run again")
				h.leave(place, ended, true)
			}
			require.Equal(t, duplicate, h.enter(place, 21, ended))
		})
	}
}

// An attempt may outlive its claim while another owner ends the job: then it waits for a call that never comes, and nobody
// waits for it.
func TestWhatAnotherOwnerHasEndedKeepsNobodyWaiting(t *testing.T) {
	h := NewMemory(0)
	late, redriven := jobOf(1, 0, 2), jobOf(1, 1, 0)
	require.Equal(t, fresh, h.enter(place, 1, late))
	h.learn(place, late.id, stage{0, 2, true}, print{})
	h.tookOver(place, false)
	require.Equal(t, twin, h.enter(place, 9, redriven), "it is still at it")
	h.rest(place, late)
	require.Equal(t, fresh, h.enter(place, 9, redriven))
	require.Equal(t, twin, h.enter(place, 10, redriven))
}

func TestTheLedgerFillsTheHistory(t *testing.T) {
	w := worker(nil, nil)
	r := record(mail)
	learn := func(kind, run, step, value string) {
		w.Learn("email_topic", 3, record(value, "ls-kind", kind, "ls-id", someID, "ls-run", run, "ls-step", step))
	}
	enter := func(run, step int) arrivedAs {
		w.seen.tookOver(place, false)
		defer w.seen.tookOver(place, false)
		defer w.seen.rest(place, &job{id: someID})
		return w.seen.enter(place, r.Offset, &job{id: someID, run: run, step: step})
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

func TestMemory_OldestIsForgottenFirst(t *testing.T) {
	h := NewMemory(128)
	for i := range 129 {
		h.leave(partition{"t", int32(i % 3)}, jobOf(i, 0, 0), true)
	}
	require.Equal(t, 126, h.ids(), "some more than needed are forgotten at once")
	for i := range 129 {
		want := duplicate
		if i < 3 {
			want = fresh
		}
		require.Equal(t, want, h.enter(partition{"t", int32(i % 3)}, 0, jobOf(i, 0, 0)), i)
	}
}

// However old a step is, and however many partitions there are, it is remembered while there is room.
func TestMemory_NothingIsForgottenWhileThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewMemory(0)
		for i := range remembersByDefault {
			h.leave(partition{"t", int32(i % 30)}, jobOf(i, 0, 0), true)
		}
		time.Sleep(30 * 24 * time.Hour)
		require.Equal(t, remembersByDefault, h.ids())
		require.Equal(t, duplicate, h.enter(partition{"t", 0}, 0, jobOf(0, 0, 0)))
	})
}

// A partition that has gone to another process gives its room back; what runs of it goes on to keep its twins waiting.
func TestMemory_PartitionThatIsGoneGivesItsRoomBack(t *testing.T) {
	h := NewMemory(0)
	kept, gone, other := partition{"t", 1}, partition{"t", 2}, partition{"u", 2}
	for _, at := range []partition{kept, gone, other} {
		for i := range 10 {
			h.leave(at, jobOf(i, 0, 0), true)
		}
	}
	require.Equal(t, fresh, h.enter(gone, 1, jobOf(11, 0, 0)))
	h.assigned("t", []int32{1})
	require.Equal(t, 20, h.size)
	require.Equal(t, 20, h.ids())
	require.Equal(t, duplicate, h.enter(kept, 9, jobOf(1, 0, 0)))
	require.Equal(t, duplicate, h.enter(other, 9, jobOf(1, 0, 0)))
	require.Equal(t, fresh, h.enter(gone, 9, jobOf(1, 0, 0)), "its owner knows")
	require.Equal(t, twin, h.enter(gone, 9, jobOf(11, 0, 0)))
	h.assigned("t", nil)
	h.assigned("u", nil)
	require.Zero(t, h.size)
	require.Len(t, h.parts, 1, "what is in hand stays")
}

// A job that is retried again and again is as young as its last step.
func TestWhatEndedLastIsRememberedLongest(t *testing.T) {
	h := NewMemory(4)
	h.leave(place, jobOf(0, 0, 0), false)
	for i := 1; i <= 3; i++ {
		h.leave(place, jobOf(i, 0, 0), true)
	}
	h.leave(place, jobOf(0, 0, 1), true)
	for i := 4; i <= 6; i++ {
		require.Equal(t, duplicate, h.enter(place, 0, jobOf(0, 0, 1)))
		h.leave(place, jobOf(i, 0, 0), true)
	}
	require.Equal(t, duplicate, h.enter(place, 0, jobOf(0, 0, 1)))
	h.leave(place, jobOf(7, 0, 0), true)
	require.Equal(t, fresh, h.enter(place, 0, jobOf(0, 0, 1)))
}

// heard is the naive model of one partition: everything is remembered.
type heard map[string]stage

func (m heard) covers(j *job) bool {
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

// Against a model that forgets nothing: what it says of records is the same, as long as there is room.
func TestHistoryAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, model, open := NewMemory(0), heard{}, map[string]int64{}
		offset := int64(0)
		inHand := map[int64]*job{}
		t.Repeat(map[string]func(*rapid.T){
			"arrive": func(t *rapid.T) {
				j := jobOf(rapid.IntRange(0, 3).Draw(t, "id"), rapid.IntRange(0, 2).Draw(t, "run"), rapid.IntRange(0, 3).Draw(t, "step"))
				offset++
				want := fresh
				if _, busy := open[j.id]; busy {
					want = twin
				}
				if model.covers(j) {
					want = duplicate
				}
				require.Equal(t, want, h.enter(place, offset, j))
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
				h.leave(place, j, final)
				if s := (stage{int32(j.run), int32(j.step), final}); !model.covers(j) || final && int(model[j.id].run) == j.run {
					model[j.id] = s
				}
				delete(open, j.id)
				delete(inHand, at)
			},
			"take over": func(*rapid.T) {
				for at, j := range inHand {
					h.rest(place, j)
					delete(open, j.id)
					delete(inHand, at)
				}
				h.tookOver(place, false)
			},
		})
	})
}

func BenchmarkMemory(b *testing.B) {
	const room, partitions = 10_000, 144
	h := NewMemory(room)
	jobs := make([]*job, 3*room)
	for i := range jobs {
		jobs[i] = jobOf(i, 0, 0)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		j := jobs[i%len(jobs)]
		at := partition{"t", int32(i % len(jobs) % partitions)}
		if h.enter(at, int64(i), j) != fresh {
			b.Fatal("it was forgotten long ago")
		}
		h.leave(at, j, true)
	}
}

// A copy is dropped only once what the first left behind is acknowledged: until then nothing else would bring the job back.
// A call that panics leaves its job waiting like any other: once the partition has been elsewhere, it keeps no copy waiting.
func TestACallThatPanicsKeepsNobodyWaiting(t *testing.T) {
	fails := true
	w, copied := worker(says(nil), func(c *Config) { c.Control = panicking{&fails} }), record(mail)
	copied.Offset++
	require.Panics(t, func() { w.Handle(t.Context(), attempt(record(mail))) })
	fails = false
	require.False(t, w.Handle(t.Context(), attempt(copied)).Again.IsZero(), "it is called again, and decides")
	w.TookOver("email_topic", 3, false)
	require.Equal(t, notify.StateSent, eventOf(t, w.Handle(t.Context(), attempt(copied))).State)
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

func TestACopyWaitsForTheAcknowledgement(t *testing.T) {
	s := says(nil)
	w, copied := worker(s, nil), record(mail)
	copied.Offset++
	res := w.Handle(t.Context(), attempt(record(mail)))
	require.False(t, w.Handle(t.Context(), attempt(copied)).Again.IsZero())
	res.Ended(res.Outcome)
	require.Equal(t, kafka.Result{}, w.Handle(t.Context(), attempt(copied)))
	require.Len(t, s.got, 1)
}
