package cmd

import "testing"

// Faults of every kind with a provider that takes everything: nothing lost, no more repeated than was in flight, in order.
func TestChaosFaults(t *testing.T) {
	c := newChaos(t, mix{})
	c.begin()
	c.strikeAll(c.kills, blows)
	c.finish()
}

// The same with a provider on a bad day: retries, Retry-After and lost answers on top.
func TestChaosFaultsOnABadDay(t *testing.T) {
	c := newChaos(t, badDay())
	c.begin()
	c.strikeAll(c.kills, blows)
	c.finish()
}
