package limiter

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// callTimes records when calls began. Concurrent calls are safe while they run.
type callTimes struct {
	mu sync.Mutex
	at []time.Duration
}

// callUntilDone lets ten callers make calls of no duration until ctx ends.
func (c *callTimes) callUntilDone(ctx context.Context, all *sync.WaitGroup, l *Limiter, lane notify.Lane) {
	began := time.Now()
	for range 10 {
		all.Go(func() {
			for {
				release, err := l.Acquire(ctx, lane, forever)
				if err != nil {
					return
				}
				c.mu.Lock()
				c.at = append(c.at, time.Since(began))
				c.mu.Unlock()
				release()
			}
		})
	}
}

// count returns the number of calls from a to before b.
func (c *callTimes) count(a, b time.Duration) int {
	n := 0
	for _, at := range c.at {
		if a <= at && at < b {
			n++
		}
	}
	return n
}

// requireWithinRate checks every window that begins and ends with a call.
func (c *callTimes) requireWithinRate(t require.TestingT, rate, burst float64) {
	slices.Sort(c.at)
	for i := range c.at {
		for j := i; j < len(c.at); j++ {
			if n, most := float64(j-i+1), rate*(c.at[j]-c.at[i]).Seconds()+burst; n > most+0.01 {
				require.Fail(t, "too many at once", "%v calls in %s", n, c.at[j]-c.at[i])
			}
		}
	}
}

// callsDuring runs the limiters for a time, each with a backlog of normal jobs.
func callsDuring(t *testing.T, lasts time.Duration, limiters ...*Limiter) *callTimes {
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var all sync.WaitGroup
	c := &callTimes{}
	for _, l := range limiters {
		c.callUntilDone(ctx, &all, l, notify.LaneNormal)
	}
	all.Wait()
	return c
}

func TestLimiter_BacklogGetsExactlyItsRate(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 10, 37.5, 100} {
		synctest.Test(t, func(t *testing.T) {
			c := callsDuring(t, 30*time.Second, New(Config{Rate: rate}))
			require.GreaterOrEqual(t, float64(len(c.at)), 0.99*rate*30, "%v/s", rate)
			c.requireWithinRate(t, rate, max(1, rate/10))
		})
	}
}

func TestLimiter_ProcessesTogetherKeepRate(t *testing.T) {
	for _, rate := range []float64{3, 30, 100} {
		synctest.Test(t, func(t *testing.T) {
			three := make([]*Limiter, 3)
			for i := range three {
				three[i] = New(Config{Rate: rate})
				three[i].SetShare("email/normal", 1.0/3*0.8)
				three[i].SetShare("email/bulk", 1.0/3*0.2)
			}
			c := callsDuring(t, 30*time.Second, three...)
			require.GreaterOrEqual(t, float64(len(c.at)), 0.99*rate*30, "%v/s", rate)
			c.requireWithinRate(t, rate, rate)
		})
	}
}

func TestLimiter_SharesOfRateAddUp(t *testing.T) {
	l := New(Config{Rate: 100})
	now := time.Now()
	require.Equal(t, 100.0, l.Rate(now), "the whole rate until the first share is set")
	for _, step := range []struct {
		key      string
		fraction float64
		rate     float64
	}{
		{"email/urgent", 0.1, 10},
		{"email/normal", 0.3, 40},
		{"email/urgent", 0.2, 50},
		{"sms/normal", 0.9, 100},
		{"sms/normal", 0, 50},
		{"sms/normal", -1, 50},
		{"sms/normal", math.NaN(), 50},
		{"email/normal", 0, 20},
		{"email/urgent", 0, 0},
	} {
		l.SetShare(step.key, step.fraction)
		require.InDelta(t, step.rate, l.Rate(now), 1e-9, "%v", step)
	}
}

func TestLimiter_WithoutShareNobodyIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 100})
		l.SetShare("email", 0)
		waiting := acquire(l, notify.LaneUrgent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := l.Acquire(ctx, notify.LaneUrgent, forever)
		require.ErrorIs(t, err, ErrNotAcquired)
		require.Equal(t, time.Hour, time.Since(began))
		require.False(t, waiting.admitted())
		require.Zero(t, l.timerAt, "no timer for a token that will not come")

		l.SetShare("email", 0.5)
		advance(20 * time.Millisecond)
		require.True(t, waiting.admitted())
		waiting.release()
	})
}

func TestLimiter_InvalidRateIsUnlimited(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		require.Equal(t, math.Inf(1), New(Config{Rate: rate}).Rate(time.Now()), rate)
	}
}

func TestLimiter_TokensGoToUrgentFirstThenByWeight(t *testing.T) {
	for _, took := range []time.Duration{0, 20 * time.Millisecond, time.Second} {
		for _, concurrency := range []int{0, 64} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				l := New(Config{Concurrency: concurrency, Rate: 20})
				var all sync.WaitGroup
				normal := flood(ctx, &all, l, notify.LaneNormal, 50, lasting(took))
				bulk := flood(ctx, &all, l, notify.LaneBulk, 50, lasting(took))
				var late time.Duration
				for range 100 {
					time.Sleep(500 * time.Millisecond)
					asked := time.Now()
					release, err := l.Acquire(ctx, notify.LaneUrgent, forever)
					require.NoError(t, err)
					late = max(late, time.Since(asked))
					release()
				}
				require.LessOrEqual(t, late, 50*time.Millisecond, "the next token is urgent's")
				all.Wait()
				require.InDelta(t, 20*60-100, *normal+*bulk, 10)
				require.InDelta(t, 3, float64(*normal)/float64(*bulk), 0.1, "calls of %s, concurrency %d", took, concurrency)
			})
		}
	}
}

// For any series of throttles and shares: no window has more calls than the full rate and a burst of 0.1 s.
func TestTokenBucket_NoWindowExceedsRate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Float64Range(0.2, 200).Draw(rt, "rate")
		b, c := newTokenBucket(rate), &callTimes{}
		for now := time.Duration(0); now < 5*time.Second; {
			now += time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms")) * time.Millisecond
			b.advance(now)
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				b.throttled(now)
			case 1:
				b.setShare(fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "key")), rapid.Float64Range(0, 1.2).Draw(rt, "part"))
			default:
				for b.ready() {
					b.take(now)
					c.at = append(c.at, now)
				}
				due := b.nextToken(now)
				require.True(rt, due == 0 || due > now, "no timer spins")
			}
		}
		c.requireWithinRate(rt, rate, max(1, rate/10))
	})
}

func TestRateWindow_CountsLastSeconds(t *testing.T) {
	m := &rateWindow{}
	require.Zero(t, m.rate(0))
	for i := range 100 {
		m.add(100*time.Second + time.Duration(i)*10*time.Millisecond)
	}
	require.InDelta(t, 100, m.rate(101*time.Second), 0.1, "seconds without calls before the first do not count")
	require.InDelta(t, 50, m.rate(102*time.Second), 0.1)
	require.InDelta(t, 100.0/4.9, m.rate(104*time.Second+900*time.Millisecond), 0.1)
	require.Zero(t, m.rate(105*time.Second))
	m.add(110 * time.Second)
	require.InDelta(t, 1, m.rate(110*time.Second), 0.1)
}
