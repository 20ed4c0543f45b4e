package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

// feedRecords and feedBytes bound what is decoded at once for a claim.
const (
	feedRecords = 16
	feedBytes   = 256 << 10
)

// consume feeds the claim from the log until ctx ends. Trouble with the partition or its leader is met with patience, for as
// long as it takes: nobody else waits for this claim.
func (c *claim) consume(ctx context.Context) {
	cur := newCursor(c.topicPartition, c.position(), &c.r.large)
	cur.epoch = c.knownEpoch()
	defer cur.close()
	wait := backoff{}
	for {
		room := c.awaitRoom(ctx, cur)
		if room == 0 {
			return
		}
		if cur.block == nil {
			b, err := c.r.reader.fetch(ctx, c.topicPartition, cur.at, cur.fetchSize(c.r.cfg.FetchBytes), c.inTrouble())
			if ctx.Err() != nil {
				return
			}
			if err == nil && len(b.raw) == 0 { // the partition is read again, and holds nothing new
				c.troubled(nil)
				wait = backoff{}
				continue
			}
			if err == nil && cur.newEpoch(b) {
				err = c.r.verify(c, b.addr, b.logStart)
			}
			if err != nil {
				c.fetchFailed(ctx, cur, err)
				wait.pause(ctx)
				continue
			}
			if c.voidError() != nil {
				return
			}
			cur.load(b)
		}
		c.feed(cur, room)
		if cur.block != nil {
			continue
		}
		err := cur.noProgress()
		c.troubled(err)
		if cur.at == cur.loadedAt && cur.suspect < 0 {
			wait.pause(ctx)
		} else {
			wait = backoff{}
		}
	}
}

// backoff waits longer each time, up to 2 s.
type backoff struct{ last time.Duration }

func (b *backoff) pause(ctx context.Context) {
	b.last = min(max(2*b.last, 100*time.Millisecond), 2*time.Second)
	pause(ctx, b.last)
}

// position returns the offset up to which the claim has fetched.
func (c *claim) position() int64 {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return c.next
}

// learnEpoch takes in the epoch that the cursor has come to. An epoch that is older than some offset that is done must not
// stand for it: the leader would seem to have lost that offset.
func (c *claim) learnEpoch(cur *cursor) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.void == nil && (c.epoch.known || c.lastDone() < cur.at) {
		c.epoch = c.epoch.newer(cur.epoch)
	}
}

func (c *claim) knownEpoch() leaderEpoch {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return c.epoch
}

// awaitRoom waits until records may be fetched and returns how many may be decoded now; 0 when ctx has ended.
func (c *claim) awaitRoom(ctx context.Context, cur *cursor) int {
	for ctx.Err() == nil {
		c.r.mu.Lock()
		stop, room := c.wantPause(), feedRecords
		c.setPaused(stop)
		if c.held || c.r.held {
			room = 1
		}
		c.r.mu.Unlock()
		if !stop {
			return room
		}
		large := cur.large
		cur.suspend()
		select {
		case <-c.room:
		case <-ctx.Done():
			return 0
		}
		if large {
			pause(ctx, time.Second) // to open it again takes long
		}
	}
	return 0
}

// setPaused notes whether the claim is left out of fetches. The lock is held.
func (c *claim) setPaused(on bool) {
	if c.paused && !on {
		c.moved = time.Now()
	}
	c.paused = on
}

// feed decodes up to that many records of the cursor's block and queues them.
func (c *claim) feed(cur *cursor, room int) {
	var buf [feedRecords]*Record
	var bad *damagedBatch
	records, size := buf[:0], int64(0)
	for len(records) < room && size < feedBytes && bad == nil {
		var rec *Record
		if rec, bad = cur.next(); rec == nil {
			break
		}
		rec.Cluster = c.r.cluster
		size += recordSize(rec)
		records = append(records, rec)
	}
	c.learnEpoch(cur)
	c.arrived(records, bad, cur.at)
}

// arrived takes records, and then a batch that cannot be decoded, which were fetched. Whatever of the log lies below next is
// among them, or holds no record.
func (c *claim) arrived(records []*Record, bad *damagedBatch, next int64) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if len(records) > 0 || bad != nil {
		c.moved = time.Now()
	}
	if c.void != nil {
		return // whatever it is, the next session fetches it again if it is still to be done
	}
	for _, rec := range records {
		c.take(rec)
	}
	if bad != nil {
		c.takeDamaged(bad)
	}
	if len(c.backlog) == 0 && next > c.next {
		from := c.next
		c.fetchedTo(next)
		c.passed(from)
	}
	c.unpark()
	c.r.dispatch()
}

// takeDamaged queues a batch that cannot be decoded: a dead letter takes its place. The lock is held.
func (c *claim) takeDamaged(b *damagedBatch) {
	rec := &Record{Topic: b.topic, Partition: b.partition, Offset: b.base, Value: append([]byte(nil), b.raw...)}
	if b.base >= c.horizon {
		c.backlog = append(c.backlog, arrivedRecord{rec, b})
		c.wake()
		return
	}
	if c.items[b.base] != nil {
		return
	}
	c.r.stats.Undecodable++
	c.r.log.Error("a record batch cannot be decoded; it becomes a dead letter", b.fields()...)
	if c.arrive(b.base, func() string { return c.r.cfg.Handler.Identify(rec) }) == skip {
		c.skip(b.base, b.next)
		return
	}
	c.next = max(c.next, b.next)
	it := itemOf(rec, true)
	it.damaged = &UndecodableBatch{Record: rec, LastOffset: b.next - 1, Count: b.count}
	c.enqueueNew(it)
}

// troubled notes why reading makes no progress; nil when it does.
func (c *claim) troubled(err error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if err == nil {
		c.trouble, c.troubledAt = nil, time.Time{}
		return
	}
	if c.trouble == nil {
		c.troubledAt = time.Now()
	}
	c.trouble = err
}

func (c *claim) inTrouble() bool {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return c.trouble != nil
}

// fetchFailed prepares the next try.
func (c *claim) fetchFailed(ctx context.Context, cur *cursor, err error) {
	c.troubled(err)
	c.log.warn("reading "+c.topicPartition.String(), err)
	if !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		c.r.reader.conn.lookUpSoon(c.topic)
		return
	}
	oldest, newest, err := c.r.cfg.Ledger.bounds(c.topicPartition)
	if err != nil || cur.at >= oldest { // the log ends before the position, see check, or a leader lags behind
		return
	}
	c.r.check(ctx, position{c, c.position()}, oldest, newest)
	if at := c.position(); at >= oldest {
		cur.at = at
	}
}
