package cmd

import (
	"time"

	"github.com/stretchr/testify/require"
)

// claims gives the topic and partition of each lane of each key, as the events know them.
func (c *chaos) claims() map[string]string {
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	all := map[string]string{}
	for number, claim := range c.events.claims {
		if l := c.load.letters[number]; l != nil {
			all[l.line()] = claim
		}
	}
	return all
}

func (l *letter) line() string { return string(l.lane) + " " + l.key }

// lineOf is the line of a message at the provider.
func (c *chaos) lineOf(message int) string {
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	if l := c.load.letters[message]; l != nil {
		return l.line()
	}
	return ""
}

// awaitTakeOver waits until every partition from which the worker has just sent is served by another one.
func (c *chaos) awaitTakeOver(worker string, at time.Time) {
	c.t.Helper()
	claims, waiting := c.claims(), map[string]bool{}
	for _, q := range c.provider.since(at.Add(-time.Second)) {
		if claim := claims[c.lineOf(q.message)]; q.worker == worker && q.begun.Before(at) && claim != "" {
			waiting[claim] = true
		}
	}
	require.NotEmpty(c.t, waiting, "%s has sent nothing", worker)
	var last time.Duration
	from := at
	require.Eventually(c.t, func() bool {
		for _, q := range c.provider.since(from) {
			from = q.begun.Add(1)
			if claim := claims[c.lineOf(q.message)]; q.worker != worker && waiting[claim] {
				delete(waiting, claim)
				last = q.begun.Sub(at)
			}
		}
		return len(waiting) == 0
	}, time.Minute, 10*time.Millisecond, "nobody takes over what %s had", worker)
	c.takeOvers = append(c.takeOvers, last)
}

// awaitService waits until the broker serves again, which is some time after it takes connections, and for the first
// delivery after that.
func (c *chaos) awaitService() {
	c.t.Helper()
	began := time.Now()
	var served time.Time
	require.Eventually(c.t, func() bool { served = c.events.servedSince(began); return !served.IsZero() }, time.Minute, 10*time.Millisecond)
	require.Eventually(c.t, func() bool {
		qs := c.provider.since(served)
		if len(qs) > 0 {
			c.services = append(c.services, qs[0].begun.Sub(served))
		}
		return len(qs) > 0
	}, time.Minute, 10*time.Millisecond, "nothing is delivered after the broker is back")
}
