package cmd

import (
	"syscall"
	"testing"
	"time"
)

// Faults of every kind with a provider that takes everything: nothing lost, no more repeated than was in flight, in order.
func TestChaosFaults(t *testing.T) {
	c := newChaos(t, mix{})
	c.begin()
	c.strikeAll(blows, c.kills, 0)
	c.finish()
}

// The same with a provider on a bad day: retries, Retry-After and lost answers on top.
func TestChaosFaultsOnABadDay(t *testing.T) {
	c := newChaos(t, badDay())
	c.begin()
	c.strikeAll(blows, c.kills, c.kills)
	c.finish()
}

// What workers did before they ended, while there was no broker to tell, is in flight; nothing else is repeated.
func TestChaosWorkersEndWhileTheBrokerIsAway(t *testing.T) {
	c := newChaos(t, badDay())
	c.begin()
	for range max(1, c.kills/10) {
		c.awaitBusy()
		from := time.Now()
		c.broker.kill()
		c.workers[0].kill()
		c.workers[1].signal(syscall.SIGTERM)
		during(2 * time.Second)
		c.workers[1].kill()
		for i := range 2 {
			c.workers[i] = c.newWorker(i)
		}
		c.broker.start()
		c.struck("kill of the broker and of two workers", from)
		c.awaitService()
	}
	c.awaitBusy()
	c.finish()
}

// How soon the others go on when one is killed, and when the broker was away.
func TestChaosTakeOver(t *testing.T) {
	c := newChaos(t, mix{})
	c.load.plain = true
	c.begin()
	c.killFor(c.awaitTakeOver)
	c.awaitBusy()
	from := time.Now()
	c.broker.kill()
	c.broker.start()
	c.struck("kill of the broker", from)
	c.awaitService()
	c.awaitBusy()
	for i, w := range c.workers { // now with names that stay
		w.term()
		c.workers[i] = c.newWorker(i, "--set", "kafka.instance_id="+chaosProxies[i])
	}
	c.awaitBusy()
	c.killFor(func(worker string, at time.Time) {
		c.workers[0] = c.newWorker(0, "--set", "kafka.instance_id="+chaosProxies[0])
		during(sessionTimeout + 4*time.Second)
		t.Logf("with instance_id the others stood still for %s (2s is wanted)", c.stall(worker, at).Round(time.Millisecond))
	})
	c.finish()
}

// killFor kills the first worker, looks what happens, and has a new one in its place afterwards.
func (c *chaos) killFor(look func(worker string, at time.Time)) {
	w, at := c.workers[0], time.Now()
	w.kill()
	c.struck("kill "+w.name, at, w.name)
	look(w.name, at)
	if c.workers[0] == w {
		c.workers[0] = c.newWorker(0)
	}
}

// stall is the longest time in which none of the other workers began anything, since at.
func (c *chaos) stall(but string, at time.Time) (longest time.Duration) {
	last := at
	for _, q := range c.provider.since(at) {
		if q.worker != but && q.worker != c.workers[0].name {
			longest, last = max(longest, q.begun.Sub(last)), q.begun
		}
	}
	return max(longest, time.Since(last))
}
