package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load posts messages to an API and keeps what became of them.
type load struct {
	url         string
	message     message // number is that of the first
	connections int
	batch       int
	keys        string // goes before the number in an Idempotency-Key; "": none is sent

	next    atomic.Int64 // number of the next message
	mu      sync.Mutex
	at      []int64         // by number: nanoseconds since 1970 when it was accepted, 0: it was not
	answers []time.Duration // how long the API took for each request that it answered
	count   int             // messages that were accepted
	refused int             // messages that were not
	why     string          // of one that was not
}

// flood posts over all connections without pause, for a time, or until most messages have been posted (0: no limit).
func (l *load) flood(ctx context.Context, d time.Duration, most int) time.Duration {
	began := time.Now()
	l.next.Store(int64(l.message.number))
	last := int64(l.message.number + most)
	var all sync.WaitGroup
	for range l.connections {
		all.Go(func() {
			c := newClient(l.url)
			defer c.close()
			for ctx.Err() == nil && (d == 0 || time.Since(began) < d) {
				count := l.batch
				first := l.next.Add(int64(count)) - int64(count)
				if most > 0 {
					count = int(min(int64(count), last-first))
				}
				if count <= 0 {
					return
				}
				if !l.post(c, int(first), count, time.Now()) {
					pause(ctx, 10*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// steady posts single messages at a rate for a time. A message that no connection is free for waits, and its answer counts from
// the moment at which it was due.
func (l *load) steady(ctx context.Context, rate float64, d time.Duration) {
	type due struct {
		number int
		at     time.Time
	}
	work := make(chan due, l.connections)
	var all sync.WaitGroup
	for range l.connections {
		all.Go(func() {
			c := newClient(l.url)
			defer c.close()
			for m := range work {
				l.post(c, m.number, 1, m.at)
			}
		})
	}
	began, interval := time.Now(), time.Duration(float64(time.Second)/rate)
	for i := 0; time.Duration(i)*interval < d; i++ {
		at := began.Add(time.Duration(i) * interval)
		if wait := time.Until(at); wait > 0 && !pause(ctx, wait) {
			break
		}
		work <- due{l.message.number + i, at}
	}
	close(work)
	all.Wait()
}

// post returns false when nothing of the request was accepted.
func (l *load) post(c *client, number, count int, began time.Time) bool {
	m, path, key := l.message, "/v1/notifications", ""
	m.number = number
	var body []byte
	switch {
	case l.batch > 1:
		path, body = path+"/batch", m.appendBatch(make([]byte, 0, count*(160+m.size)), count)
	default:
		body = m.append(make([]byte, 0, 160+m.size))
		if l.keys != "" {
			key = l.keys + strconv.Itoa(number)
		}
	}
	status, answer, err := c.post(path, key, body)
	now := time.Now()
	taken := make([]bool, count)
	if err == nil {
		taken = acceptedOf(status, answer, count)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.answers = append(l.answers, now.Sub(began))
	}
	if more := number + count - len(l.at); more > 0 {
		l.at = append(l.at, make([]int64, more)...)
	}
	some := false
	for i, ok := range taken {
		if !ok {
			l.refused++
			l.why = fmt.Sprintf("status %d %v %.200s", status, err, answer)
			continue
		}
		some = true
		l.count++
		l.at[number+i] = now.UnixNano()
	}
	return some
}

// sortedAnswers returns how long the API took, in order.
func (l *load) sortedAnswers() []time.Duration {
	slices.Sort(l.answers)
	return l.answers
}

// pause returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
