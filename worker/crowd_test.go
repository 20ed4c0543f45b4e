package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

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
