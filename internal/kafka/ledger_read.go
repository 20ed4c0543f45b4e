package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
)

// ledgerFetch is how much one fetch of the ledger brings at most; a larger record comes whole all the same.
const ledgerFetch = 1 << 20

// sharedRead lets take-overs that need the same ledger partition at about the same time read it once.
type sharedRead struct {
	turn    sync.Mutex // one reads, the others wait and find their part done, or read the next round
	mu      sync.Mutex
	waiting []*ledgerRead
}

type ledgerRead struct {
	from  int64
	visit func(*Record)
	end   int64
	err   error
	done  bool
}

// read gives visit every record of ledger partition p from offset from to the end as it is now, and that end. visit may
// be called on another goroutine while the caller waits.
func (l *Ledger) read(ctx context.Context, p int32, from int64, visit func(*Record)) (int64, error) {
	l.mu.Lock()
	shared := l.reads[p]
	if shared == nil {
		shared = &sharedRead{}
		l.reads[p] = shared
	}
	l.mu.Unlock()

	mine := &ledgerRead{from: from, visit: visit}
	shared.mu.Lock()
	shared.waiting = append(shared.waiting, mine)
	shared.mu.Unlock()

	shared.turn.Lock()
	defer shared.turn.Unlock()
	if mine.done {
		return mine.end, mine.err
	}
	shared.mu.Lock()
	round := shared.waiting
	shared.waiting = nil
	shared.mu.Unlock()
	end, err := l.scan(ctx, p, round)
	for _, r := range round {
		r.end, r.err, r.done = end, err, true
	}
	return end, err
}

// scan reads once for the whole round, from the lowest offset asked for.
func (l *Ledger) scan(ctx context.Context, p int32, round []*ledgerRead) (int64, error) {
	end, err := l.ask(p)
	if err != nil {
		return 0, err
	}
	at := end
	for _, r := range round {
		at = min(at, r.from)
	}
	for at < end {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		records, next, err := l.fetch(p, at)
		if err != nil {
			return 0, fmt.Errorf("read %s/%d at %d: %w", l.topic, p, at, err)
		}
		for _, rec := range records {
			for _, r := range round {
				if rec.Offset >= r.from && rec.Offset < end {
					r.visit(rec)
				}
			}
		}
		at = next
	}
	return end, nil
}

// fetch reads what one fetch brings from offset at on, and the offset to go on from. What has been deleted is skipped.
func (l *Ledger) fetch(p int32, at int64) ([]*Record, int64, error) {
	client, err := l.conn.get()
	if err != nil {
		return nil, 0, err
	}
	broker, err := client.Leader(l.topic, p)
	if err != nil {
		return nil, 0, err
	}
	// A plain fetch: sessions off, no waiting, uncompressed versions above 11 need topic ids.
	req := &sarama.FetchRequest{Version: 11, MinBytes: 1, MaxBytes: 16 * ledgerFetch, SessionEpoch: -1}
	req.AddBlock(l.topic, p, at, ledgerFetch, -1)
	resp, err := broker.Fetch(req)
	if err != nil {
		l.conn.reset()
		return nil, 0, err
	}
	block := resp.GetBlock(l.topic, p)
	if block == nil {
		return nil, 0, errors.New("the answer leaves the partition out")
	}
	switch block.Err {
	case sarama.ErrNoError:
		return decodeBlock(l.topic, p, at, block)
	case sarama.ErrOffsetOutOfRange:
		oldest, err := client.GetOffset(l.topic, p, sarama.OffsetOldest)
		if err == nil && oldest <= at {
			err = block.Err
		}
		return nil, oldest, err
	default:
		_ = client.RefreshMetadata(l.topic)
		return nil, 0, block.Err
	}
}

func decodeBlock(topic string, p int32, at int64, block *sarama.FetchResponseBlock) ([]*Record, int64, error) {
	var out []*Record
	next := at
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil || batch.PartialTrailingRecord {
			continue
		}
		next = max(next, batch.LastOffset()+1)
		if batch.Control {
			continue
		}
		for _, r := range batch.Records {
			if o := batch.FirstOffset + r.OffsetDelta; o >= at {
				out = append(out, &Record{
					Topic: topic, Partition: p, Offset: o, Timestamp: batch.FirstTimestamp.Add(r.TimestampDelta),
					Key: r.Key, Value: r.Value, Headers: headersOf(r.Headers),
				})
			}
		}
	}
	if next == at {
		return nil, 0, errors.New("the answer holds no whole record")
	}
	return out, next, nil
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
