package kafka

import "time"

// item is one record that is not done: queued, running, or waiting to be called again.
type item struct {
	rec    *Record
	key    string // "" has no order
	size   int64
	carry  any
	intent *intent // of an earlier owner, without an outcome
	left   *Record // by an earlier attempt, without an outcome; see Attempt.Left
	begun  bool    // an earlier owner may have begun it; see Attempt.MayRepeat
	ready  bool    // in one of the claim's queues
	parked bool    // not in its line yet

	// While it waits to be called again, see wakeups.
	claim   *claim
	until   time.Duration // on the monotonic clock
	wall    int64         // the same on the wall clock, in Unix nanoseconds
	slot    int           // its place in the heap, from 1; 0 when it does not wait
	crowded bool          // called early, to make room

	panics  int               // how often its handler has panicked
	damaged *UndecodableBatch // in place of a record
}

// recordSize returns about how much memory rec takes.
func recordSize(rec *Record) int64 {
	size := len(rec.Key) + len(rec.Value) + 256
	for _, h := range rec.Headers {
		size += len(h.Key) + len(h.Value) + 40
	}
	return int64(size)
}

func itemOf(rec *Record, unordered bool) *item {
	it := &item{rec: rec, size: recordSize(rec)}
	if !unordered {
		it.key = string(rec.Key)
	}
	return it
}

// fifo is a queue; its zero value is empty.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) push(it T) { q.items = append(q.items, it) }

func (q *fifo[T]) empty() bool { return q.head == len(q.items) }

func (q *fifo[T]) peek() T { return q.items[q.head] }

func (q *fifo[T]) pop() T {
	it := q.items[q.head]
	var none T
	q.items[q.head] = none
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 1024 && q.head*2 > len(q.items) {
		q.items = append(q.items[:0], q.items[q.head:]...)
		q.head = 0
	}
	return it
}

// lines keeps the records of one key in order: the first of each line is at work, the others wait for it.
type lines map[string][]*item

// join puts it at the end of its key's line and reports whether it is the first.
func (l lines) join(it *item) (first bool, length int) {
	if it.key == "" {
		return true, 1
	}
	l[it.key] = append(l[it.key], it)
	return len(l[it.key]) == 1, len(l[it.key])
}

// first reports whether it is at the head of its key's line.
func (l lines) first(it *item) bool {
	return !it.parked && (it.key == "" || l[it.key][0] == it)
}

// leave removes the first of the key's line and gives the next, if there is one.
func (l lines) leave(it *item) *item {
	if it.key == "" {
		return nil
	}
	line := l[it.key]
	for i, x := range line { // the first, but for a record that was done elsewhere while it waited
		if x != it {
			continue
		}
		if i == 0 {
			line[0], line = nil, line[1:]
		} else {
			line = append(line[:i:i], line[i+1:]...)
		}
		if len(line) == 0 {
			delete(l, it.key)
			return nil
		}
		l[it.key] = line
		if i > 0 {
			return nil
		}
		return line[0]
	}
	return nil
}
