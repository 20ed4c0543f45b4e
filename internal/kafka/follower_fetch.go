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
		if p.asked || now.Before(p.later) {
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
		if p := r.parts[tp]; c.Next != p.at || c.Restarted {
			p.at = c.Next
			chunks = append(chunks, c)
		}
	}
	return chunks
}

func (r *following) chunk(tp topicPartition, block *sarama.FetchResponseBlock) (Chunk, error) {
	c := Chunk{Topic: tp.topic, Partition: tp.partition, End: block.LastStableOffset}
	switch at := r.parts[tp].at; block.Err {
	case sarama.ErrNoError:
		c.Records, c.Next = decodeBlock(tp.topic, tp.partition, at, block)
		return c, nil
	case sarama.ErrOffsetOutOfRange:
		return r.restart(c, at)
	default:
		return c, block.Err
	}
}

// restart begins at the oldest offset, if the partition does not hold at.
func (r *following) restart(c Chunk, at int64) (Chunk, error) {
	client, err := r.conn.get()
	if err != nil {
		return c, err
	}
	oldest, err := client.GetOffset(c.Topic, c.Partition, sarama.OffsetOldest)
	if err != nil {
		return c, err
	}
	newest, err := client.GetOffset(c.Topic, c.Partition, sarama.OffsetNewest)
	if err == nil && oldest <= at && at <= newest {
		err = sarama.ErrOffsetOutOfRange // of a replica that lags behind
	}
	c.Next, c.End, c.Restarted = oldest, newest, true
	return c, err
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
