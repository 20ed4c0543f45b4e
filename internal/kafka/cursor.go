package kafka

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
)

// block is what a fetch has brought of one partition.
type block struct {
	addr          string // of the broker
	raw           []byte // record batches; the last may be cut
	highWatermark int64
	lastStable    int64 // the end of what is in no open transaction; -1 if that was not asked for
	logStart      int64
	aborted       aborted
}

// damagedBatch is a batch that cannot be decoded. Its offsets are base up to next, exclusive.
type damagedBatch struct {
	topicPartition
	base, next int64
	count      int32 // of records, as the header says; 0 if it says nothing
	raw        []byte
	reason     error
}

// cursor is the position of one reader in one partition, and the block that it is reading. It is pure but for the lock that
// cursors share: of batches that decompress to much, one may be open at a time. Not for concurrent use.
//
// A batch that cannot be decoded is fetched once more before it is given up: what came over the network may differ from
// what is on the log.
type cursor struct {
	topicPartition
	one   *sync.Mutex // held while a large batch is open
	names recordbatch.Names
	at    int64       // the next offset
	epoch leaderEpoch // of the newest batch that was read

	block   *block
	rest    []byte // of the block's batches: those that are not finished
	records *recordbatch.Records
	large   bool  // the open batch holds the lock
	suspect int64 // base of a batch that could not be decoded when it was fetched first; -1 for none
	trouble error // why the block could not be read to its end

	loadedAt int64 // the position when the block was loaded
	stuck    int   // how many blocks in a row have not moved the position although they held something
}

func newCursor(tp topicPartition, at int64, one *sync.Mutex) *cursor {
	return &cursor{topicPartition: tp, one: one, names: recordbatch.Names{}, at: at, loadedAt: -1, suspect: -1}
}

// load begins a block that was fetched from the position on.
func (c *cursor) load(b *block) {
	c.close()
	switch {
	case c.at != c.loadedAt:
		c.stuck = 0
	case len(b.raw) > 0:
		c.stuck++
	}
	c.block, c.rest, c.trouble, c.loadedAt = b, b.raw, nil, c.at
}

// mostStuck is how many fetches in a row may bring nothing new before that is an error.
const mostStuck = 3

// fetchSize returns how much the next fetch is to bring: more than usual after fetches that brought too little to go on.
func (c *cursor) fetchSize(usual int32) int32 {
	return min(usual<<min(2*c.stuck, 8), max(usual, 16<<20))
}

// close ends the block.
func (c *cursor) close() {
	c.suspend()
	c.block, c.rest, c.records = nil, nil, nil
}

// suspend is called before a pause: it closes a large batch.
func (c *cursor) suspend() {
	if c.large {
		c.large, c.records = false, nil
		c.one.Unlock()
	}
}

// next returns the next record of the block or a batch that cannot be decoded, and moves the position beyond it. It returns
// neither when the block is finished: then trouble says whether all of it could be read.
func (c *cursor) next() (*Record, *damagedBatch) {
	for c.block != nil && len(c.rest) > 0 {
		if rec := c.record(); rec != nil {
			return rec, nil
		}
		b, err := recordbatch.Next(c.rest)
		if err == nil && b.Base >= c.block.highWatermark {
			err = recordbatch.ErrFraming
		}
		if err != nil {
			c.trouble = err
			break
		}
		rest, end := c.rest[len(b.Raw):], c.end(&b)
		if c.records == nil && end > c.at && !c.block.aborted.skips(&b) {
			err := c.open(&b)
			if err == nil {
				c.epoch = c.epoch.follow(&b)
				continue
			}
			bad, refetch := c.damaged(&b, end, err)
			if refetch {
				break
			}
			if bad != nil {
				c.passUnread(&b, end, rest)
				return nil, bad
			}
		}
		c.passUnread(&b, end, rest)
	}
	c.close()
	return nil, nil
}

// record returns the next record of the open batch at or above the position; nil when there is none.
func (c *cursor) record() *Record {
	if c.records == nil {
		return nil
	}
	for r := c.records.Next(); r != nil; r = c.records.Next() {
		if r.Offset >= c.at {
			c.at = r.Offset + 1
			return c.copyOf(r)
		}
	}
	return nil
}

// copyOf copies a record: one that waits must not keep the whole answer of the broker in memory.
func (c *cursor) copyOf(r *recordbatch.Record) *Record {
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Value)
	}
	data := make([]byte, 0, size)
	keep := func(field []byte) []byte {
		if field == nil {
			return nil
		}
		data = append(data, field...)
		return data[len(data)-len(field) : len(data) : len(data)]
	}
	rec := &Record{
		Topic: c.topic, Partition: c.partition, Offset: r.Offset, Key: keep(r.Key), Value: keep(r.Value),
	}
	if r.Timestamp >= 0 {
		rec.Timestamp = time.UnixMilli(r.Timestamp)
	}
	if len(r.Headers) > 0 {
		rec.Headers = make([]Header, len(r.Headers))
		for i, h := range r.Headers {
			rec.Headers[i] = Header{h.Key, keep(h.Value)}
		}
	}
	return rec
}

// passUnread is pass for a batch that may not have been opened. The epoch of a damaged one is unknown.
func (c *cursor) passUnread(b *recordbatch.Batch, end int64, rest []byte) {
	if c.records == nil && end > c.at && c.epoch.follow(b) != c.epoch {
		if b.Intact() {
			c.epoch = c.epoch.follow(b)
		} else {
			c.epoch.known = false
		}
	}
	c.pass(end, rest)
}

// pass moves the position beyond a batch.
func (c *cursor) pass(end int64, rest []byte) {
	c.suspend()
	c.records = nil
	c.at = max(c.at, end)
	c.rest = rest
}

// end returns the offset after the batch. The header decides only if the checksum is right and the range that it states ends
// below the high watermark and before the base of the following batch. Otherwise the batch ends where the following one
// begins. It takes one offset if that is not known either, or what the header states if the brokers go by that and bring
// nothing else.
func (c *cursor) end(b *recordbatch.Batch) int64 {
	stated, following := b.Base+int64(b.LastOffsetDelta)+1, c.following(b)
	switch {
	case b.LastOffsetDelta >= 0 && stated <= c.block.highWatermark && (following < 0 || stated <= following) && c.intact(b):
		return stated
	case following >= 0:
		return following
	case b.Base < c.at && c.stuck >= mostStuck && stated <= c.block.highWatermark:
		return stated
	default:
		return b.Base + 1
	}
}

// intact reports whether the checksum of the batch is right. That of an open batch is.
func (c *cursor) intact(b *recordbatch.Batch) bool { return c.records != nil || b.Intact() }

// following returns the base offset of the batch behind b, -1 if it is not known.
func (c *cursor) following(b *recordbatch.Batch) int64 {
	rest := c.rest[len(b.Raw):]
	if len(rest) < 8 { // the answer may end within the next batch: its base is enough
		return -1
	}
	base := int64(binary.BigEndian.Uint64(rest))
	if base < b.Base || base > c.block.highWatermark {
		return -1
	}
	return base
}

// open decodes the batch as far as necessary to read its records.
func (c *cursor) open(b *recordbatch.Batch) (err error) {
	c.records, err = b.Open(recordbatch.SmallSize, c.names)
	if errors.Is(err, recordbatch.ErrTooLarge) {
		c.one.Lock()
		c.large = true
		if c.records, err = b.Open(recordbatch.MaxSize, c.names); err != nil {
			c.suspend()
		}
	}
	return err
}

// damaged returns a batch that cannot be decoded; refetch asks for it once more first. One that begins before the position
// was dealt with before, and one without offsets takes nothing from anybody: there is nothing to return.
func (c *cursor) damaged(b *recordbatch.Batch, end int64, reason error) (bad *damagedBatch, refetch bool) {
	switch {
	case b.Base < c.at:
		return nil, false
	case c.suspect != b.Base:
		c.suspect, c.trouble = b.Base, reason
		return nil, true
	case end == b.Base:
		return nil, false
	default:
		c.suspect = -1
		return &damagedBatch{
			topicPartition: c.topicPartition, base: b.Base, next: end, count: max(b.Count, 0), raw: b.Raw, reason: reason,
		}, false
	}
}
