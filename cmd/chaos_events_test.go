package cmd

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// ending is a final state of a letter, or held.
type ending struct {
	state notify.State
	event string    // event_id
	at    time.Time // of the event
	seen  time.Time // when it was there at the latest
	again int       // the same event once more
}

// written is the outcome of one attempt: when it was made, and when it was there at the latest.
type written struct{ at, seen time.Time }

// events follows status_topic: how each letter ended.
type events struct {
	reader *kafka.Reader
	topic  string

	mu      sync.Mutex
	endings map[int][]ending
	all     map[int][]written
	retried map[int]bool   // letters that were put off after an attempt
	overdue map[int]int    // attempts of a letter whose time ran out before an answer was read
	claims  map[int]string // topic and partition of a letter
	states  map[notify.State]int

	failure error     // of the last reading
	served  time.Time // when the brokers last said what the topic holds
}

// follow reads what has been and what comes, until the function it gives is called; that reads to the end first.
func follow(t testing.TB, brokers []string, topic string) (e *events, finish func()) {
	reader, err := kafka.NewReader(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	e = &events{reader: reader, topic: topic, endings: map[int][]ending{}, all: map[int][]written{}, retried: map[int]bool{}, overdue: map[int]int{}, claims: map[int]string{}, states: map[notify.State]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.run(ctx) }()
	end := sync.OnceFunc(func() { cancel(); <-done; reader.Close() })
	t.Cleanup(end)
	return e, func() { end(); require.NoError(t, e.failure) }
}

// run reads again and again what is new. The brokers may be away: then it tries again.
func (e *events) run(ctx context.Context) {
	at := map[int32]int64{}
	for ctx.Err() == nil {
		_ = e.read(at)
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	e.failure = e.read(at)
}

// read takes what is new and moves at behind it.
func (e *events) read(at map[int32]int64) error {
	bounds, err := e.reader.Bounds(e.topic)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.served = time.Now()
	e.mu.Unlock()
	for i := range bounds {
		bounds[i].Oldest = max(bounds[i].Oldest, at[bounds[i].Partition])
	}
	return e.reader.Scan(context.Background(), e.topic, bounds, func(r *kafka.Record) error {
		e.take(r)
		at[r.Partition] = r.Offset + 1
		return nil
	})
}

func (e *events) take(r *kafka.Record) {
	var event notify.Event
	if len(r.Value) == 0 || json.Unmarshal(r.Value, &event) != nil { // an intent
		return
	}
	number, err := strconv.Atoi(event.Reference)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if event.State == notify.StateRetrying {
		e.retried[number] = true
	}
	for _, try := range event.Tries {
		if try.Verdict == notify.Ambiguous && time.Duration(try.Millis)*time.Millisecond >= providerTimeout {
			e.overdue[number]++
		}
	}
	e.states[event.State]++
	e.all[number] = append(e.all[number], written{event.At, time.Now()})
	topic, _ := r.Header(kafka.HeaderJobTopic)
	partition, _ := r.Header(kafka.HeaderJobPartition)
	e.claims[number] = topic + "/" + partition
	if !event.Final && event.State != notify.StateHeld {
		return
	}
	for i, known := range e.endings[number] {
		if known.event == event.EventID {
			e.endings[number][i].again++
			return
		}
	}
	e.endings[number] = append(e.endings[number], ending{state: event.State, event: event.EventID, at: event.At, seen: time.Now()})
}

// ended is how many letters have.
func (e *events) ended() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.endings)
}

// of gives how a letter ended, nothing while it has not.
func (e *events) of(number int) []ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]ending(nil), e.endings[number]...)
}

// settle says of each request of a letter when its outcome was there: the first one that was written after it began.
func (e *events) settle(number int, qs []request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range qs {
		for _, o := range e.all[number] {
			if o.at.After(qs[i].begun) && (qs[i].settled.IsZero() || o.seen.Before(qs[i].settled)) {
				qs[i].settled = o.seen
			}
		}
	}
}

// servedSince gives the first time after that at which the brokers served, zero when they have not yet.
func (e *events) servedSince(that time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.served.After(that) {
		return e.served
	}
	return time.Time{}
}
