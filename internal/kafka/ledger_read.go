package kafka

import (
	"context"
	"fmt"
	"sync"
)

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
		records, next, err := l.conn.fetch(l.topic, p, at, 0)
		if err == nil && next == at {
			err = errNoRecord
		}
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
