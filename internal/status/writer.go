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
	found  []Gap // of Gaps: those that this process has found, and has to publish
}

// collect makes a batch of chunks, and of what else has been read by now.
func (w *writer) collect(chunks []kafka.Chunk, read <-chan []kafka.Chunk) *batch {
	b := &batch{}
	to := map[part]Position{}
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
		b.From = append(b.From, Position{Topic: p.topic, Partition: p.number, Next: w.at.next(p.topic, p.number)})
		b.To = append(b.To, next)
	}
	return b
}

func (w *writer) add(b *batch, to map[part]Position, c kafka.Chunk) {
	p := part{c.Topic, c.Partition}
	if was, ok := to[p]; ok {
		w.restarted(b, was.Next, c)
	} else {
		w.restarted(b, w.at.next(c.Topic, c.Partition), c)
	}
	to[p] = Position{Topic: c.Topic, Partition: c.Partition, Next: c.Next, TopicID: c.TopicID}
	e := end{part: p, behind: c.Next < c.End}
	for _, r := range c.Records {
		b.bytes += len(r.Value)
		e.last = r.Timestamp
		w.gauge.hold(r.Timestamp)
		change, kind := w.cfg.Reading.Read(r)
		if kind == kindJob {
			change.Place.ID = c.TopicID
		}
		if b.counts.count(kind); kind == kindJob || kind == kindEvent {
			b.Changes = append(b.Changes, change)
		} else if gap, ok := w.cfg.Reading.gap(r); ok {
			b.Gaps = append(b.Gaps, gap)
		}
	}
	b.ends = append(b.ends, e)
}

// restarted says that a partition is not read on where it was to be, at was: -1 where it was never read.
func (w *writer) restarted(b *batch, was int64, c kafka.Chunk) {
	if c.Restart == kafka.NotRestarted {
		return
	}
	log := w.cfg.Log.With(zap.String("topic", c.Topic), zap.Int32("partition", c.Partition), zap.Int64("next", max(0, was)), zap.Int64("reading_from", c.Next))
	switch c.Restart {
	case kafka.RecordsGone:
		missed := max(0, c.Next-max(0, was))
		if was < 0 { // never read: what was deleted before the first look is not missed
			return
		}
		w.gauge.missed.Add(float64(missed))
		log.Error("records were deleted before the status store had read them: it does not know of these notifications, or how they ended; "+
			"check retention.ms and retention.bytes of the topic, and that laudspeaker serve-api runs all the time", zap.Int64("count", missed))
	case kafka.Recreated:
		w.gauge.recreated.Inc()
		log.Error("the topic was deleted and created again, so the status store reads it from its start; notifications whose records were in the old topic are lost unless they had ended")
	case kafka.Truncated:
		w.gauge.truncated.Inc()
		log.Error("the partition lost its last records, as an unclean leader election does; the status store reads on at the new end: "+
			"set unclean.leader.election.enable=false for the topic", zap.Int64("count", max(0, was-c.Next)))
		if _, job := w.cfg.Reading.Jobs[c.Topic]; job && was > c.Next {
			gap := Gap{Log: Log{Topic: c.Topic, ID: c.TopicID}, Partition: c.Partition, From: c.Next, To: was, At: time.Now()}
			b.Gaps, b.found = append(b.Gaps, gap), append(b.found, gap)
		}
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
			w.publish(ctx, b.found)
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

// publish tells everybody of gaps that the store knows by now. A gap that cannot be published is in no audit, while what becomes
// of its notifications is.
func (w *writer) publish(ctx context.Context, found []Gap) {
	for _, g := range found {
		if w.cfg.Publish == nil {
			return
		}
		if err := w.cfg.Publish(ctx, g); err != nil && ctx.Err() == nil {
			w.cfg.Log.Error("a gap could not be published, so laudspeaker audit does not know of it", zap.String("topic", g.Topic),
				zap.Int32("partition", g.Partition), zap.Int64("from", g.From), zap.Int64("to", g.To), zap.Error(err))
		}
	}
}
