package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/status"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
)

func newStatusRebuild() *cobra.Command {
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Empty the status store, and have it filled from the topics again",
		Long: `Empties the status store, and shows how it is filled from the topics again by the serve-api (or all) that runs. Without one
the next to start fills it. Nothing is sent by that, and delivery goes on meanwhile.

What the topics do not hold any more cannot be brought back: they keep 14 days, the store status.retention. Keys of
idempotency stay, and what was expunged stays expunged.`,
		Example: `  laudspeaker status rebuild --yes
  laudspeaker status rebuild --yes --config configs/production.yaml`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	yes := c.Flags().Bool("yes", false, "really empty it")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		if !*yes {
			return errors.New("it would empty the status store, and what is older than the topics is then gone: add --yes")
		}
		return rebuildStatus(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr())
	}
	return c
}

func rebuildStatus(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) error {
	p, err := newProcess(cfg, io.Discard, "status rebuild", true)
	if err != nil {
		return err
	}
	s, err := storeOf(ctx, cfg, p)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Reset(ctx); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "the status store is empty")
	bus, end, err := openBus(ctx, cfg)
	if err != nil {
		fmt.Fprintf(stderr, "%v\nThe next serve-api or all fills it.\n", err)
		return nil
	}
	defer end()
	f, err := newFilling(bus.reader, p)
	if err != nil {
		return err
	}
	return f.watch(ctx, s, stdout, newProgress(stderr))
}

// filling is what a recorder has to read until the store holds what the topics held.
type filling struct {
	parts map[status.Position]kafka.Bounds // by the partition, with Next 0
	total int64
}

func newFilling(r *kafka.Reader, p *process) (*filling, error) {
	f := &filling{parts: map[status.Position]kafka.Bounds{}}
	for _, topic := range p.topics.Recorded() {
		bounds, err := r.Bounds(topic)
		if errors.Is(err, kafka.ErrNoTopic) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, b := range bounds {
			f.parts[status.Position{Topic: topic, Partition: b.Partition}] = b
			f.total += b.Newest - b.Oldest
		}
	}
	return f, nil
}

// done counts the records that have been read of those that were there.
func (f *filling) done(at []status.Position) (n int64) {
	for _, p := range at {
		b := f.parts[status.Position{Topic: p.Topic, Partition: p.Partition}]
		n += max(0, min(p.Next, b.Newest)-b.Oldest)
	}
	return n
}

// nobodyFor, longer than another process needs to take over, is how long the store may stand still before it is said that nobody fills it.
const nobodyFor = 8 * time.Second

// watch shows how the store is filled, until it is or nobody does it.
func (f *filling) watch(ctx context.Context, s *store.Store, stdout io.Writer, said *progress) error {
	before, moved := int64(0), time.Now()
	for {
		at, err := s.Positions(ctx)
		if err != nil {
			return err
		}
		done := f.done(at)
		if done > before {
			said.add(int(done-before), "filling the status store, of "+thousands(f.total)+" records")
			before, moved = done, time.Now()
		}
		switch {
		case done >= f.total:
			fmt.Fprintf(stdout, "%s records were read: the status store holds what the topics held\n", thousands(done))
			return nil
		case time.Since(moved) >= nobodyFor:
			fmt.Fprintf(stdout, "%s of %s records were read, and no serve-api goes on: the next one to start does\n", thousands(done), thousands(f.total))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
