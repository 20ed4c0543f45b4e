package cmd

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// part is something that runs until its ctx ends: a role, or what roles stand on.
type part struct {
	name string
	run  func(context.Context) error
}

func (p part) named(ctx context.Context) error {
	if err := p.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// together runs parts at once and ends them at once: when ctx ends, or when one fails.
func together(ctx context.Context, parts ...part) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		group.Go(func() error { return p.named(ctx) })
	}
	return group.Wait()
}

// inOrder runs parts at once, too. When ctx ends or a part fails, they end one after another: each is told to end when
// those before it have returned. So what takes work in stands first, and what the others stand on, last.
func inOrder(ctx context.Context, parts ...part) error {
	group, ctx := errgroup.WithContext(ctx)
	before := ctx.Done() // closes when the next part may end: ctx is over, and the parts before it have returned
	for _, p := range parts {
		own, end := context.WithCancel(context.WithoutCancel(ctx))
		returned, after := make(chan struct{}), make(chan struct{})
		group.Go(func() error {
			defer close(returned)
			return p.named(own)
		})
		go func(before <-chan struct{}) {
			<-before
			end()
			<-returned
			close(after)
		}(before)
		before = after
	}
	return group.Wait()
}

// hardLimit is how long a shutdown may take altogether, beyond the drain of attempts, its longest step.
const hardLimit = 30 * time.Second

// bounded runs f, and gives up on it when it outlasts ctx by more than limit.
func bounded(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		return fmt.Errorf("the shutdown took longer than %s and was cut short; what was in flight may be delivered again", limit)
	}
}
