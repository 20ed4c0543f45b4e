package worker

import (
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// recheckEvery is how often a job that waits in place checks whether it may be sent.
const recheckEvery = time.Second

// partition identifies one partition of a job topic.
type partition struct {
	topic string
	n     int32
}

func partitionOf(r *kafka.Record) partition { return partition{r.Topic, r.Partition} }

// resumer is a paused partition. Resume may start handlers.
type resumer interface{ Resume() }

// pausedPartitions holds the partitions that are paused because their jobs found no available gateway: the backlog stays in
// Kafka. A partition stays paused only while one of its jobs waits in place and tries again. Without such a job nothing would
// find out that a gateway is available again. Concurrent calls are safe.
type pausedPartitions struct {
	mu  sync.Mutex
	all map[partition]resumer
}

// add keeps a partition paused because one of its jobs waits.
func (p *pausedPartitions) add(at partition, r resumer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[at] = r
}

// resume resumes the partition after one of its jobs has ended. The next job pauses the partition again if it finds no gateway.
func (p *pausedPartitions) resume(at partition) {
	p.mu.Lock()
	r := p.all[at]
	delete(p.all, at)
	p.mu.Unlock()
	if r != nil {
		r.Resume() // without the mutex: it may start handlers
	}
}
