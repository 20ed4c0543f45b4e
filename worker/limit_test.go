package worker

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// long is more patience than a test has.
const long = 1000 * time.Hour

// caller is one who asked for leave.
type caller struct {
	lane    notify.Lane
	cancel  context.CancelFunc
	release func()
	err     error
	at      time.Time   // of leave or refusal
	ended   atomic.Bool // the others are there to be read
}

// in reports whether leave has been given.
func (c *caller) in() bool { return c.ended.Load() && c.err == nil }

// ask asks for leave and returns once the caller has it or waits. In a synctest bubble only.
func ask(l *Limiter, lane notify.Lane) *caller {
	c := &caller{lane: lane}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() {
		c.release, c.err = l.Acquire(ctx, lane, long)
		c.at = time.Now()
		c.ended.Store(true)
	}()
	synctest.Wait()
	return c
}

// later lets time pass, and callers do what it brought them.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func askMany(l *Limiter, lane notify.Lane, n int) []*caller {
	all := make([]*caller, n)
	for i := range all {
		all[i] = ask(l, lane)
	}
	return all
}

func inside(all []*caller) int {
	n := 0
	for _, c := range all {
		if c.in() {
			n++
		}
	}
	return n
}

func TestANilLimiterLimitsNothing(t *testing.T) {
	var l *Limiter
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release, err := l.Acquire(ctx, notify.LaneBulk, long)
	require.NoError(t, err)
	release()
	l.Throttled(time.Now())
	l.Recovered(time.Now())
	l.SetShare("email", 0)
	require.Zero(t, l.InFlight())
	require.Equal(t, math.Inf(1), l.Rate(time.Now()))
}

func TestUnlimitedAdmitsEverybodyAndCounts(t *testing.T) {
	l := NewLimiter(LimiterConfig{})
	var all []func()
	for i := range 1_000 {
		release, err := l.Acquire(t.Context(), lanes[i%3], long)
		require.NoError(t, err)
		all = append(all, release)
	}
	require.Equal(t, 1_000, l.InFlight())
	l.Recovered(time.Now())
	l.SetShare("email", 0)
	_, err := l.Acquire(t.Context(), notify.LaneBulk, long)
	require.NoError(t, err, "there is nothing to start slowly with and no rate to have no part of")
	for _, release := range all {
		release()
	}
	require.Equal(t, 1, l.InFlight())
	require.Nil(t, l.timer)
}

func TestALaneTakesWhatIsIdleAndGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 64})
		bulk := askMany(l, notify.LaneBulk, 70)
		require.Equal(t, 63, inside(bulk))
		first := ask(l, notify.LaneUrgent)
		require.True(t, first.in(), "the first urgent job waits for nobody")
		normal, second := ask(l, notify.LaneNormal), ask(l, notify.LaneUrgent)
		require.False(t, normal.in())
		require.False(t, second.in())
		require.Equal(t, 64, l.InFlight())

		bulk[0].release()
		synctest.Wait()
		require.True(t, second.in(), "a place that gets free goes to urgent first")
		bulk[1].release()
		synctest.Wait()
		require.False(t, normal.in(), "it stays free for urgent, which has lately used two and may want three")
		bulk[2].release()
		synctest.Wait()
		require.True(t, normal.in(), "then to the lane below its share")
		require.Equal(t, 63, inside(bulk), "and not to more of bulk")

		for _, c := range slices.Concat(bulk[3:63], []*caller{first, second, normal}) {
			c.release()
		}
		synctest.Wait()
		require.Equal(t, 70, inside(bulk))
		for _, c := range bulk[63:] {
			c.release()
		}
		require.Zero(t, l.InFlight())
		require.Zero(t, l.wake, "no timer runs while nobody waits")
	})
}

func TestPlacesComeBackSlowlyAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 64})
		l.Recovered(time.Now())
		bulk := askMany(l, notify.LaneBulk, 64)
		for _, places := range []int{4, 8, 16, 32, 64} {
			require.Equal(t, places-1, inside(bulk), "calls that do not end, yet the waiting go on")
			later(slowStep)
		}
		for _, c := range bulk[:63] {
			c.release()
		}
		synctest.Wait()
		bulk[63].release()
	})
}

func TestAPlaceThatIsNoLongerKeptGoesToWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 10})
		normal := askMany(l, notify.LaneNormal, 3)
		for _, c := range normal {
			c.release()
		}
		began := time.Now()
		bulk := askMany(l, notify.LaneBulk, 9)
		require.Equal(t, 10-1-4, inside(bulk))
		later(40 * time.Second)
		require.Equal(t, 9, inside(bulk))
		require.InDelta(t, 30.5, bulk[8].at.Sub(began).Seconds(), 0.5, "without any release")
		require.Zero(t, l.wake)
		for _, c := range bulk {
			c.release()
		}
	})
}

func TestTheEndOfALongCallIsUseAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 10})
		normal := ask(l, notify.LaneNormal)
		later(50 * time.Second)
		normal.release()
		later(20 * time.Second)
		bulk := askMany(l, notify.LaneBulk, 10-1)
		require.Equal(t, 10-1-2, inside(bulk))
		later(20 * time.Second)
		for _, c := range bulk {
			c.release()
		}
	})
}

func TestFirstComeFirstServedWithinALane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 1})
		all := askMany(l, notify.LaneNormal, 50)
		for i, c := range all {
			require.Equal(t, i+1, inside(all))
			require.True(t, c.in(), i)
			c.release()
			synctest.Wait()
		}
	})
}

func TestReleasingTwiceGivesOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 2})
		all := askMany(l, notify.LaneNormal, 4)
		require.Equal(t, 2, inside(all))
		all[0].release()
		all[0].release()
		synctest.Wait()
		require.Equal(t, 3, inside(all))
		require.Equal(t, 2, l.InFlight())
		for _, c := range all[1:3] {
			c.release()
		}
		synctest.Wait()
		all[3].release()
		all[3].release()
		require.Zero(t, l.InFlight())
	})

	l := NewLimiter(LimiterConfig{})
	release, err := l.Acquire(t.Context(), notify.LaneBulk, long)
	require.NoError(t, err)
	release()
	release()
	require.Zero(t, l.InFlight(), "not below")
}

func TestWhoGivesUpLeavesHisPlaceInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 1})
		first, second, third := ask(l, notify.LaneNormal), ask(l, notify.LaneNormal), ask(l, notify.LaneNormal)
		second.cancel()
		synctest.Wait()
		require.ErrorIs(t, second.err, ErrPaced)
		require.Nil(t, second.release)
		first.release()
		synctest.Wait()
		require.True(t, third.in())
		third.release()
		require.Zero(t, l.InFlight())

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Acquire(gone, notify.LaneNormal, long)
		require.ErrorIs(t, err, ErrPaced, "even with places free")
		require.Zero(t, l.InFlight())
	})
}

func TestWhoHasWaitedLongEnoughLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 1})
		first, began := ask(l, notify.LaneNormal), time.Now()
		_, err := l.Acquire(t.Context(), notify.LaneNormal, patience)
		require.ErrorIs(t, err, ErrPaced)
		require.Equal(t, patience, time.Since(began))
		require.Zero(t, l.places.waiting)
		first.release()
		require.Zero(t, l.InFlight())
	})
}

// The ctx ends after leave was given and before the caller has seen it.
func TestLeaveThatComesTooLateGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Concurrency: 2, Rate: 0.5})
		first := ask(l, notify.LaneNormal)
		q := l.places.queue(notify.LaneNormal)
		late := l.ask(q)
		require.NotNil(t, late)
		later(2 * time.Second)
		<-late.ready
		require.Equal(t, 2, l.InFlight())
		next := ask(l, notify.LaneNormal)
		require.False(t, next.in())
		l.giveUp(q, late)
		synctest.Wait()
		require.True(t, next.in(), "place and token")
		require.Equal(t, 2, l.InFlight())
		require.Less(t, l.pace.tokens, 0.01)
		first.release()
		next.release()
		require.Zero(t, l.InFlight())
	})
}

// TestLimiter_CrowdedKeepsToWhatIsServed: a provider that serves three calls at once is asked for three, and for one more every
// half minute.
func TestLimiter_CrowdedKeepsToWhatIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const serves = 3
		l := NewLimiter(LimiterConfig{Concurrency: 16})
		var served, refused, most int
		var all []*caller
		running := func() (n int) {
			for _, c := range all {
				if c.in() && c.release != nil {
					n++
				}
			}
			return n
		}
		drop := func() { // the provider refuses all calls beyond those that it serves
			for _, c := range all {
				if running() > serves && c.in() && c.release != nil {
					refused++
					l.Crowded(time.Now())
					c.release()
					c.release = nil
					synctest.Wait()
				}
			}
		}
		all = askMany(l, notify.LaneNormal, 40)
		for range 20 {
			drop()
			for _, c := range all {
				if c.in() && c.release != nil {
					served++
					c.release()
					c.release = nil
					break
				}
			}
			synctest.Wait()
			most = max(most, running())
		}
		require.LessOrEqual(t, refused, 16)
		require.LessOrEqual(t, most, serves)
		require.GreaterOrEqual(t, served, 20)
		for _, c := range all {
			c.cancel()
			synctest.Wait()
			if c.in() && c.release != nil {
				c.release()
			}
		}
		synctest.Wait()
		later(10 * time.Second)
		require.Less(t, l.places.limit, 5)
		later(8 * time.Minute)
		free, err := l.Acquire(t.Context(), notify.LaneNormal, long)
		require.NoError(t, err)
		free()
		require.Equal(t, 16, l.places.limit, "the places come back one by one")
	})
}

// TestLimiter_CrowdedWithoutBound: with no bound of its own the limiter slows down.
func TestLimiter_CrowdedWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{})
		for range 10 {
			free, err := l.Acquire(t.Context(), notify.LaneNormal, long)
			require.NoError(t, err)
			l.Crowded(time.Now())
			free()
			later(100 * time.Millisecond)
		}
		require.Less(t, l.Rate(time.Now()), 100.0)
	})
}
