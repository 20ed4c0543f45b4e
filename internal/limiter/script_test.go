package limiter

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

// step is one event in a random script.
type step struct {
	what string
	lane notify.Lane
	n    int
}

// drawSteps draws a script. Draw before a synctest bubble begins: rapid stops a test by a panic in the goroutine that draws.
func drawSteps(rt *rapid.T) []step {
	whats := []string{"ask", "ask", "ask", "end", "give up", "pass", "pass", "throttle", "recover"}
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		return step{
			what: rapid.SampledFrom(whats).Draw(rt, "what"), lane: rapid.SampledFrom(lanes).Draw(rt, "lane"),
			n: rapid.IntRange(1, 3_000).Draw(rt, "n"),
		}
	}), 1, 60).Draw(rt, "steps")
}

// crowd is a limiter with all its callers.
type crowd struct {
	l   *Limiter
	all []*caller
}

func (c *crowd) do(s step) {
	switch s.what {
	case "ask":
		c.all = append(c.all, acquire(c.l, s.lane))
	case "end":
		c.end(1)
	case "give up":
		if len(c.all) > 0 {
			c.all[s.n%len(c.all)].cancel()
		}
	case "pass":
		time.Sleep(time.Duration(s.n) * time.Millisecond)
	case "throttle":
		c.l.OnThrottled(time.Now())
	case "recover":
		c.l.OnRecovered(time.Now())
	}
	synctest.Wait()
}

// end ends up to n calls.
func (c *crowd) end(n int) {
	for _, one := range c.all {
		if one.admitted() && n > 0 {
			one.release()
			one.err = context.Canceled // no longer admitted
			n--
		}
	}
}

// everAdmitted returns the number of callers that are or were admitted.
func (c *crowd) everAdmitted() int {
	n := 0
	for _, one := range c.all {
		if one.ended.Load() && !errors.Is(one.err, ErrNotAcquired) {
			n++
		}
	}
	return n
}

// endAll ends calls until no caller waits. It returns a description of what is wrong then, or nothing.
func (c *crowd) endAll() string {
	for range 300 {
		c.end(len(c.all))
		advance(time.Second)
	}
	for _, one := range c.all {
		one.cancel()
		if !one.ended.Load() {
			return "somebody waits for ever"
		}
	}
	if c.l.InFlight() != 0 || c.l.slots.waiting != 0 || c.l.timerAt != 0 {
		return "something is left"
	}
	return ""
}

// For any script: no slot and no token is lost, and none is created.
func TestLimiter_NoSlotOrTokenIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Config{
			Concurrency: rapid.SampledFrom([]int{0, 1, 3, 4, 20}).Draw(rt, "concurrency"),
			Rate:        rapid.SampledFrom([]float64{0, 0.5, 7, 500}).Draw(rt, "rate"),
		}
		script, fault := drawSteps(rt), ""
		synctest.Test(t, func(*testing.T) {
			c := &crowd{l: New(cfg)}
			began := time.Now()
			for _, s := range script {
				c.do(s)
				most := cfg.Rate*time.Since(began).Seconds() + max(1, cfg.Rate/10) + 0.01
				switch {
				case c.l.InFlight() != admitted(c.all):
					fault = "the count of calls in flight is wrong"
				case cfg.Concurrency > 0 && c.l.InFlight() > cfg.Concurrency:
					fault = "more calls than slots"
				case cfg.Rate > 0 && float64(c.everAdmitted()) > most:
					fault = "more calls than the rate allows"
				}
			}
			if left := c.endAll(); fault == "" {
				fault = left
			}
		})
		require.Empty(rt, fault)
	})
}
