package gateway

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var (
	dawn     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	working  = []notify.Verdict{notify.Accepted, notify.Permanent, notify.Throttled}
	failing  = []notify.Verdict{notify.Transient, notify.Ambiguous, "unheard-of"}
	verdicts = append(append([]notify.Verdict{notify.Unavailable}, working...), failing...)
)

// admitted returns a pass, and fails if the breaker admits none.
func admitted(t require.TestingT, b *Breaker, now time.Time) Pass {
	p, ok := b.Admit(now)
	require.True(t, ok, "admitted")
	return p
}

func refused(t require.TestingT, b *Breaker, now time.Time) {
	_, ok := b.Admit(now)
	require.False(t, ok, "admitted")
}

// broken returns a breaker that failures have opened at dawn.
func broken(t require.TestingT) *Breaker {
	b := NewBreaker(BreakerConfig{})
	for range 14 {
		require.Equal(t, BreakerUnchanged, b.Record(admitted(t, b, dawn), notify.Transient, dawn))
	}
	require.Equal(t, BreakerClosed, b.State())
	require.Equal(t, BreakerOpened, b.Record(admitted(t, b, dawn), notify.Transient, dawn))
	require.Equal(t, BreakerOpen, b.State())
	return b
}

func TestBreaker_FailuresInARowOpenIt(t *testing.T) {
	for _, v := range failing {
		b := NewBreaker(BreakerConfig{})
		for range 14 {
			require.Equal(t, BreakerUnchanged, b.Record(admitted(t, b, dawn), v, dawn))
		}
		require.Equal(t, BreakerOpened, b.Record(admitted(t, b, dawn), v, dawn), v)
		refused(t, b, dawn)
	}
}

func TestBreaker_SuccessResetsCount(t *testing.T) {
	for _, v := range working {
		b := NewBreaker(BreakerConfig{})
		for range 1_000 {
			for range 14 {
				b.Record(admitted(t, b, dawn), notify.Ambiguous, dawn)
			}
			require.Equal(t, BreakerUnchanged, b.Record(admitted(t, b, dawn), v, dawn), v)
		}
		require.Equal(t, BreakerClosed, b.State())
		require.Zero(t, b.NextProbe(dawn))
	}
}

func TestBreaker_StaysClosedBelowThreshold(t *testing.T) {
	b, chance := NewBreaker(BreakerConfig{}), rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		v := notify.Accepted
		if chance.Float64() < 0.3 {
			v = notify.Transient
		}
		require.Equal(t, BreakerUnchanged, b.Record(admitted(t, b, dawn), v, dawn))
	}
}

func TestBreaker_FailedProbesDoubleTheWait(t *testing.T) {
	b, now := broken(t), dawn
	for _, wait := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
		wait *= time.Second
		require.Equal(t, wait, b.NextProbe(now))
		refused(t, b, now.Add(wait-1))
		now = now.Add(wait)
		require.Zero(t, b.NextProbe(now))
		p := admitted(t, b, now)
		require.True(t, p.Probe())
		require.Equal(t, BreakerHalfOpen, b.State())
		require.Equal(t, BreakerReopened, b.Record(p, notify.Ambiguous, now))
		require.Equal(t, BreakerOpen, b.State())
	}
}

func TestBreaker_SuccessResetsWait(t *testing.T) {
	for _, v := range working {
		b, now := broken(t), dawn
		for range 3 {
			now = now.Add(b.NextProbe(now))
			b.Record(admitted(t, b, now), notify.Transient, now)
		}
		now = now.Add(b.NextProbe(now))
		require.Equal(t, BreakerReclosed, b.Record(admitted(t, b, now), v, now), v)
		require.Equal(t, BreakerClosed, b.State())
		for range 15 {
			require.False(t, admitted(t, b, now).Probe())
			b.Record(admitted(t, b, now), notify.Transient, now)
		}
		require.Equal(t, time.Second, b.NextProbe(now))
	}
}

func TestBreaker_UnavailableOpensAtOnce(t *testing.T) {
	b := NewBreaker(BreakerConfig{})
	require.Equal(t, BreakerOpened, b.Record(admitted(t, b, dawn), notify.Unavailable, dawn))
	require.Equal(t, 10*time.Second, b.NextProbe(dawn))
	refused(t, b, dawn.Add(10*time.Second-1))

	now := dawn.Add(10 * time.Second)
	require.Equal(t, BreakerReopened, b.Record(admitted(t, b, now), notify.Transient, now))
	require.Equal(t, 10*time.Second, b.NextProbe(now), "it keeps failing")

	b = broken(t)
	now = dawn.Add(time.Second)
	require.Equal(t, BreakerReopened, b.Record(admitted(t, b, now), notify.Unavailable, now))
	require.Equal(t, 10*time.Second, b.NextProbe(now))
}

func TestBreaker_OneProbeAtATime(t *testing.T) {
	b := broken(t)
	now := dawn.Add(time.Second)
	var admissions atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if p, ok := b.Admit(now); ok && p.Probe() {
				admissions.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, admissions.Load())
	refused(t, b, now.Add(time.Hour))
	require.Equal(t, time.Second, b.NextProbe(now.Add(time.Hour)), "nobody spins while a probe is out")
}

func TestBreaker_ResultOfEarlierEpochIsStale(t *testing.T) {
	b := NewBreaker(BreakerConfig{})
	early := admitted(t, b, dawn)
	for range 15 {
		b.Record(admitted(t, b, dawn), notify.Transient, dawn)
	}
	for _, v := range verdicts {
		require.Equal(t, BreakerUnchanged, b.Record(early, v, dawn), "open, late %s", v)
		require.Equal(t, BreakerUnchanged, b.Record(Pass{}, v, dawn), "no pass, %s", v)
	}
	require.Equal(t, time.Second, b.NextProbe(dawn))

	now := dawn.Add(time.Second)
	probe := admitted(t, b, now)
	for _, v := range verdicts {
		require.Equal(t, BreakerUnchanged, b.Record(early, v, now), "half-open, late %s", v)
	}
	require.Equal(t, BreakerReclosed, b.Record(probe, notify.Accepted, now))
	for range 20 {
		require.Equal(t, BreakerUnchanged, b.Record(early, notify.Transient, now), "late failures do not count")
	}
	require.Equal(t, BreakerUnchanged, b.Record(early, notify.Unavailable, now))
	require.Equal(t, BreakerUnchanged, b.Record(probe, notify.Unavailable, now), "a probe speaks once")
	require.Equal(t, BreakerClosed, b.State())
}

func TestBreaker_AbandonedProbeIsReplaced(t *testing.T) {
	b := broken(t)
	b.Abandon(Pass{})
	now := dawn.Add(time.Second)
	first := admitted(t, b, now)
	b.Abandon(first)
	require.Zero(t, b.NextProbe(now))
	second := admitted(t, b, now)
	require.True(t, second.Probe())
	b.Abandon(first)
	refused(t, b, now)
	require.Equal(t, BreakerUnchanged, b.Record(first, notify.Accepted, now), "it was given up")
	require.Equal(t, BreakerHalfOpen, b.State())
	require.Equal(t, BreakerReclosed, b.Record(second, notify.Accepted, now))

	b.Abandon(admitted(t, b, now)) // no probe: nothing to free
	require.Equal(t, BreakerClosed, b.State())
	for range 15 {
		b.Record(admitted(t, b, now), notify.Transient, now)
	}
	require.Equal(t, BreakerOpen, b.State())
}

func TestBreaker_ConfiguredWaits(t *testing.T) {
	b := NewBreaker(BreakerConfig{Failures: 2, InitialWait: time.Millisecond, MaxWait: 3 * time.Millisecond})
	b.Record(admitted(t, b, dawn), notify.Transient, dawn)
	require.Equal(t, BreakerOpened, b.Record(admitted(t, b, dawn), notify.Transient, dawn))
	now := dawn
	for _, wait := range []time.Duration{1, 2, 3, 3} {
		require.Equal(t, wait*time.Millisecond, b.NextProbe(now))
		now = now.Add(wait * time.Millisecond)
		b.Record(admitted(t, b, now), notify.Transient, now)
	}
}

// For any events in any order, the breaker agrees with a simple model.
func TestBreaker_AgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, now := NewBreaker(BreakerConfig{Failures: 3}), dawn
		type held struct {
			Pass
			change int
		}
		var out []held
		state := BreakerClosed
		row := 0
		changes := 0
		wait := time.Duration(0)
		due := dawn
		probe := false // one is out
		open := func(least time.Duration) {
			state = BreakerOpen
			probe = false
			row = 0
			changes++
			wait = min(max(2*wait, least), 10*time.Second)
			due = now.Add(wait)
		}
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4_000).Draw(rt, "ms")) * time.Millisecond)
			if len(out) == 0 || rapid.Bool().Draw(rt, "ask") {
				p, ok := b.Admit(now)
				want := state == BreakerClosed || state == BreakerHalfOpen && !probe || state == BreakerOpen && !now.Before(due)
				require.Equal(rt, want, ok)
				require.Equal(rt, ok && state != BreakerClosed, p.Probe())
				if p.Probe() {
					state, probe = BreakerHalfOpen, true
				}
				if ok {
					out = append(out, held{p, changes})
				}
				continue
			}
			i := rapid.IntRange(0, len(out)-1).Draw(rt, "which")
			h := out[i]
			out = append(out[:i], out[i+1:]...)
			fresh := h.change == changes
			if rapid.IntRange(0, 4).Draw(rt, "abandon") == 0 {
				b.Abandon(h.Pass)
				probe = probe && (!fresh || !h.Probe())
				continue
			}
			v := rapid.SampledFrom(verdicts).Draw(rt, "verdict")
			b.Record(h.Pass, v, now)
			switch {
			case !fresh:
			case v == notify.Unavailable:
				open(10 * time.Second)
			case v == notify.Accepted || v == notify.Permanent || v == notify.Throttled:
				row = 0
				if h.Probe() {
					state = BreakerClosed
					probe = false
					wait = 0
					changes++
				}
			case h.Probe():
				open(time.Second)
			default:
				row++
				if row == 3 {
					open(time.Second)
				}
			}
			require.Equal(rt, state, b.State())
		}
	})
}

// TestBreaker_PauseOfUnavailable: after a used-up quota the next probe waits for the pause, and for a quarter of an hour at
// most.
func TestBreaker_PauseOfUnavailable(t *testing.T) {
	for pause, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Second: 10 * time.Second, 5 * time.Minute: 5 * time.Minute, 48 * time.Hour: 15 * time.Minute} {
		b := NewBreaker(BreakerConfig{})
		require.Equal(t, BreakerOpened, b.RecordFor(admitted(t, b, dawn), notify.Unavailable, pause, dawn))
		require.Equal(t, want, b.NextProbe(dawn), pause)
		refused(t, b, dawn.Add(want-time.Millisecond))
		require.Equal(t, BreakerReopened, b.RecordFor(admitted(t, b, dawn.Add(want)), notify.Transient, pause, dawn.Add(want)))
		require.Equal(t, 10*time.Second, b.NextProbe(dawn.Add(want)), "other verdicts ask for no pause")
	}
}
