package worker

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestAThrottleHalvesTheRateAndItClimbsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Rate: 100})
		began := time.Now()
		at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
		rate := func(want float64) {
			t.Helper()
			require.InDelta(t, want, l.Rate(time.Now()), 1e-6)
		}
		l.Throttled(at(0))
		rate(50)
		l.Throttled(at(0))
		time.Sleep(time.Until(at(0.9)))
		l.Throttled(at(0.9))
		rate(54.5) // once a second
		time.Sleep(time.Until(at(1)))
		l.Throttled(at(1))
		rate(27.5)
		time.Sleep(time.Until(at(5)))
		rate(47.5)
		time.Sleep(time.Until(at(15)))
		rate(97.5)
		time.Sleep(time.Until(at(16)))
		rate(100)
		for range 20 {
			time.Sleep(time.Second)
			l.Throttled(time.Now())
		}
		require.InDelta(t, 5, l.Rate(time.Now()), 0.01, "what each second brings back is what a cut leaves")
	})
}

// Cuts once a second do not get below the floor by themselves, as the climb is as much: here a lower rate is put by hand.
func TestTheRateIsNeverCutBelowItsFloor(t *testing.T) {
	p := newPace(100)
	p.throttled(0)
	p.base = 1
	p.upTo(time.Second)
	require.Equal(t, 6.0, p.rate)
	p.throttled(time.Second)
	require.Equal(t, 5.0, p.rate)
}

func TestWhatTheClimbBringsIsCountedAndWaitedFor(t *testing.T) {
	p := newPace(1)
	p.take(0)
	p.throttled(0)
	p.upTo(time.Second)
	require.InDelta(t, (0.5+0.55)/2, p.tokens, 1e-9)

	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Rate: 0.1})
		began := time.Now()
		ask(l, notify.LaneNormal).release()
		l.Throttled(began)
		next := ask(l, notify.LaneNormal)
		later(20 * time.Second)
		require.True(t, next.in())
		require.InDelta(t, 12.5, next.at.Sub(began).Seconds(), 1, "it would be 20 s at the rate at which the wait began")
		next.release()
	})
}

func TestAThrottledBacklogGetsWhatIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Rate: 100})
		l.SetShare("email", 0.5)
		time.AfterFunc(10*time.Second, func() { l.Throttled(time.Now()) })
		c := paced(t, 30*time.Second, l)
		require.InDelta(t, 500, c.within(0, 10*time.Second), 6)
		require.InDelta(t, 26, c.within(10*time.Second, 11*time.Second), 4)
		require.InDelta(t, 37.5*10, c.within(10*time.Second, 20*time.Second), 8, "from 25 to 50 in ten seconds")
		require.InDelta(t, 500, c.within(20*time.Second, 30*time.Second), 6)
	})
}

func TestWithoutARateAThrottleHalvesWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{})
		began := time.Now()
		offer := func(until time.Duration, gap time.Duration) { // jobs that come evenly and wait for nobody
			for time.Since(began) < until {
				release, err := l.Acquire(t.Context(), notify.LaneNormal, long)
				require.NoError(t, err)
				release()
				time.Sleep(gap)
			}
		}
		offer(20*time.Second, 10*time.Millisecond)
		require.Equal(t, math.Inf(1), l.Rate(time.Now()))
		l.Throttled(time.Now())
		require.InDelta(t, 50, l.Rate(time.Now()), 2)

		c := &calls{}
		ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second)
		defer cancel()
		var all sync.WaitGroup
		c.from(ctx, &all, l, notify.LaneNormal)
		all.Wait()
		require.InDelta(t, 52, c.within(0, time.Second), 6)
		require.InDelta(t, 102, c.within(10*time.Second, 11*time.Second), 6)
		require.InDelta(t, 195, c.within(28*time.Second, 29*time.Second), 8)
		require.False(t, math.IsInf(l.Rate(time.Now()), 1))
		time.Sleep(2 * time.Second)
		require.Equal(t, math.Inf(1), l.Rate(time.Now()), "back at twice of what was measured")
	})
}

func TestWithoutARateTheWaitingGoOnWhenTheLimitIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{})
		began := time.Now()
		l.Throttled(began)
		require.Equal(t, 0.5, l.Rate(began), "at least 1/s is taken for measured")
		all := askMany(l, notify.LaneBulk, 100)
		require.Less(t, inside(all), 2)
		later(29 * time.Second)
		require.InDelta(t, (0.5+1.95)/2*29, inside(all), 2)
		later(2 * time.Second)
		require.Equal(t, 100, inside(all))
		for _, c := range all {
			c.release()
		}
	})
}

func TestThrottlesInARowCutWhatIsAllowedAndNotWhatWasOnce(t *testing.T) {
	p := newPace(0)
	for i := range 1_000 {
		p.upTo(time.Duration(i) * 10 * time.Millisecond)
		p.take(p.at)
	}
	for i, want := range []float64{50, 27.5, 15.125} { // half of the one before and what a second brought back
		p.upTo(time.Duration(10+i) * time.Second)
		p.throttled(p.at)
		require.InDelta(t, want, p.rate, 0.01, i)
		for range int(want) {
			p.take(p.at) // a few calls: what was measured lags behind
		}
	}
}
