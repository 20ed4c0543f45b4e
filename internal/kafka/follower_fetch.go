package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// ask sends a fetch to each broker that has none of ours, for all partitions that it leads. The order of partitions in a
// request, which decides whose records fit into the answer, is that of a map: none is always the last.
func (r *following) ask(ctx context.Context) {
	now := time.Now()
	fetches := map[*sarama.Broker]*answer{}
	requests := map[*sarama.Broker]*sarama.FetchRequest{}
	for tp, p := range r.parts {
		if p.asked || p.void || now.Before(p.later) {
			continue
		}
		broker, err := r.leader(tp)
		if err != nil { // looking for one leader takes time; the others are looked for at the next turn
			r.trouble(err, tp)
			break
		}
		if r.busy[broker.ID()] {
			continue
		}
		if fetches[broker] == nil {
			fetches[broker], requests[broker] = &answer{broker: broker}, newFetch()
		}
		fetches[broker].parts = append(fetches[broker].parts, tp)
		requests[broker].AddBlock(tp.topic, tp.partition, p.at, fetchBytes, -1)
	}
	for broker, a := range fetches {
		r.busy[broker.ID()] = true
		for _, tp := range a.parts {
			r.parts[tp].asked = true
		}
		r.fetches.Go(func() {
			a.resp, a.err = broker.Fetch(requests[broker])
			select {
			case r.answers <- *a:
			case <-ctx.Done():
			}
		})
	}
}

func newFetch() *sarama.FetchRequest {
	return &sarama.FetchRequest{
		Version: 11, MinBytes: followBytes, MaxBytes: followMost, MaxWaitTime: int32(followWait.Milliseconds()),
		SessionEpoch: -1, Isolation: sarama.ReadCommitted,
	}
}

func (r *following) leader(tp topicPartition) (*sarama.Broker, error) {
	client, err := r.conn.get()
	if err != nil {
		return nil, err
	}
	return client.Leader(tp.topic, tp.partition)
}

// take gives what an answer has brought.
func (r *following) take(a answer) (chunks []Chunk) {
	delete(r.busy, a.broker.ID())
	for _, tp := range a.parts {
		r.parts[tp].asked = false
	}
	if a.err != nil {
		_ = a.broker.Close() // the next one who needs it dials again
		r.trouble(fmt.Errorf("fetch: %w", a.err), a.parts...)
		return nil
	}
	for _, tp := range a.parts {
		if r.parts[tp].void {
			continue
		}
		block := a.resp.GetBlock(tp.topic, tp.partition)
		if block == nil {
			r.trouble(errors.New("the answer leaves the partition out"), tp)
			continue
		}
		c, err := r.chunk(tp, block)
		if err != nil {
			r.trouble(err, tp)
			continue
		}
		if p := r.parts[tp]; c.Next != p.at || c.Restart != NotRestarted {
			p.at, p.sure = c.Next, true
			chunks = append(chunks, c)
		}
	}
	return chunks
}

func (r *following) chunk(tp topicPartition, block *sarama.FetchResponseBlock) (Chunk, error) {
	p := r.parts[tp]
	c := Chunk{Topic: tp.topic, Partition: tp.partition, End: block.LastStableOffset, TopicID: p.id}
	switch at := p.at; block.Err {
	case sarama.ErrNoError:
		if !p.short.since.IsZero() { // it ended below at a moment ago: what is there now may be other records
			c.Next, p.short = p.short.end, shortfall{}
			return c, nil
		}
		c.Records, c.Next = decodeBlock(tp.topic, tp.partition, at, block)
		return c, nil
	case sarama.ErrOffsetOutOfRange:
		return r.restart(p, c)
	default:
		return c, block.Err
	}
}

// restart says where a partition is read on that does not hold p.at.
func (r *following) restart(p *followed, c Chunk) (Chunk, error) {
	oldest, newest, err := r.bounds(c.Topic, c.Partition)
	if err != nil {
		return c, err
	}
	c.End = newest
	switch {
	case p.at < oldest:
		c.Next, c.Restart, p.short = oldest, RecordsGone, shortfall{}
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
	return c, nil
}

func (r *following) bounds(topic string, partition int32) (oldest, newest int64, err error) {
	client, err := r.conn.get()
	if err != nil {
		return 0, 0, err
	}
	if oldest, err = client.GetOffset(topic, partition, sarama.OffsetOldest); err != nil {
		return 0, 0, err
	}
	newest, err = client.GetOffset(topic, partition, sarama.OffsetNewest)
	return oldest, newest, err
}

// renew begins anew with the partitions whose topic was created again.
func (r *following) renew() (chunks []Chunk) {
	now := time.Now()
	for tp, p := range r.parts {
		if !p.void || p.asked || now.Before(p.later) {
			continue
		}
		oldest, newest, err := r.bounds(tp.topic, tp.partition)
		if err != nil { // the others at the next turn
			r.trouble(err, tp)
			break
		}
		*p = followed{at: oldest, id: r.ids[tp.topic], sure: true}
		chunks = append(chunks, Chunk{Topic: tp.topic, Partition: tp.partition, Next: oldest, End: newest, TopicID: p.id, Restart: Recreated})
	}
	return chunks
}

// trouble puts partitions off, and has their leaders looked for.
func (r *following) trouble(err error, tps ...topicPartition) {
	r.log.warn("reading "+tps[0].String(), err)
	topics := map[string]bool{}
	for _, tp := range tps {
		r.parts[tp].later = time.Now().Add(askedAgain)
		topics[tp.topic] = true
	}
	client, err := r.conn.get()
	if err != nil {
		return
	}
	var names []string
	for topic := range topics {
		names = append(names, topic)
	}
	if client.RefreshMetadata(names...) != nil {
		r.conn.reset() // nobody answers: begin from the addresses of the configuration
	}
}
