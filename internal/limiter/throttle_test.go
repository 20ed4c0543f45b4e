package limiter

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestLimiter_ThrottleHalvesRateWhichRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 100})
		began := time.Now()
		at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
		rate := func(want float64) {
			t.Helper()
			require.InDelta(t, want, l.Rate(time.Now()), 1e-6)
		}
		l.OnThrottled(at(0))
		rate(50)
		l.OnThrottled(at(0))
		time.Sleep(time.Until(at(0.9)))
		l.OnThrottled(at(0.9))
		rate(54.5) // once a second
		time.Sleep(time.Until(at(1)))
		l.OnThrottled(at(1))
		rate(27.5)
		time.Sleep(time.Until(at(5)))
		rate(47.5)
		time.Sleep(time.Until(at(15)))
		rate(97.5)
		time.Sleep(time.Until(at(16)))
		rate(100)
		for range 20 {
			time.Sleep(time.Second)
			l.OnThrottled(time.Now())
		}
		require.InDelta(t, 5, l.Rate(time.Now()), 0.01, "each second recovers as much as a cut leaves")
	})
}

// One cut per second does not reach the minimum, as the recovery in between is as large: so the test sets a lower rate itself.
func TestTokenBucket_CutEndsAtMinimum(t *testing.T) {
	b := newTokenBucket(100)
	b.throttled(0)
	b.afterCut = 1
	b.advance(time.Second)
	require.Equal(t, 6.0, b.rate)
	b.throttled(time.Second)
	require.Equal(t, 5.0, b.rate)
}

func TestTokenBucket_RecoveryAddsTokens(t *testing.T) {
	b := newTokenBucket(1)
	b.take(0)
	b.throttled(0)
	b.advance(time.Second)
	require.InDelta(t, (0.5+0.55)/2, b.tokens, 1e-9)

	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 0.1})
		began := time.Now()
		acquire(l, notify.LaneNormal).release()
		l.OnThrottled(began)
		next := acquire(l, notify.LaneNormal)
		advance(20 * time.Second)
		require.True(t, next.admitted())
		require.InDelta(t, 12.5, next.at.Sub(began).Seconds(), 1, "at the rate at which the wait began it would be 20 s")
		next.release()
	})
}

func TestLimiter_ThrottledBacklogGetsReducedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 100})
		l.SetShare("email", 0.5)
		time.AfterFunc(10*time.Second, func() { throttleAll(l) })
		c := callsDuring(t, 30*time.Second, l)
		require.InDelta(t, 500, c.count(0, 10*time.Second), 6)
		require.InDelta(t, 26, c.count(10*time.Second, 11*time.Second), 4)
		require.InDelta(t, 37.5*10, c.count(10*time.Second, 20*time.Second), 8, "from 25 to 50 in ten seconds")
		require.InDelta(t, 500, c.count(20*time.Second, 30*time.Second), 6)
	})
}

func TestLimiter_WithoutRateThrottleHalvesMeasuredRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		began := time.Now()
		offer := func(until time.Duration, gap time.Duration) { // jobs that come evenly, one at a time
			for time.Since(began) < until {
				release, err := l.Acquire(t.Context(), notify.LaneNormal, forever)
				require.NoError(t, err)
				release()
				time.Sleep(gap)
			}
		}
		offer(20*time.Second, 10*time.Millisecond)
		require.Equal(t, math.Inf(1), l.Rate(time.Now()))
		throttleAll(l)
		require.InDelta(t, 50, l.Rate(time.Now()), 2)

		c := &callTimes{}
		ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second)
		defer cancel()
		var all sync.WaitGroup
		c.callUntilDone(ctx, &all, l, notify.LaneNormal)
		all.Wait()
		require.InDelta(t, 52, c.count(0, time.Second), 6)
		require.InDelta(t, 102, c.count(10*time.Second, 11*time.Second), 6)
		require.InDelta(t, 195, c.count(28*time.Second, 29*time.Second), 8)
		require.False(t, math.IsInf(l.Rate(time.Now()), 1))
		time.Sleep(2 * time.Second)
		require.Equal(t, math.Inf(1), l.Rate(time.Now()), "unlimited again at twice the measured rate")
	})
}

func TestLimiter_WithoutRateWaitersAreAdmittedWhenLimitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		began := time.Now()
		l.OnThrottled(began)
		require.Equal(t, 0.5, l.Rate(began), "the measured rate counts as 1/s at least")
		all := acquireMany(l, notify.LaneBulk, 100)
		require.Less(t, admitted(all), 2)
		advance(29 * time.Second)
		require.InDelta(t, (0.5+1.95)/2*29, admitted(all), 2)
		advance(2 * time.Second)
		require.Equal(t, 100, admitted(all))
		for _, c := range all {
			c.release()
		}
	})
}

// throttleAll is a provider that throttles all 100 calls in flight.
func throttleAll(l *Limiter) {
	for range 100 {
		l.OnThrottled(time.Now())
	}
}

// A provider that throttles a tenth of the calls at any rate keeps most of its rate. A provider that throttles the calls beyond
// its limit gets a rate near this limit.
func TestTokenBucket_CutFollowsThrottledPart(t *testing.T) {
	run := func(b *tokenBucket, offered float64, throttled func(n int, rate float64) bool) float64 {
		sum := 0.0
		for n := range 60_000 { // ten minutes
			b.advance(time.Duration(n) * 10 * time.Millisecond)
			rate := min(b.rate, offered)
			if n >= 30_000 {
				sum += rate / 30_000
			}
			if rand.Float64() < rate/100 { // of 100 chances a second
				b.take(b.now)
				if throttled(n, rate) {
					b.throttled(b.now)
				}
			}
		}
		return sum
	}
	tenth := func(int, float64) bool { return rand.IntN(10) == 0 }
	require.Greater(t, run(newTokenBucket(100), 100, tenth), 80.0)
	require.Greater(t, run(newTokenBucket(0), 100, tenth), 80.0)
	beyond := func(_ int, rate float64) bool { return rand.Float64() < max(0, 1-40/rate) }
	require.InDelta(t, 45, run(newTokenBucket(100), 100, beyond), 12)
	require.InDelta(t, 45, run(newTokenBucket(0), 100, beyond), 14)
}

func TestTokenBucket_LaterCutsBeginAtPresentRate(t *testing.T) {
	b := newTokenBucket(0)
	for i := range 1_000 {
		b.advance(time.Duration(i) * 10 * time.Millisecond)
		b.take(b.now)
	}
	for i, want := range []float64{50, 27.5, 16.25} { // half of the rate before, which has recovered for a second
		b.advance(time.Duration(10+i) * time.Second)
		for range 100 { // all calls in flight
			b.throttled(b.now)
		}
		require.InDelta(t, want, b.rate, 0.01, i)
		for range int(want) {
			b.take(b.now) // few calls: the measured rate lags behind
		}
	}
}
