package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// movedPart is one partition on its way, and what of it waits to be published.
type movedPart struct {
	*move
	shelf
	rest     *kafka.Remainder
	messages []kafka.Message
	offsets  []int64 // of the messages, and of the letters among them that stay
	bytes    int
	goes     int
	stayed   int
	doubted  int
}

// add takes a record. One that is in doubt may have been sent, and must not be sent twice: a person decides about it.
func (p *movedPart) add(ctx context.Context, r *kafka.Record, doubt bool) error {
	p.offsets = append(p.offsets, r.Offset)
	switch {
	case p.skip.Has(r.Topic, r.Partition, r.Offset):
		p.stayed++
	case doubt:
		letter, event := p.desk.MoveHeld(r, p.channel, p.lane, time.Now())
		p.messages = append(p.messages, letter, event)
		p.doubted++
	default:
		p.messages = append(p.messages, p.desk.Move(r, cmp.Or(p.to, r.Topic)))
		p.goes++
	}
	p.bytes += len(r.Key) + len(r.Value)
	if len(p.offsets) < batchRecords && p.bytes < batchBytes {
		return nil
	}
	return p.flush(ctx)
}

// flush publishes what waits. Then, and only then, the group's offset moves on: a crash in between publishes these again,
// with the same ids, runs and steps, which workers drop.
func (p *movedPart) flush(ctx context.Context) error {
	if len(p.offsets) == 0 {
		return nil
	}
	if p.publish != nil {
		if err := p.deliver(ctx); err != nil {
			return err
		}
	}
	*p.moved += p.goes
	p.redriven += p.stayed
	p.held += p.doubted
	p.progress.add(len(p.offsets), "moving "+p.topic)
	p.messages, p.offsets, p.bytes, p.goes, p.stayed, p.doubted = nil, nil, 0, 0, 0, 0
	return nil
}

func (p *movedPart) deliver(ctx context.Context) error {
	for _, err := range p.publish(ctx, p.messages) {
		if errors.Is(err, kafka.ErrTooLarge) {
			return fmt.Errorf("publish to %s: %w: raise its max.message.bytes to what it was for the embedded broker, and a KiB more", p.topic, err)
		}
		if err != nil {
			return fmt.Errorf("publish to %s: %w", p.topic, err)
		}
	}
	for _, offset := range p.offsets {
		p.rest.Done(offset)
	}
	return p.rest.Commit()
}
