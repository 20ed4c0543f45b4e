package limiter

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

// forever is a timeout that no test reaches.
const forever = 1000 * time.Hour

// caller is one call of Acquire in a goroutine.
type caller struct {
	lane    notify.Lane
	cancel  context.CancelFunc
	release func()
	err     error
	at      time.Time   // when Acquire returned
	ended   atomic.Bool // Acquire has returned; then the other fields may be read
}

// admitted reports whether Acquire returned a slot.
func (c *caller) admitted() bool { return c.ended.Load() && c.err == nil }

// acquire calls Acquire in a goroutine and returns once the caller is admitted or waits. In a synctest bubble only.
func acquire(l *Limiter, lane notify.Lane) *caller {
	c := &caller{lane: lane}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() {
		c.release, c.err = l.Acquire(ctx, lane, forever)
		c.at = time.Now()
		c.ended.Store(true)
	}()
	synctest.Wait()
	return c
}

// advance lets time pass and waits until every goroutine is blocked.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func acquireMany(l *Limiter, lane notify.Lane, n int) []*caller {
	all := make([]*caller, n)
	for i := range all {
		all[i] = acquire(l, lane)
	}
	return all
}

func admitted(all []*caller) int {
	n := 0
	for _, c := range all {
		if c.admitted() {
			n++
		}
	}
	return n
}

func TestLimiter_NilLimitsNothing(t *testing.T) {
	var l *Limiter
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release, err := l.Acquire(ctx, notify.LaneBulk, forever)
	require.NoError(t, err)
	release()
	l.OnThrottled(time.Now())
	l.OnRecovered(time.Now())
	l.SetShare("email", 0)
	require.Zero(t, l.InFlight())
	require.Equal(t, math.Inf(1), l.Rate(time.Now()))
}

func TestLimiter_UnlimitedAdmitsEverybodyAndCounts(t *testing.T) {
	l := New(Config{})
	var all []func()
	for i := range 1_000 {
		release, err := l.Acquire(t.Context(), lanes[i%3], forever)
		require.NoError(t, err)
		all = append(all, release)
	}
	require.Equal(t, 1_000, l.InFlight())
	l.OnRecovered(time.Now())
	l.SetShare("email", 0)
	_, err := l.Acquire(t.Context(), notify.LaneBulk, forever)
	require.NoError(t, err, "there is nothing to start slowly with and no rate to have no part of")
	for _, release := range all {
		release()
	}
	require.Equal(t, 1, l.InFlight())
	require.Nil(t, l.timer)
}

func TestLimiter_LaneUsesIdleSlotsAndReturnsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 64})
		bulk := acquireMany(l, notify.LaneBulk, 70)
		require.Equal(t, 63, admitted(bulk))
		first := acquire(l, notify.LaneUrgent)
		require.True(t, first.admitted(), "the first urgent job waits for nobody")
		normal, second := acquire(l, notify.LaneNormal), acquire(l, notify.LaneUrgent)
		require.False(t, normal.admitted())
		require.False(t, second.admitted())
		require.Equal(t, 64, l.InFlight())

		bulk[0].release()
		synctest.Wait()
		require.True(t, second.admitted(), "a free slot goes to urgent first")
		bulk[1].release()
		synctest.Wait()
		require.False(t, normal.admitted(), "it is reserved for urgent, which has recently used two and may need three")
		bulk[2].release()
		synctest.Wait()
		require.True(t, normal.admitted(), "the next one goes to the lane below its share")
		require.Equal(t, 63, admitted(bulk), "and not to more of bulk")

		for _, c := range slices.Concat(bulk[3:63], []*caller{first, second, normal}) {
			c.release()
		}
		synctest.Wait()
		require.Equal(t, 70, admitted(bulk))
		for _, c := range bulk[63:] {
			c.release()
		}
		require.Zero(t, l.InFlight())
		require.Zero(t, l.timerAt, "no timer runs while nobody waits")
	})
}

func TestLimiter_SlotsComeBackSlowlyAfterOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 64})
		l.OnRecovered(time.Now())
		bulk := acquireMany(l, notify.LaneBulk, 64)
		for _, size := range []int{4, 8, 16, 32, 64} {
			require.Equal(t, size-1, admitted(bulk), "waiting callers are admitted although no call ends")
			advance(slowStartStep)
		}
		for _, c := range bulk[:63] {
			c.release()
		}
		synctest.Wait()
		bulk[63].release()
	})
}

func TestLimiter_SlotNoLongerReservedGoesToWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 10})
		normal := acquireMany(l, notify.LaneNormal, 3)
		for _, c := range normal {
			c.release()
		}
		began := time.Now()
		bulk := acquireMany(l, notify.LaneBulk, 9)
		require.Equal(t, 10-1-4, admitted(bulk))
		advance(40 * time.Second)
		require.Equal(t, 9, admitted(bulk))
		require.InDelta(t, 30.5, bulk[8].at.Sub(began).Seconds(), 0.5, "without any release")
		require.Zero(t, l.timerAt)
		for _, c := range bulk {
			c.release()
		}
	})
}

func TestLimiter_EndOfLongCallCountsAsUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 10})
		normal := acquire(l, notify.LaneNormal)
		advance(50 * time.Second)
		normal.release()
		advance(20 * time.Second)
		bulk := acquireMany(l, notify.LaneBulk, 10-1)
		require.Equal(t, 10-1-2, admitted(bulk))
		advance(20 * time.Second)
		for _, c := range bulk {
			c.release()
		}
	})
}

func TestLimiter_FirstComeFirstServedWithinLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 1})
		all := acquireMany(l, notify.LaneNormal, 50)
		for i, c := range all {
			require.Equal(t, i+1, admitted(all))
			require.True(t, c.admitted(), i)
			c.release()
			synctest.Wait()
		}
	})
}

func TestLimiter_SecondReleaseFreesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 2})
		all := acquireMany(l, notify.LaneNormal, 4)
		require.Equal(t, 2, admitted(all))
		all[0].release()
		all[0].release()
		synctest.Wait()
		require.Equal(t, 3, admitted(all))
		require.Equal(t, 2, l.InFlight())
		for _, c := range all[1:3] {
			c.release()
		}
		synctest.Wait()
		all[3].release()
		all[3].release()
		require.Zero(t, l.InFlight())
	})

	l := New(Config{})
	release, err := l.Acquire(t.Context(), notify.LaneBulk, forever)
	require.NoError(t, err)
	release()
	release()
	require.Zero(t, l.InFlight(), "not below")
}

func TestLimiter_CancelledCallerLeavesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 1})
		first := acquire(l, notify.LaneNormal)
		second := acquire(l, notify.LaneNormal)
		third := acquire(l, notify.LaneNormal)
		second.cancel()
		synctest.Wait()
		require.ErrorIs(t, second.err, ErrNotAcquired)
		require.Nil(t, second.release)
		first.release()
		synctest.Wait()
		require.True(t, third.admitted())
		third.release()
		require.Zero(t, l.InFlight())

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Acquire(gone, notify.LaneNormal, forever)
		require.ErrorIs(t, err, ErrNotAcquired, "even with free slots")
		require.Zero(t, l.InFlight())
	})
}

func TestLimiter_AcquireTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 1})
		first, began := acquire(l, notify.LaneNormal), time.Now()
		_, err := l.Acquire(t.Context(), notify.LaneNormal, time.Minute)
		require.ErrorIs(t, err, ErrNotAcquired)
		require.Equal(t, time.Minute, time.Since(began))
		require.Zero(t, l.slots.waiting)
		first.release()
		require.Zero(t, l.InFlight())
	})
}

// The timeout ends after the caller was admitted and before it has seen that.
func TestLimiter_SlotOfCancelledCallerGoesToNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Concurrency: 2, Rate: 0.5})
		first := acquire(l, notify.LaneNormal)
		q := l.slots.queue(notify.LaneNormal)
		late := l.acquireOrWait(q)
		require.NotNil(t, late)
		advance(2 * time.Second)
		<-late.admitted
		require.Equal(t, 2, l.InFlight())
		next := acquire(l, notify.LaneNormal)
		require.False(t, next.admitted())
		l.cancelWait(q, late)
		synctest.Wait()
		require.True(t, next.admitted(), "slot and token")
		require.Equal(t, 2, l.InFlight())
		require.Less(t, l.bucket.tokens, 0.01)
		first.release()
		next.release()
		require.Zero(t, l.InFlight())
	})
}

// A provider that serves three calls at once gets three, and one more every half minute.
func TestLimiter_CrowdedReducesToServedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const serves = 3
		l := New(Config{Concurrency: 16})
		var served, refused, most int
		var all []*caller
		running := func() int {
			var n int
			for _, c := range all {
				if c.admitted() && c.release != nil {
					n++
				}
			}
			return n
		}
		refuse := func() { // the provider refuses all calls beyond the served ones
			for _, c := range all {
				if running() > serves && c.admitted() && c.release != nil {
					refused++
					l.OnCrowded(time.Now())
					c.release()
					c.release = nil
					synctest.Wait()
				}
			}
		}
		all = acquireMany(l, notify.LaneNormal, 40)
		for range 20 {
			refuse()
			for _, c := range all {
				if c.admitted() && c.release != nil {
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
			if c.admitted() && c.release != nil {
				c.release()
			}
		}
		synctest.Wait()
		advance(10 * time.Second)
		require.Less(t, l.slots.limit, 5)
		advance(8 * time.Minute)
		free, err := l.Acquire(t.Context(), notify.LaneNormal, forever)
		require.NoError(t, err)
		free()
		require.Equal(t, 16, l.slots.limit, "the slots come back one by one")
	})
}

// Without a bound on the concurrency a refusal for too many calls reduces the rate.
func TestLimiter_CrowdedWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		for range 10 {
			free, err := l.Acquire(t.Context(), notify.LaneNormal, forever)
			require.NoError(t, err)
			l.OnCrowded(time.Now())
			free()
			advance(100 * time.Millisecond)
		}
		require.Less(t, l.Rate(time.Now()), 100.0)
	})
}
