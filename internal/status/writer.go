package status

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// A batch takes what is there, until it is this large. An answer of a broker is never split.
const (
	mostChanges = 2000
	mostBytes   = 4 << 20
)

// writer makes batches of what is read, and writes them one after the other.
type writer struct {
	*Recorder
	at *positions
}

func (w *writer) run(ctx context.Context, read <-chan []kafka.Chunk) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case chunks := <-read:
			b := w.collect(chunks, read)
			if err := w.write(ctx, b); err != nil {
				return err
			}
		}
	}
}

// batch is a [Batch] in the making.
type batch struct {
	Batch
	bytes  int
	ends   []end
	counts counts
}

// collect makes a batch of chunks, and of what else has been read by now.
func (w *writer) collect(chunks []kafka.Chunk, read <-chan []kafka.Chunk) *batch {
	b := &batch{}
	to := map[part]int64{}
	for {
		for _, c := range chunks {
			w.add(b, to, c)
		}
		if len(b.Changes) >= mostChanges || b.bytes >= mostBytes {
			break
		}
		select {
		case chunks = <-read:
			continue
		default:
		}
		break
	}
	for p, next := range to {
		b.From = append(b.From, Position{p.topic, p.number, w.at.next(p.topic, p.number)})
		b.To = append(b.To, Position{p.topic, p.number, next})
	}
	return b
}

func (w *writer) add(b *batch, to map[part]int64, c kafka.Chunk) {
	p := part{c.Topic, c.Partition}
	if c.Restarted {
		w.restarted(c)
	}
	to[p] = c.Next
	e := end{part: p, behind: c.Next < c.End}
	for _, r := range c.Records {
		b.bytes += len(r.Value)
		e.last = r.Timestamp
		w.gauge.hold(r.Timestamp)
		change, kind := w.cfg.Reading.Read(r)
		if b.counts.count(kind); kind == kindJob || kind == kindEvent {
			b.Changes = append(b.Changes, change)
		}
	}
	b.ends = append(b.ends, e)
}

func (w *writer) restarted(c kafka.Chunk) {
	if was := w.at.next(c.Topic, c.Partition); was >= 0 {
		w.gauge.missed.Add(float64(max(0, c.Next-was)))
		w.cfg.Log.Warn("what the status store has not read of a partition is gone, or its topic was made anew; reading on at its oldest record",
			zap.String("topic", c.Topic), zap.Int32("partition", c.Partition), zap.Int64("read", was), zap.Int64("oldest", c.Next))
	}
}

// write writes for as long as it takes.
func (w *writer) write(ctx context.Context, b *batch) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := w.cfg.Store.Record(ctx, w.holder, b.Batch)
		switch {
		case err == nil:
			w.at.set(b.To)
			w.gauge.recorded(b)
			select {
			case w.wake <- struct{}{}:
			default: // it is awake
			}
			return nil
		case errors.Is(err, ErrMoved), errors.Is(err, ErrNotHeld):
			return err
		case ctx.Err() != nil:
			return nil
		}
		w.trouble("the status store does not take what was read; trying again", err)
		if !pause(ctx, wait) {
			return nil
		}
	}
}
