package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// naive is the tracker as one would write it without caring for speed.
type naive struct {
	low, next int64
	done      map[int64]bool
	told      int64 // above the last one that was done, but for being skipped
}

func (n *naive) set(o int64) {
	if o >= n.low {
		n.done[o] = true
	}
	for n.done[n.low] {
		n.low++
	}
	n.next = max(n.next, n.low)
}

func TestTrackerBehavesLikeASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1000).Draw(t, "start")
		tr := newTracker(start)
		model := &naive{low: start, next: start, done: map[int64]bool{}}
		at := start
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // the next record arrives, perhaps behind a gap
				at += rapid.SampledFrom([]int64{0, 0, 0, 1, 3, 70, 200}).Draw(t, "gap")
				for o := model.next; o < at; o++ {
					model.set(o)
				}
				want := at >= model.low && !model.done[at]
				model.next = max(model.next, at+1)
				require.Equal(t, want, tr.fetched(at), "fetched(%d)", at)
				at++
			case 1, 2:
				o := rapid.Int64Range(max(0, model.low-5), at+150).Draw(t, "offset")
				if !tr.isDone(o) {
					model.told = max(model.told, o+1)
				}
				tr.done(o)
				model.set(o)
			case 3: // what a commit says is what the next owner knows
				next := newTracker(tr.low)
				next.restore(tr.low, tr.bitmap(), 1<<40)
				require.Equal(t, tr.low, next.low)
				for o := tr.low; o < tr.low+600; o++ {
					if o < model.told || next.isDone(o) { // a commit may leave out what was skipped above the last one that is done
						require.Equal(t, tr.isDone(o), next.isDone(o), "offset %d", o)
					}
				}
			}
			at = max(at, tr.next)
			require.Equal(t, model.low, tr.low)
			require.Equal(t, model.next, tr.next)
			for o := tr.low - 3; o < tr.low+400; o++ {
				require.Equal(t, o < model.low || model.done[o], tr.isDone(o), "offset %d, low %d", o, tr.low)
			}
		}
	})
}

func TestTrackerGapThatJoinsWhatIsDoneAhead(t *testing.T) {
	tr := newTracker(5)
	tr.done(6)
	tr.done(7)
	require.False(t, tr.fetched(6), "the log skipped 5; 6 is done")
	require.EqualValues(t, 8, tr.low)
	require.EqualValues(t, 8, tr.next)
}

func TestTrackerTakesAWideGapAtItsFootAtOnce(t *testing.T) {
	tr := newTracker(10)
	require.True(t, tr.fetched(1<<40))
	require.EqualValues(t, 1<<40, tr.low)
	require.Less(t, len(tr.words), 4)
}

// What was skipped above the last record that is done takes no room in a commit, however much it is; what was lost is told.
func TestTracker_CommitsTellOfRecordsOnly(t *testing.T) {
	tr := newTracker(100)
	for range 20 {
		tr.fetchedTo(tr.next + 4000)
		require.Equal(t, tr.low, tr.next)
	}
	tr = newTracker(100)
	tr.fetched(100)
	tr.done(110)
	for range 20 {
		tr.fetchedTo(tr.next + 4000)
	}
	require.Len(t, tr.bitmap(), 2)
	require.False(t, tr.isDone(100))
	require.True(t, tr.isDone(80_000))
	tr = newTracker(100)
	tr.fetched(100)
	tr.lose(101, 9000)
	next := newTracker(100)
	next.restore(100, tr.bitmap(), 10_000)
	require.True(t, next.isDone(8999), "its loss was published")
	require.False(t, next.isDone(9000))
	tr.lose(9000, 1<<40)
	require.LessOrEqual(t, len(tr.bitmap()), mostTold/8)
}

func TestRestoreNeverMarksWhatTheLogDoesNotHold(t *testing.T) {
	tr := newTracker(100)
	tr.restore(100, []byte{0b1111_1110, 0xff, 0xff}, 105)
	require.EqualValues(t, 100, tr.low)
	require.True(t, tr.isDone(104))
	require.False(t, tr.isDone(105))
	require.False(t, tr.isDone(110))
}

func BenchmarkTracker(b *testing.B) {
	tr := newTracker(0)
	var o int64
	for b.Loop() {
		tr.fetched(o)
		tr.fetched(o + 1)
		tr.done(o + 1)
		tr.done(o)
		o += 2
	}
}
