package worker

import (
	"sync"
	"time"
)

// waitFor is how often a job that waits in place looks whether it may go.
const waitFor = time.Second

// claim is a paused partition.
type claim interface{ Resume() }

type partition struct {
	topic string
	n     int32
}

// gate holds the partitions whose jobs found no gateway that works for us, so that the backlog stays in Kafka. A partition
// stays paused only while a job of it waits in place and asks again: without one, nobody would be left to find out that a
// gateway serves us again.
type gate struct {
	mu     sync.Mutex
	paused map[partition]claim
}

// hold keeps a partition paused because a job of it waits.
func (g *gate) hold(at partition, c claim) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused[at] = c
}

// left says that a job of the partition no longer waits: the next one comes forward and, if need be, takes its place.
func (g *gate) left(at partition) {
	g.mu.Lock()
	c := g.paused[at]
	delete(g.paused, at)
	g.mu.Unlock()
	if c != nil {
		c.Resume() // outside the lock: it may start handlers
	}
}
