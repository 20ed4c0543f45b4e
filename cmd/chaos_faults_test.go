package cmd

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// blow is one kind of fault. Each begins while all workers are busy.
type blow struct {
	name string
	do   func(c *chaos, r *rand.Rand)
}

// blows are all of them.
var blows = []blow{
	{"a worker killed", (*chaos).killWorker},
	{"the API killed", (*chaos).killAPI},
	{"the broker killed", (*chaos).killBroker},
	{"a worker frozen", (*chaos).freezeWorker},
	{"workers restarted one by one", (*chaos).roll},
	{"workers that come and go", (*chaos).storm},
	{"a link cut", func(c *chaos, r *rand.Rand) { c.onLink(r, "cut", 8*time.Second) }},
	{"a link half open", func(c *chaos, r *rand.Rand) { c.onLink(r, "timeout", 8*time.Second) }},
	{"a link slow", func(c *chaos, r *rand.Rand) { c.onLink(r, "latency", 4*time.Second) }},
	{"a link that resets", func(c *chaos, r *rand.Rand) { c.onLink(r, "reset_peer", 3*time.Second) }},
}

// strikeAll does n faults, each kind as often as the others, in an order that the seed gives. Skip leaves out the first of
// that order: so two short runs of one seed see different kinds.
func (c *chaos) strikeAll(blows []blow, n, skip int) {
	for i := skip; i < skip+n; i++ {
		round := rand.New(rand.NewPCG(c.seed, uint64(i/len(blows)))).Perm(len(blows))
		b := blows[round[i%len(blows)]]
		c.awaitBusy()
		c.t.Logf("%s fault %d: %s", clock4(time.Now()), i-skip+1, b.name)
		b.do(c, rand.New(rand.NewPCG(c.seed, uint64(i)<<32|1)))
	}
	c.awaitBusy()
}

// struck notes a fault. From is when it began; it ends now.
func (c *chaos) struck(kind string, from time.Time, workers ...string) {
	c.faults = append(c.faults, fault{kind, workers, from, time.Now()})
}

func (c *chaos) killWorker(r *rand.Rand) {
	i := r.IntN(len(c.workers))
	w, from := c.workers[i], time.Now()
	w.kill()
	c.struck("kill "+w.name, from, w.name)
	if r.IntN(2) == 0 { // the others take over first
		c.awaitTakeOver(w.name, from)
	}
	c.workers[i] = c.newWorker(i)
}

func (c *chaos) killAPI(*rand.Rand) {
	c.api.kill()
	c.api = c.serve(c.load.url)
}

// killBroker kills it and starts it again; every second time a worker is killed while it is away.
func (c *chaos) killBroker(r *rand.Rand) {
	from := time.Now()
	c.broker.kill()
	if r.IntN(2) == 0 {
		i := r.IntN(len(c.workers))
		c.workers[i].kill()
		c.workers[i] = c.newWorker(i)
	}
	c.broker.start()
	c.struck("kill of the broker", from)
	c.awaitService()
}

func (c *chaos) freezeWorker(r *rand.Rand) {
	w, from := c.workers[r.IntN(len(c.workers))], time.Now()
	w.signal(syscall.SIGSTOP)
	during(9*time.Second + time.Duration(r.IntN(c.longest))*time.Second)
	w.signal(syscall.SIGCONT)
	during(time.Second) // what it had begun to write goes out now
	c.struck("freeze "+w.name, from, w.name)
}

func (c *chaos) roll(*rand.Rand) {
	for i, w := range c.workers {
		w.term()
		c.workers[i] = c.newWorker(i)
		c.awaitBusy()
	}
}

// storm lets a worker join and leave again and again.
func (c *chaos) storm(r *rand.Rand) {
	for range 3 {
		guest := c.newWorker(r.IntN(len(c.workers)))
		during(2 * time.Second)
		guest.term()
	}
}

func (c *chaos) onLink(r *rand.Rand, kind string, long time.Duration) {
	i := r.IntN(len(c.workers))
	from := time.Now()
	heal := c.links[i].hurt(c.t, kind)
	during(long)
	heal()
	if kind != "latency" { // that is no fault
		c.struck(fmt.Sprintf("%s of the link of %s", kind, c.workers[i].name), from, c.workers[i].name)
	}
}
