package kafka

import (
	"errors"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// fetchBytes is how much one fetch brings at most; a larger record comes whole all the same.
const fetchBytes = 1 << 20

var errNoRecord = errors.New("the answer holds no whole record")

// errUndecided: all that is there waits for a transaction that is still open.
var errUndecided = errors.New("a transaction is open")

// fetch reads what one fetch brings from offset at on, and the offset to go on from. What has been deleted is skipped. With
// nothing there it waits as long as told, then gives no records and at itself.
func (c *lazyClient) fetch(topic string, p int32, at int64, wait time.Duration) ([]*Record, int64, error) {
	client, err := c.get()
	if err != nil {
		return nil, 0, err
	}
	broker, err := client.Leader(topic, p)
	if err != nil {
		return nil, 0, err
	}
	// A plain fetch: sessions off; versions above 11 need topic ids.
	req := &sarama.FetchRequest{
		Version: 11, MinBytes: 1, MaxBytes: 16 * fetchBytes, SessionEpoch: -1, MaxWaitTime: int32(wait.Milliseconds()),
	}
	if c.decided {
		req.Isolation = sarama.ReadCommitted
	}
	req.AddBlock(topic, p, at, fetchBytes, -1)
	resp, err := broker.Fetch(req)
	if err != nil {
		c.reset()
		return nil, 0, err
	}
	block := resp.GetBlock(topic, p)
	if block == nil {
		return nil, 0, errors.New("the answer leaves the partition out")
	}
	switch block.Err {
	case sarama.ErrNoError:
		if lso := block.LastStableOffset; c.decided && lso >= 0 && at >= lso && at < block.HighWaterMarkOffset {
			return nil, at, errUndecided
		}
		records, next := decodeBlock(topic, p, at, block)
		return records, next, nil
	case sarama.ErrOffsetOutOfRange:
		oldest, err := client.GetOffset(topic, p, sarama.OffsetOldest)
		if err == nil && oldest <= at {
			err = block.Err
		}
		return nil, oldest, err
	default:
		_ = client.RefreshMetadata(topic)
		return nil, 0, block.Err
	}
}

func decodeBlock(topic string, p int32, at int64, block *sarama.FetchResponseBlock) ([]*Record, int64) {
	var out []*Record
	next := at
	aborted := aborted(block.AbortedTransactions)
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil || batch.PartialTrailingRecord {
			continue
		}
		next = max(next, batch.LastOffset()+1)
		if aborted.holds(batch) || batch.Control {
			continue
		}
		for _, r := range batch.Records {
			written := batch.FirstTimestamp.Add(r.TimestampDelta)
			if batch.LogAppendTime {
				written = batch.MaxTimestamp
			}
			if o := batch.FirstOffset + r.OffsetDelta; o >= at {
				out = append(out, &Record{
					Topic: topic, Partition: p, Offset: o, Timestamp: written,
					Key: r.Key, Value: r.Value, Headers: headersOf(r.Headers),
				})
			}
		}
	}
	return out, next
}

// aborted are the transactions that came to nothing, which a broker names to whoever reads only what is committed.
type aborted []*sarama.AbortedTransaction

// holds reports whether the next batch is part of one. A marker ends the one transaction that its producer has open.
func (a *aborted) holds(batch *sarama.RecordBatch) bool {
	begun := func(t *sarama.AbortedTransaction) bool {
		return t.ProducerID == batch.ProducerID && t.FirstOffset <= batch.FirstOffset
	}
	if batch.Control {
		*a = slices.DeleteFunc(*a, begun)
		return false
	}
	return batch.IsTransactional && slices.ContainsFunc(*a, begun)
}

func headersOf(hs []*sarama.RecordHeader) []Header {
	if len(hs) == 0 {
		return nil
	}
	out := make([]Header, 0, len(hs))
	for _, h := range hs {
		if h != nil {
			out = append(out, Header{Key: string(h.Key), Value: h.Value})
		}
	}
	return out
}
