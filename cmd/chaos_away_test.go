package cmd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// While the provider cannot be reached, or knows our password no more, all waits: nothing is given up, no attempts are used
// but those of the few that found out, the group stays as it is; when it is back all goes out, the urgent first.
func TestChaosProviderAway(t *testing.T) {
	for _, away := range []struct {
		name     string
		down, up func(c *chaos)
	}{
		{"refuses connections", func(c *chaos) { c.provider.down() }, func(c *chaos) { c.provider.up(c.t) }},
		{"does not know the password", func(c *chaos) { c.provider.denies.Store(true) }, func(c *chaos) { c.provider.denies.Store(false) }},
	} {
		t.Run(away.name, func(t *testing.T) {
			c := newChaos(t, mix{})
			c.load.plain = true
			c.begin()
			before := c.rate(time.Now())
			sessions, retried := c.sessions(), c.retried()

			away.down(c)
			c.load.most.Store(int64(min(c.letters, 200_000)))
			c.load.await(t, int(c.load.most.Load())) // all of them wait
			calls, _ := c.provider.counts()
			during(time.Duration(min(8*scale(), 600)) * time.Second)
			later, _ := c.provider.counts()
			queued := c.load.waiting()
			require.Empty(t, kafkatest.All(t, []string{c.broker.addr}, c.prefix+"sms_topic.dlq"), "nothing may be given up")
			rebalances := c.sessions() - sessions
			used := c.retried() - retried

			c.stop()
			back := time.Now()
			away.up(c)
			full := c.recovery(back, before)
			c.awaitEnds(10 * time.Minute)
			urgent, others := c.medians(back)
			t.Logf("%d waited; %d attempts used, %d requests in the pause, %d rebalances; %.0f/s before, and again %s after the return; urgent after %s, others after %s",
				queued, used, later-calls, rebalances, before, full.Round(10*time.Millisecond), urgent.Round(time.Millisecond), others.Round(time.Millisecond))
			c.stop = c.load.background(t)
			c.finish()
			require.Empty(t, kafkatest.All(t, []string{c.broker.addr}, c.prefix+"sms_topic.dlq"), "nothing may be given up")
			require.LessOrEqual(t, used, len(c.workers)*(slots+15), "attempts were used up by an outage")
			require.Zero(t, rebalances, "an outage of the provider is none of the group's business")
			require.Less(t, urgent, others, "the urgent go first")
			require.Less(t, full, 30*time.Second)
		})
	}
}

// sessions counts the sessions that all workers have begun.
func (c *chaos) sessions() int { return sessionsOf(c.t, c.workers) }

// retried is how many attempts have been used up without an end.
func (c *chaos) retried() int {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	return c.events.states[notify.StateRetrying]
}

// rate is how many were taken in the second before.
func (c *chaos) rate(before time.Time) float64 {
	n := 0
	for _, q := range c.provider.since(before.Add(-time.Second)) {
		if q.did.taken() && q.begun.Before(before) {
			n++
		}
	}
	return float64(n)
}

// recovery is how long it takes to come back to most of the rate, or to send all that waits.
func (c *chaos) recovery(back time.Time, before float64) time.Duration {
	eventually(time.Minute, func() bool { return c.rate(time.Now()) > before*0.8 || len(c.load.open()) == 0 })
	return time.Since(back)
}

// medians is when half of the urgent letters had gone out since back, and half of the others.
func (c *chaos) medians(back time.Time) (urgent, others time.Duration) {
	var u, o []time.Duration
	for _, q := range c.provider.since(back) {
		if !q.did.taken() {
			continue
		}
		if strings.HasPrefix(c.lineOf(q.message), string(notify.LaneUrgent)) {
			u = append(u, q.begun.Sub(back))
		} else {
			o = append(o, q.begun.Sub(back))
		}
	}
	slices.Sort(u)
	slices.Sort(o)
	return percentile(u, 50), percentile(o, 50)
}
