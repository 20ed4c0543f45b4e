package limiter

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// flood lets callers of the lane make calls without a break until ctx ends. It returns the number of calls that began, which is
// complete once all is done.
func flood(ctx context.Context, all *sync.WaitGroup, l *Limiter, lane notify.Lane, callers int, call func() time.Duration) *int {
	var mu sync.Mutex
	began := new(int)
	for range callers {
		all.Go(func() {
			for {
				release, err := l.Acquire(ctx, lane, forever)
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

// jittered returns durations between half of d and one and a half of d.
func jittered(d time.Duration, seed uint64) func() time.Duration {
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(seed, 1))
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return d/2 + time.Duration(chance.Int64N(int64(d)))
	}
}

// A campaign of 200 ms calls that begin at the same time releases its slots in blocks: the worst case.
func TestLimiter_CampaignDoesNotDelayUrgent(t *testing.T) {
	latency := func(t *testing.T, campaign bool, call func() time.Duration) (p99 time.Duration, bulk int) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			l := New(Config{Concurrency: 64})
			var all sync.WaitGroup
			began := new(int)
			if campaign {
				began = flood(ctx, &all, l, notify.LaneBulk, 128, call)
			}
			chance := rand.New(rand.NewPCG(7, 7))
			var mu sync.Mutex
			var took []time.Duration
			var failed error
			var urgent sync.WaitGroup
			for range 5_000 {
				time.Sleep(time.Duration(chance.ExpFloat64() * float64(100*time.Millisecond)))
				urgent.Go(func() {
					asked := time.Now()
					release, err := l.Acquire(ctx, notify.LaneUrgent, forever)
					if err == nil {
						time.Sleep(200 * time.Millisecond)
						release()
					}
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, err)
					took = append(took, time.Since(asked))
				})
			}
			urgent.Wait()
			cancel()
			all.Wait()
			require.NoError(t, failed)
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
		require.Greater(t, bulk, 64*5*500*80/100, "%s: idle slots are used", name)
	}
}

func TestLimiter_NormalAndBulkShareByWeight(t *testing.T) {
	for _, size := range []int{1, 2, 5, 16, 64} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			l := New(Config{Concurrency: size})
			var all sync.WaitGroup
			normal := flood(ctx, &all, l, notify.LaneNormal, 2*size, jittered(100*time.Millisecond, 1))
			bulk := flood(ctx, &all, l, notify.LaneBulk, 2*size, jittered(100*time.Millisecond, 2))
			all.Wait()
			ratio := float64(*normal) / float64(*bulk)
			t.Logf("%d slots: normal %d, bulk %d, %.2f", size, *normal, *bulk, ratio)
			tolerance := 0.4
			if size == 2 { // one of two slots is normal's share, and bulk has none
				tolerance = 1.2
			}
			require.InDelta(t, 3, ratio, tolerance)
		})
	}
}

func TestLimiter_LongCallsOfBulkLeaveNormalItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l := New(Config{Concurrency: 64})
		var all sync.WaitGroup
		flood(ctx, &all, l, notify.LaneBulk, 128, jittered(5*time.Second, 1))
		normal := flood(ctx, &all, l, notify.LaneNormal, 128, jittered(100*time.Millisecond, 2))
		all.Wait()
		require.Greater(t, *normal, 38*10*60*85/100, "38 slots, ten calls a second each, once bulk has released them")
	})
}
