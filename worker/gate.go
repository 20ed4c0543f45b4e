package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	probeEvery = 30 * time.Second // how often a gateway that refuses us is tried
	waitFor    = time.Second      // how often a waiting job looks whether it may go
)

// claim is a paused partition.
type claim interface{ Resume() }

type partition struct {
	topic string
	n     int32
}

// gate stands before a gateway. While the gateway refuses us it is shut: every partition whose job meets it is paused, so
// that the backlog stays in Kafka, and one job is let through at a time, as a probe.
//
// A partition stays paused only while a job of it waits here and asks again; without one, nobody would be left to probe.
type gate struct {
	mu     sync.Mutex
	shut   bool
	epoch  int       // counts openings: a refusal of what began before the last one is stale
	probe  time.Time // when the next probe may start
	paused map[partition]claim
	state  prometheus.Gauge
}

// pass is leave to call the gateway.
type pass struct {
	epoch int
	probe bool
}

// enter asks for leave to call the gateway now.
func (g *gate) enter(now time.Time) (pass, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		return pass{epoch: g.epoch}, true
	}
	if now.Before(g.probe) {
		return pass{}, false
	}
	g.probe = now.Add(probeEvery)
	return pass{epoch: g.epoch, probe: true}, true
}

// refused shuts the gate because the gateway refused p's holder. It reports whether that is news.
func (g *gate) refused(p pass, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut || p.epoch != g.epoch {
		return false
	}
	g.shut, g.probe = true, now.Add(probeEvery)
	g.state.Set(1)
	return true
}

// served opens the gate because the gateway served p's holder. Only a probe proves that: what began before the gate was
// shut may have been served on a connection from better times. It reports whether that is news.
func (g *gate) served(p pass) bool {
	g.mu.Lock()
	if !g.shut || !p.probe || p.epoch != g.epoch {
		g.mu.Unlock()
		return false
	}
	g.shut = false
	g.epoch++
	g.state.Set(0)
	paused := g.paused
	g.paused = map[partition]claim{}
	g.mu.Unlock() // before Resume, which may start handlers
	for _, c := range paused {
		c.Resume()
	}
	return true
}

// hold pauses a partition for as long as the gate is shut. Pausing comes first and the look at the gate second, so that
// an opening in between cannot leave it paused for ever.
func (g *gate) hold(at partition, pause func() claim) {
	c := pause()
	g.mu.Lock()
	shut := g.shut
	if shut {
		g.paused[at] = c
	}
	g.mu.Unlock()
	if !shut {
		c.Resume()
	}
}

// left says that a job of the partition no longer waits: the next one comes forward and takes its place.
func (g *gate) left(at partition) {
	g.mu.Lock()
	c := g.paused[at]
	delete(g.paused, at)
	g.mu.Unlock()
	if c != nil {
		c.Resume()
	}
}
