package store

import (
	"context"
	"sync"
)

// gather hands what is asked while run is busy to its next call, all at once: a transaction costs a sync and some round
// trips, however much is in it.
type gather[Q, A any] struct {
	run  func(ctx context.Context, asked []Q) (answers []A, err error)
	turn chan struct{} // holds one while run is busy

	mu   sync.Mutex
	next *round[Q, A] // what waits for its turn
}

// round is what one call of run takes. Whoever was the first to ask brings it there.
type round[Q, A any] struct {
	asked   []Q
	answers []A
	err     error
	over    chan struct{}
}

func newGather[Q, A any](run func(context.Context, []Q) ([]A, error)) *gather[Q, A] {
	return &gather[Q, A]{run: run, turn: make(chan struct{}, 1)}
}

// mostGathered bounds a round to what a transaction does in a few milliseconds; a caller may bring more by itself.
const mostGathered = 1000

// do gives the answers to asked. It ends with ctx, or with that of the first of its round.
func (g *gather[Q, A]) do(ctx context.Context, asked []Q) ([]A, error) {
	g.mu.Lock()
	r := g.next
	leads := r == nil || len(r.asked)+len(asked) > mostGathered
	if leads {
		r = &round[Q, A]{over: make(chan struct{})}
		g.next = r
	}
	from := len(r.asked)
	r.asked = append(r.asked, asked...)
	g.mu.Unlock()
	if leads {
		g.lead(ctx, r)
	}
	select {
	case <-r.over:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.answers[from : from+len(asked)], nil
}

func (g *gather[Q, A]) lead(ctx context.Context, r *round[Q, A]) {
	defer close(r.over)
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		r.err = context.Cause(ctx)
	}
	g.mu.Lock()
	if g.next == r {
		g.next = nil
	}
	g.mu.Unlock()
	if r.err == nil {
		r.answers, r.err = g.run(ctx, r.asked)
	}
}
