package kafka

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// A read of the ledger ends at a barrier: a record that the reader itself has just written with acks=all. A broker that
// answers with less than that does not lead the partition any more, whatever it believes, and is not believed.

// HeaderNonce identifies a [KindBarrier] record.
const HeaderNonce = "ls-nonce"

// span is a range of offsets; to is exclusive.
type span struct{ from, to int64 }

// last is the end of the span, of that length at most.
func (s span) last(length int64) span { return span{max(s.from, s.to-max(length, 0)), s.to} }

// unbounded is a span's end that is the end of the read.
const unbounded = math.MaxInt64

// sharedReads lets readers that need the same ledger partition at about the same time read it once, behind one barrier.
type sharedReads struct {
	mu      sync.Mutex
	next    *ledgerRound // gathers readers; nil when nobody waits
	running bool         // a goroutine works on rounds until nobody waits
}

// ledgerRound is one read for all its readers.
type ledgerRound struct {
	publisher Outbound
	reads     []*ledgerRead
	left      int // readers that still wait
	ctx       context.Context
	cancel    context.CancelFunc
	done      chan struct{}
	end       int64
	err       error
}

type ledgerRead struct {
	spans func(end int64) []span // asked once the barrier has been written; end is its offset
	visit func(*Record)
	wants []span
}

// read writes a barrier to ledger partition p, then gives visit the records below it that lie in the spans that wants
// asks for, in order, and returns the barrier's offset. Barriers themselves are left out. wants and visit run on another
// goroutine while the caller waits; after the caller has gone with ctx they may still be called for a moment.
func (l *Ledger) read(ctx context.Context, publisher Outbound, p int32, wants func(end int64) []span, visit func(*Record)) (int64, error) {
	round := l.joinRound(publisher, p, &ledgerRead{spans: wants, visit: visit})
	select {
	case <-round.done:
		return round.end, round.err
	case <-ctx.Done():
		l.leaveRound(p, round)
		return 0, ctx.Err()
	}
}

// joinRound adds a reader to the round that begins next: the barrier of one that has begun may be older than the caller's
// question.
func (l *Ledger) joinRound(publisher Outbound, p int32, mine *ledgerRead) *ledgerRound {
	shared := l.sharedReads(p)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.next == nil {
		shared.next = &ledgerRound{publisher: publisher, done: make(chan struct{})}
		shared.next.ctx, shared.next.cancel = context.WithCancel(context.Background())
	}
	round := shared.next
	round.reads = append(round.reads, mine)
	round.left++
	if !shared.running {
		shared.running = true
		go l.runRounds(p, shared)
	}
	return round
}

// leaveRound ends a round that nobody waits for any more.
func (l *Ledger) leaveRound(p int32, round *ledgerRound) {
	shared := l.sharedReads(p)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if round.left--; round.left > 0 {
		return
	}
	round.cancel()
	if shared.next == round { // or somebody would join it
		shared.next = nil
	}
}

func (l *Ledger) sharedReads(p int32) *sharedReads {
	l.mu.Lock()
	defer l.mu.Unlock()
	shared := l.reads[p]
	if shared == nil {
		shared = &sharedReads{}
		l.reads[p] = shared
	}
	return shared
}

func (l *Ledger) runRounds(p int32, shared *sharedReads) {
	for {
		shared.mu.Lock()
		round := shared.next
		shared.next = nil
		shared.running = round != nil
		shared.mu.Unlock()
		if round == nil {
			return
		}
		round.end, round.err = l.scan(p, round)
		round.cancel()
		close(round.done)
	}
}

// scan reads once for the whole round.
func (l *Ledger) scan(p int32, round *ledgerRound) (int64, error) {
	end, nonce, err := l.writeBarrier(round.ctx, round.publisher, p)
	if err != nil {
		return 0, err
	}
	all := []span{{end, end + 1}} // the barrier itself: only a leader that has it is believed
	for _, r := range round.reads {
		r.wants = r.spans(end)
		all = append(all, r.wants...)
	}
	found := false
	for _, s := range union(all, end+1) {
		err := l.scanSpan(round.ctx, p, s, func(rec *Record) {
			if kind, _ := rec.Header(HeaderKind); kind == KindBarrier {
				n, _ := rec.Header(HeaderNonce)
				found = found || rec.Offset == end && n == nonce
				return
			}
			for _, r := range round.reads {
				if holds(r.wants, rec.Offset) {
					r.visit(rec)
				}
			}
		})
		if err != nil {
			return 0, err
		}
	}
	if !found {
		l.conn.lookUp(l.topic)
		return 0, fmt.Errorf("read %s/%d: %w", l.topic, p, errNoBarrier)
	}
	return end, nil
}

// errNoBarrier: another record lies where our own was acknowledged.
var errNoBarrier = errors.New("the partition's leader does not have the record that was just written")

// writeBarrier writes a barrier until it is known where it lies.
func (l *Ledger) writeBarrier(ctx context.Context, publisher Outbound, p int32) (offset int64, nonce string, err error) {
	for {
		var b [12]byte
		_, _ = rand.Read(b[:]) // never fails
		nonce = hex.EncodeToString(b[:])
		_, offset, err = publisher.PublishForever(ctx, Message{Topic: l.topic, Partition: p, Headers: []Header{
			{HeaderKind, []byte(KindBarrier)}, {HeaderNonce, []byte(nonce)},
		}})
		if err != nil {
			return 0, "", fmt.Errorf("write a barrier to %s/%d: %w", l.topic, p, err)
		}
		if offset >= 0 {
			l.raise(p, offset)
			return offset, nonce, nil
		}
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
	}
}

// staleFor is how long a read waits for the leader to have what was acknowledged, before it begins anew.
const staleFor = 5 * time.Second

// scanSpan reads one range. A broker that has nothing where the barrier must be, or before it, is asked for its successor.
func (l *Ledger) scanSpan(ctx context.Context, p int32, s span, visit func(*Record)) error {
	cur := newCursor(topicPartition{l.topic, p}, s.from, &l.large)
	last := time.Now()
	for cur.at < s.to {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := cur.at
		err := l.conn.load(cur, 0)
		if err == nil {
			err = cur.scan(&l.skipped, func(rec *Record) bool {
				if rec.Offset < s.to {
					visit(rec)
				}
				return rec.Offset < s.to
			})
		}
		if err == nil && cur.at == at && time.Since(last) > staleFor {
			err = errNoRecord
		}
		if err != nil {
			return fmt.Errorf("read %s at %d: %w", cur.topicPartition, at, err)
		}
		if cur.at > at {
			last = time.Now()
			continue
		}
		if cur.suspect < 0 {
			l.conn.lookUp(l.topic)
		}
		pause(ctx, 20*time.Millisecond)
	}
	return nil
}

// union gives the ranges that cover all of spans below end, in order and apart from each other.
func union(spans []span, end int64) []span {
	all := slices.Clone(spans)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out []span
	for _, s := range all {
		s.from, s.to = max(s.from, 0), min(s.to, end)
		switch {
		case s.from >= s.to:
		case len(out) > 0 && s.from <= out[len(out)-1].to:
			out[len(out)-1].to = max(out[len(out)-1].to, s.to)
		default:
			out = append(out, s)
		}
	}
	return out
}

func holds(spans []span, offset int64) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.from <= offset && offset < s.to })
}
