package worker

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

// calls are the times at which calls began.
type calls struct {
	mu sync.Mutex
	at []time.Duration
}

// from lets ten callers call for ever: their calls take no time.
func (c *calls) from(ctx context.Context, all *sync.WaitGroup, l *Limiter, lane notify.Lane) {
	began := time.Now()
	for range 10 {
		all.Go(func() {
			for {
				release, err := l.Acquire(ctx, lane, long)
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

// within counts the calls from a to before b.
func (c *calls) within(a, b time.Duration) int {
	n := 0
	for _, at := range c.at {
		if a <= at && at < b {
			n++
		}
	}
	return n
}

// bounded checks every window that begins and ends with a call.
func (c *calls) bounded(t require.TestingT, rate, over float64) {
	slices.Sort(c.at)
	for i := range c.at {
		for j := i; j < len(c.at); j++ {
			if n, most := float64(j-i+1), rate*(c.at[j]-c.at[i]).Seconds()+over; n > most+0.01 {
				require.Fail(t, "too many at once", "%v calls in %s", n, c.at[j]-c.at[i])
			}
		}
	}
}

// paced lets limiters run for so long with a backlog of normal jobs each.
func paced(t *testing.T, lasts time.Duration, limiters ...*Limiter) *calls {
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var all sync.WaitGroup
	c := &calls{}
	for _, l := range limiters {
		c.from(ctx, &all, l, notify.LaneNormal)
	}
	all.Wait()
	return c
}

func TestABacklogGetsItsRateAndNoMore(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 10, 37.5, 100} {
		synctest.Test(t, func(t *testing.T) {
			c := paced(t, 30*time.Second, NewLimiter(LimiterConfig{Rate: rate}))
			require.GreaterOrEqual(t, float64(len(c.at)), 0.99*rate*30, "%v/s", rate)
			c.bounded(t, rate, max(1, rate/10))
		})
	}
}

func TestProcessesTogetherKeepTheRate(t *testing.T) {
	for _, rate := range []float64{3, 30, 100} {
		synctest.Test(t, func(t *testing.T) {
			three := make([]*Limiter, 3)
			for i := range three {
				three[i] = NewLimiter(LimiterConfig{Rate: rate})
				three[i].SetShare("email/normal", 1.0/3*0.8)
				three[i].SetShare("email/bulk", 1.0/3*0.2)
			}
			c := paced(t, 30*time.Second, three...)
			require.GreaterOrEqual(t, float64(len(c.at)), 0.99*rate*30, "%v/s", rate)
			c.bounded(t, rate, rate)
		})
	}
}

func TestPartsOfTheRateAddUp(t *testing.T) {
	l := NewLimiter(LimiterConfig{Rate: 100})
	now := time.Now()
	require.Equal(t, 100.0, l.Rate(now), "the whole until somebody says")
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

func TestWithoutAPartNobodyIsAdmittedAndNobodyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Rate: 100})
		l.SetShare("email", 0)
		waiting := ask(l, notify.LaneUrgent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := l.Acquire(ctx, notify.LaneUrgent, long)
		require.ErrorIs(t, err, ErrPaced)
		require.Equal(t, time.Hour, time.Since(began))
		require.False(t, waiting.in())
		require.Zero(t, l.wake, "no timer for what will not come")

		l.SetShare("email", 0.5)
		later(20 * time.Millisecond)
		require.True(t, waiting.in())
		waiting.release()
	})
}

func TestOddRatesAreNone(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		require.Equal(t, math.Inf(1), NewLimiter(LimiterConfig{Rate: rate}).Rate(time.Now()), rate)
	}
}

func TestTokensGoToUrgentFirstThenByWeight(t *testing.T) {
	for _, took := range []time.Duration{0, 20 * time.Millisecond, time.Second} {
		for _, places := range []int{0, 64} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				l := NewLimiter(LimiterConfig{Concurrency: places, Rate: 20})
				var all sync.WaitGroup
				normal := flood(ctx, &all, l, notify.LaneNormal, 50, lasting(took))
				bulk := flood(ctx, &all, l, notify.LaneBulk, 50, lasting(took))
				var late time.Duration
				for range 100 {
					time.Sleep(500 * time.Millisecond)
					asked := time.Now()
					release, err := l.Acquire(ctx, notify.LaneUrgent, long)
					require.NoError(t, err)
					late = max(late, time.Since(asked))
					release()
				}
				require.LessOrEqual(t, late, 50*time.Millisecond, "the next token is urgent's")
				all.Wait()
				require.InDelta(t, 20*60-100, *normal+*bulk, 10)
				require.InDelta(t, 3, float64(*normal)/float64(*bulk), 0.1, "calls of %s, %d places", took, places)
			})
		}
	}
}

// Through any series of throttles and shares: no window has more calls than the full rate and a tenth of a second's worth.
func TestNoWindowExceedsTheRate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Float64Range(0.2, 200).Draw(rt, "rate")
		p, c := newPace(rate), &calls{}
		for now := time.Duration(0); now < 5*time.Second; {
			now += time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms")) * time.Millisecond
			p.upTo(now)
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				p.throttled(now)
			case 1:
				p.setShare(fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "key")), rapid.Float64Range(0, 1.2).Draw(rt, "part"))
			default:
				for p.ready() {
					p.take(now)
					c.at = append(c.at, now)
				}
				due := p.due(now)
				require.True(rt, due == 0 || due > now, "no timer spins")
			}
		}
		c.bounded(rt, rate, max(1, rate/10))
	})
}

func TestMeterCountsTheLastSeconds(t *testing.T) {
	m := &meter{}
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
