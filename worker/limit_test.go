package worker

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

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
		c.release, c.err = l.Acquire(ctx, lane)
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

// flood keeps callers of the lane busy with calls until ctx ends, and counts the calls that began.
func flood(ctx context.Context, all *sync.WaitGroup, l *Limiter, lane notify.Lane, callers int, call func() time.Duration) *int {
	var mu sync.Mutex
	began := new(int)
	for range callers {
		all.Go(func() {
			for {
				release, err := l.Acquire(ctx, lane)
				if err != nil {
					return
				}
				mu.Lock()
				*began++
				mu.Unlock()
				time.Sleep(call())
				release()
			}
		})
	}
	return began
}

func lasting(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// jittered calls last half to one and a half times d.
func jittered(d time.Duration, seed uint64) func() time.Duration {
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(seed, 1))
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return d/2 + time.Duration(chance.Int64N(int64(d)))
	}
}

func TestANilLimiterLimitsNothing(t *testing.T) {
	var l *Limiter
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release, err := l.Acquire(ctx, notify.LaneBulk)
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
		release, err := l.Acquire(t.Context(), lanes[i%3])
		require.NoError(t, err)
		all = append(all, release)
	}
	require.Equal(t, 1_000, l.InFlight())
	l.Recovered(time.Now())
	l.SetShare("email", 0)
	_, err := l.Acquire(t.Context(), notify.LaneBulk)
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

// A campaign of 200 ms calls, all begun at once, so that its places come back in blocks: the worst case.
func TestACampaignDoesNotDelayUrgent(t *testing.T) {
	latency := func(t *testing.T, campaign bool, call func() time.Duration) (p99 time.Duration, bulk int) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			l := NewLimiter(LimiterConfig{Concurrency: 64})
			var all sync.WaitGroup
			began := new(int)
			if campaign {
				began = flood(ctx, &all, l, notify.LaneBulk, 128, call)
			}
			chance := rand.New(rand.NewPCG(7, 7))
			var mu sync.Mutex
			var took []time.Duration
			var urgent sync.WaitGroup
			for range 5_000 {
				time.Sleep(time.Duration(chance.ExpFloat64() * float64(100*time.Millisecond)))
				urgent.Go(func() {
					asked := time.Now()
					release, err := l.Acquire(ctx, notify.LaneUrgent)
					require.NoError(t, err)
					time.Sleep(200 * time.Millisecond)
					release()
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(asked))
				})
			}
			urgent.Wait()
			cancel()
			all.Wait()
			slices.Sort(took)
			p99, bulk = took[len(took)*99/100], *began
		})
		return p99, bulk
	}
	alone, _ := latency(t, false, nil)
	require.Equal(t, 200*time.Millisecond, alone)
	for name, call := range map[string]func() time.Duration{
		"in step": lasting(200 * time.Millisecond), "at random": jittered(200*time.Millisecond, 3),
	} {
		p99, bulk := latency(t, true, call)
		t.Logf("%s: p99 of urgent %s, %d bulk calls", name, p99, bulk)
		require.Less(t, p99, alone*120/100, name)
		require.Greater(t, bulk, 64*5*500*80/100, "%s: idle places are used", name)
	}
}

func TestNormalAndBulkShareByWeight(t *testing.T) {
	for _, size := range []int{1, 2, 5, 16, 64} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			l := NewLimiter(LimiterConfig{Concurrency: size})
			var all sync.WaitGroup
			normal := flood(ctx, &all, l, notify.LaneNormal, 2*size, jittered(100*time.Millisecond, 1))
			bulk := flood(ctx, &all, l, notify.LaneBulk, 2*size, jittered(100*time.Millisecond, 2))
			all.Wait()
			ratio := float64(*normal) / float64(*bulk)
			t.Logf("%d places: normal %d, bulk %d, %.2f", size, *normal, *bulk, ratio)
			over := 0.4
			if size == 2 { // one of two places is normal's share, and bulk has none
				over = 1.2
			}
			require.InDelta(t, 3, ratio, over)
		})
	}
}

func TestLongCallsOfBulkLeaveNormalItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l := NewLimiter(LimiterConfig{Concurrency: 64})
		var all sync.WaitGroup
		flood(ctx, &all, l, notify.LaneBulk, 128, jittered(5*time.Second, 1))
		normal := flood(ctx, &all, l, notify.LaneNormal, 128, jittered(100*time.Millisecond, 2))
		all.Wait()
		require.Greater(t, *normal, 38*10*60*85/100, "38 places, ten calls a second each, once bulk has let go of them")
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
	release, err := l.Acquire(t.Context(), notify.LaneBulk)
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
		_, err := l.Acquire(gone, notify.LaneNormal)
		require.ErrorIs(t, err, ErrPaced, "even with places free")
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

// step is one thing that happens to a limiter.
type step struct {
	what string
	lane notify.Lane
	n    int
}

// steps are drawn before a bubble begins: rapid stops a test by a panic in the goroutine that draws.
func steps(rt *rapid.T) []step {
	whats := []string{"ask", "ask", "ask", "end", "give up", "pass", "pass", "throttle", "recover"}
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		return step{
			rapid.SampledFrom(whats).Draw(rt, "what"), rapid.SampledFrom(lanes).Draw(rt, "lane"), rapid.IntRange(1, 3_000).Draw(rt, "n"),
		}
	}), 1, 60).Draw(rt, "steps")
}

// crowd are callers of one limiter.
type crowd struct {
	l   *Limiter
	all []*caller
}

func (c *crowd) do(s step) {
	switch s.what {
	case "ask":
		c.all = append(c.all, ask(c.l, s.lane))
	case "end":
		c.end(1)
	case "give up":
		if len(c.all) > 0 {
			c.all[s.n%len(c.all)].cancel()
		}
	case "pass":
		time.Sleep(time.Duration(s.n) * time.Millisecond)
	case "throttle":
		c.l.Throttled(time.Now())
	case "recover":
		c.l.Recovered(time.Now())
	}
	synctest.Wait()
}

// end ends up to n calls.
func (c *crowd) end(n int) {
	for _, one := range c.all {
		if one.in() && n > 0 {
			one.release()
			one.err = context.Canceled // it is out again
			n--
		}
	}
}

// admitted counts who has or had leave.
func (c *crowd) admitted() int {
	n := 0
	for _, one := range c.all {
		if one.ended.Load() && !errors.Is(one.err, ErrPaced) {
			n++
		}
	}
	return n
}

// drain ends every call until nobody is left, and says what is wrong then.
func (c *crowd) drain() string {
	for range 300 {
		c.end(len(c.all))
		later(time.Second)
	}
	for _, one := range c.all {
		one.cancel()
		if !one.ended.Load() {
			return "somebody waits for ever"
		}
	}
	if c.l.InFlight() != 0 || c.l.places.waiting != 0 || c.l.wake != 0 {
		return "something is left"
	}
	return ""
}

// Whoever asks, ends, gives up: no place and no token is lost, and none is invented.
func TestNothingIsLostAtTheLimiter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := LimiterConfig{
			Concurrency: rapid.SampledFrom([]int{0, 1, 3, 4, 20}).Draw(rt, "concurrency"),
			Rate:        rapid.SampledFrom([]float64{0, 0.5, 7, 500}).Draw(rt, "rate"),
		}
		script, fault := steps(rt), ""
		synctest.Test(t, func(*testing.T) {
			c := &crowd{l: NewLimiter(cfg)}
			began := time.Now()
			for _, s := range script {
				c.do(s)
				most := cfg.Rate*time.Since(began).Seconds() + max(1, cfg.Rate/10) + 0.01
				switch {
				case c.l.InFlight() != inside(c.all):
					fault = "the count of calls in flight is wrong"
				case cfg.Concurrency > 0 && c.l.InFlight() > cfg.Concurrency:
					fault = "more calls than places"
				case cfg.Rate > 0 && float64(c.admitted()) > most:
					fault = "more calls than the rate allows"
				}
			}
			if left := c.drain(); fault == "" {
				fault = left
			}
		})
		require.Empty(rt, fault)
	})
}

func BenchmarkLimiter(b *testing.B) {
	for name, cfg := range map[string]LimiterConfig{
		"unlimited": {}, "limited": {Concurrency: 64}, "paced": {Concurrency: 64, Rate: 1e12},
	} {
		once := func(b *testing.B, l *Limiter) {
			release, err := l.Acquire(context.Background(), notify.LaneNormal)
			if err != nil {
				b.Fatal(err)
			}
			release()
		}
		b.Run(name, func(b *testing.B) {
			l := NewLimiter(cfg)
			b.ReportAllocs()
			for b.Loop() {
				once(b, l)
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			l := NewLimiter(cfg)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once(b, l)
				}
			})
		})
	}
	b.Run("contended", func(b *testing.B) { // more callers than places: every one waits
		l := NewLimiter(LimiterConfig{Concurrency: 1})
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				release, err := l.Acquire(context.Background(), notify.LaneNormal)
				if err != nil {
					b.Error(err)
					return
				}
				release()
			}
		})
	})
}
