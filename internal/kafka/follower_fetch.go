package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ask sends a fetch to each broker that has none of ours, for all partitions that it leads. The order of partitions in a
// request, which decides whose records fit into the answer, is that of a map: none is always the last.
func (r *following) ask(ctx context.Context) {
	now := time.Now()
	fetches, requests := map[string]*answer{}, map[string]*kmsg.FetchRequest{}
	for tp, p := range r.parts {
		if p.asked || p.void || now.Before(p.later) {
			continue
		}
		broker, err := r.conn.leader(tp)
		if err != nil {
			r.trouble(err, tp)
			continue
		}
		addr := broker.Addr()
		if r.busy[addr] {
			continue
		}
		if fetches[addr] == nil {
			fetches[addr], requests[addr] = &answer{addr: addr}, newFetch(followBytes, followMost, followWait, true)
		}
		fetches[addr].parts = append(fetches[addr].parts, tp)
		addPartition(requests[addr], tp, p.at, p.fetchSize(fetchBytes))
	}
	for addr, a := range fetches {
		r.busy[addr] = true
		for _, tp := range a.parts {
			r.parts[tp].asked = true
		}
		wire := r.conn.wire(addr)
		r.fetches.Go(func() {
			a.of, a.err = wire.fetch(requests[addr])
			select {
			case r.answers <- *a:
			case <-ctx.Done():
			}
		})
	}
}

// take gives what an answer has brought.
func (r *following) take(a answer) (chunks []Chunk) {
	delete(r.busy, a.addr)
	for _, tp := range a.parts {
		r.parts[tp].asked = false
	}
	if a.err != nil {
		r.trouble(a.err, a.parts...)
		return nil
	}
	for _, tp := range a.parts {
		p := r.parts[tp]
		if p.void {
			continue
		}
		was := p.at
		c, err := r.chunk(p, a.of[tp])
		if err != nil {
			r.trouble(err, tp)
		}
		if c.Next != was || c.Restart != NotRestarted {
			p.sure = true
			chunks = append(chunks, c)
		}
	}
	return chunks
}

// followRecords is how much the records of a chunk take at most: what is compressed well comes in several.
const followRecords = 4 << 20

// chunk reads what an answer says of a partition. With an error there are no records.
func (r *following) chunk(p *followed, f fetched) (Chunk, error) {
	c := Chunk{Topic: p.topic, Partition: p.partition, Next: p.at, TopicID: p.id}
	switch {
	case errors.Is(f.err, sarama.ErrOffsetOutOfRange):
		return r.restart(p, c)
	case f.err != nil:
		return c, f.err
	case f.block == nil:
		return c, errLeftOut
	}
	c.End = f.block.lastStable
	verify := r.conn.verify
	if !p.short.since.IsZero() { // it ended below the position a moment ago: what is there now may be other records
		verify = r.conn.compare
	}
	at, err := verify(p.cursor, f.block)
	if err != nil {
		return c, err
	}
	short := p.short
	p.short = shortfall{}
	switch {
	case at >= 0 && !p.id.IsZero():
		c.Next, c.Restart = at, Truncated
		return c, nil
	case at >= 0: // the topic may as well have been created again
		p.at, p.epoch = f.block.logStart, leaderEpoch{}
		c.Next, c.Restart = p.at, Recreated
		return c, nil
	case !short.since.IsZero(): // the epochs do not tell
		p.at, p.epoch = short.end, leaderEpoch{}
		c.Next = p.at
		return c, nil
	}
	p.load(f.block)
	size := int64(0)
	err = p.scan(r.skipped, func(rec *Record) bool {
		c.Records = append(c.Records, rec)
		size += recordSize(rec)
		return size < followRecords
	})
	c.Next = p.at
	return c, err
}

// restart says where a partition is read on that does not hold p.at.
func (r *following) restart(p *followed, c Chunk) (Chunk, error) {
	oldest, newest, err := r.bounds(p.topicPartition)
	if err != nil {
		return c, err
	}
	c.End = newest
	switch {
	case p.at < oldest:
		c.Next, c.Restart, p.short = oldest, RecordsGone, shortfall{}
		p.at, p.epoch = c.Next, leaderEpoch{}
		return c, nil
	case p.at <= newest:
		return c, sarama.ErrOffsetOutOfRange // of a replica that lags behind
	}
	if !p.short.observe(time.Now(), newest, p.at) {
		return c, fmt.Errorf("it ends at %d, below the offset %d that was read last", newest, p.at)
	}
	c.Next, c.Restart, p.short = max(oldest, p.short.end), Truncated, shortfall{}
	if !p.sure || p.id.IsZero() { // then the topic may as well have been created again
		c.Next, c.Restart = oldest, Recreated
	}
	p.at, p.epoch = c.Next, leaderEpoch{}
	return c, nil
}

func (r *following) bounds(tp topicPartition) (oldest, newest int64, err error) {
	if oldest, err = r.conn.offset(tp, sarama.OffsetOldest); err != nil {
		return 0, 0, err
	}
	newest, err = r.conn.offset(tp, sarama.OffsetNewest)
	return oldest, newest, err
}

// renew begins anew with the partitions whose topic was created again.
func (r *following) renew() (chunks []Chunk) {
	now := time.Now()
	for tp, p := range r.parts {
		if !p.void || p.asked || now.Before(p.later) {
			continue
		}
		oldest, newest, err := r.bounds(tp)
		if err != nil {
			r.trouble(err, tp)
			continue
		}
		*p = followed{cursor: newCursor(tp, oldest, r.large), id: r.ids[tp.topic], sure: true}
		chunks = append(chunks, Chunk{Topic: tp.topic, Partition: tp.partition, Next: oldest, End: newest, TopicID: p.id, Restart: Recreated})
	}
	return chunks
}

// trouble puts partitions off, and has their leaders looked for.
func (r *following) trouble(err error, tps ...topicPartition) {
	r.log.warn("reading "+tps[0].String(), fmt.Errorf("%d partitions: %w", len(tps), err))
	for _, tp := range tps {
		r.parts[tp].later = time.Now().Add(askedAgain)
		r.conn.lookUpSoon(tp.topic)
	}
}
