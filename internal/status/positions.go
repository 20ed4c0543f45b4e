package status

import (
	"sync"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// part is a partition of a topic.
type part struct {
	topic  string
	number int32
}

// positions are the store's as the recorder knows them.
type positions struct {
	mu    sync.Mutex
	at    map[part]Position
	moved bool // since news was asked
}

func newPositions(at []Position) *positions {
	p := &positions{at: map[part]Position{}}
	p.set(at)
	return p
}

func (p *positions) set(at []Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range at {
		p.at[part{a.Topic, a.Partition}] = a
		p.moved = true
	}
}

// news reports whether there are positions that were not there when it was asked before.
func (p *positions) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.moved
	p.moved = false
	return was
}

// next gives -1 for a partition that the store does not know.
func (p *positions) next(topic string, partition int32) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.at[part{topic, partition}]; ok {
		return at.Next
	}
	return -1
}

// from gives what a [Source] is asked to read on from.
func (p *positions) from(topic string, partition int32) (next int64, id kafka.TopicID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.at[part{topic, partition}]; ok {
		return at.Next, at.TopicID
	}
	return -1, kafka.TopicID{}
}

// have reports whether no partition of those is missing.
func (p *positions) have(those []Position) bool {
	for _, t := range those {
		if p.next(t.Topic, t.Partition) < 0 {
			return false
		}
	}
	return true
}

func (p *positions) all() []Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Position, 0, len(p.at))
	for _, at := range p.at {
		list = append(list, at)
	}
	return list
}
