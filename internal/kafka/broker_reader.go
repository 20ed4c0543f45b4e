package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// partitionReader fetches the partitions of a runner's claims. Claims of one broker share a fetch. An error of one partition
// is the answer to its claim alone; a claim that is slow to take what was fetched for it holds up nobody: it is left out of
// the fetches until it asks again.
type partitionReader struct {
	conn *lazyClient

	life    context.Context //nolint:containedctx // of the goroutines, which are started when they are needed
	end     context.CancelFunc
	mu      sync.Mutex
	brokers map[string]*brokerReader // by address
	running sync.WaitGroup
}

func newPartitionReader(conn *lazyClient) *partitionReader {
	r := &partitionReader{conn: conn, brokers: map[string]*brokerReader{}}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// close ends the connections and whoever waits for them.
func (r *partitionReader) close() {
	r.end()
	r.conn.close()
	r.running.Wait()
}

// How long a broker holds a fetch that has nothing to bring. A claim that was just served asks again within a moment:
// the next fetch waits for it a little, and is a short one while it has not come.
const (
	fetchWait      = 100 * time.Millisecond
	fetchWaitShort = 10 * time.Millisecond
	expectFor      = time.Second
	gatherFor      = 5 * time.Millisecond
	fetchAtMost    = 16 << 20 // of all partitions; a larger batch comes whole all the same
)

// want is what a claim asks for.
type want struct {
	ctx      context.Context //nolint:containedctx // the claim may have ended before its turn comes
	tp       topicPartition
	at       int64
	maxBytes int32
	evenNone bool         // an answer without records is an answer
	answer   chan fetched // with room for one
}

// fetch returns the block of tp at that offset once there is one. While there is none it waits; with evenNone it returns an
// empty block as soon as the broker has answered. It looks up no leader: a partition that is known to have none fails at once.
func (r *partitionReader) fetch(ctx context.Context, tp topicPartition, at int64, maxBytes int32, evenNone bool) (*block, error) {
	leader, err := r.conn.leader(tp)
	if err != nil {
		return nil, err
	}
	w := &want{ctx: ctx, tp: tp, at: at, maxBytes: maxBytes, evenNone: evenNone, answer: make(chan fetched, 1)}
	select {
	case r.broker(leader.Addr()).wants <- w:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.life.Done():
		return nil, sarama.ErrClosedClient
	}
	select {
	case f := <-w.answer:
		return f.block, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.life.Done():
		return nil, sarama.ErrClosedClient
	}
}

// broker returns the reader of the broker at addr.
func (r *partitionReader) broker(addr string) *brokerReader {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.brokers[addr]
	if b == nil {
		b = &brokerReader{wire: r.conn.wire(addr), wants: make(chan *want), expected: map[topicPartition]time.Time{}}
		r.brokers[addr] = b
		r.running.Go(func() { b.run(r.life) })
	}
	return b
}

// brokerReader sends the fetches to one broker, one after the other.
type brokerReader struct {
	wire     *wire
	wants    chan *want
	waiting  []*want
	expected map[topicPartition]time.Time // claims that were served and have not come back; until when they are waited for
}

func (b *brokerReader) run(ctx context.Context) {
	for ctx.Err() == nil {
		if b.gather(ctx); len(b.waiting) == 0 {
			continue
		}
		wait := fetchWait
		if len(b.expected) > 0 {
			wait = fetchWaitShort
		}
		req := newFetch(1, fetchAtMost, wait, true)
		for _, w := range b.waiting {
			addPartition(req, w.tp, w.at, w.maxBytes)
		}
		answers, err := b.wire.fetch(req)
		b.serve(answers, err)
	}
}

// gather takes what claims ask for until none that is expected is missing, or its time is over. It blocks while nobody wants
// anything.
func (b *brokerReader) gather(ctx context.Context) {
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	late := timer.C
	for {
		b.forget()
		if len(b.waiting) == 0 {
			late = nil
		} else if late == nil {
			timer.Reset(gatherFor)
			late = timer.C
		}
		if len(b.waiting) > 0 && len(b.expected) == 0 {
			select { // all that are here already
			case w := <-b.wants:
				b.add(w)
				continue
			default:
				return
			}
		}
		select {
		case w := <-b.wants:
			b.add(w)
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (b *brokerReader) add(w *want) {
	delete(b.expected, w.tp)
	b.waiting = append(b.waiting, w)
}

// forget drops claims that have ended, and those that are no longer expected.
func (b *brokerReader) forget() {
	left := b.waiting[:0]
	for _, w := range b.waiting {
		if w.ctx.Err() == nil {
			left = append(left, w)
		}
	}
	clear(b.waiting[len(left):])
	b.waiting = left
	if len(b.expected) == 0 {
		return
	}
	now := time.Now()
	for tp, until := range b.expected {
		if now.After(until) {
			delete(b.expected, tp)
		}
	}
}

var errLeftOut = errors.New("the answer leaves the partition out")

// serve answers those for whom the broker had something. The others stay, the first of them behind the rest: only the first
// partition of a fetch is sure to get a batch that is larger than what was asked for.
func (b *brokerReader) serve(answers map[topicPartition]fetched, err error) {
	var left []*want
	until := time.Now().Add(expectFor)
	for _, w := range b.waiting {
		f, ok := answers[w.tp]
		switch {
		case err != nil:
			f = fetched{err: err}
		case !ok:
			f = fetched{err: errLeftOut}
		case f.err == nil && len(f.block.raw) == 0 && !w.evenNone:
			left = append(left, w)
			continue
		case f.err == nil:
			b.expected[w.tp] = until
		}
		w.answer <- f
	}
	if len(left) > 1 {
		left = append(left[1:], left[0])
	}
	b.waiting = left
}
