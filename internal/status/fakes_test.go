package status

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	jobs   = "sms_topic"
	events = "status_topic"
)

var errAway = errors.New("the store is away")

// memory is a store of its own kind: it keeps the event ids in the order in which they came.
type memory struct {
	mu      sync.Mutex
	holder  string
	expires time.Time
	cluster string
	at      map[part]int64
	logs    map[part]kafka.TopicID
	gaps    []Gap
	places  map[string]RecordPlace
	ids     map[string]int // how often each event came
	batches int
	away    bool
	lose    int // so many batches are written and yet end in an error, as when a connection breaks at the commit
}

func newMemory() *memory {
	return &memory{at: map[part]int64{}, logs: map[part]kafka.TopicID{}, places: map[string]RecordPlace{}, ids: map[string]int{}}
}

func (m *memory) Lease(_ context.Context, holder string, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return false, errAway
	}
	if m.holder != holder && m.expires.After(time.Now()) {
		return false, nil
	}
	m.holder, m.expires = holder, time.Now().Add(ttl)
	return true, nil
}

func (m *memory) Cluster(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cluster == "" {
		m.cluster = id
	}
	if m.cluster != id {
		return errors.New("another cluster")
	}
	return nil
}

func (m *memory) Positions(context.Context) (list []Position, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return nil, errAway
	}
	for p, next := range m.at {
		list = append(list, Position{p.topic, p.number, next, m.logs[p]})
	}
	return list, nil
}

func (m *memory) Record(_ context.Context, holder string, b Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.away:
		return errAway
	case m.holder != holder || !m.expires.After(time.Now()):
		return ErrNotHeld
	}
	for _, f := range b.From {
		at, known := m.at[part{f.Topic, f.Partition}]
		if !known {
			at = -1
		}
		if at != f.Next {
			return ErrMoved
		}
	}
	for _, t := range b.To {
		m.at[part{t.Topic, t.Partition}] = t.Next
		m.logs[part{t.Topic, t.Partition}] = t.TopicID
	}
	for _, c := range b.Changes {
		m.ids[c.Event.EventID]++
		m.places[c.Event.NotificationID] = c.Place
	}
	m.gaps = append(m.gaps, b.Gaps...)
	m.batches++
	if m.lose > 0 {
		m.lose--
		return errors.New("the connection broke at the commit")
	}
	return nil
}

func (m *memory) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.at)
	clear(m.ids)
	m.cluster = ""
}

// with looks at m, or changes it, while nobody else does.
func (m *memory) with(f func(m *memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

// seen gives the events that came, and how often any of them came at most.
func (m *memory) seen() (ids []string, most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.ids {
		most = max(most, n)
	}
	return slices.Sorted(maps.Keys(m.ids)), most
}

// log is the topics: a source that several recorders may read at once.
type log struct {
	mu      sync.Mutex
	parts   map[part][]*kafka.Record
	oldest  map[part]int64 // what is below is gone
	id      kafka.TopicID  // of all topics
	changed chan struct{}
}

func newLog() *log {
	return &log{parts: map[part][]*kafka.Record{}, oldest: map[part]int64{}, changed: make(chan struct{})}
}

func (l *log) write(p part, value string, headers ...kafka.Header) *kafka.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &kafka.Record{
		Topic: p.topic, Partition: p.number, Offset: int64(len(l.parts[p])), Timestamp: time.Now(), Value: []byte(value), Headers: headers,
	}
	l.parts[p] = append(l.parts[p], r)
	close(l.changed)
	l.changed = make(chan struct{})
	return r
}

// anew makes all topics anew, empty.
func (l *log) anew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.parts {
		l.parts[p] = nil
	}
	clear(l.oldest)
}

// with changes l while nobody else does.
func (l *log) with(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *log) ends() ([]kafka.Place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []kafka.Place
	for p, records := range l.parts {
		all = append(all, kafka.Place{Topic: p.topic, Partition: p.number, Offset: int64(len(records))})
	}
	return all, nil
}

func (l *log) Run(ctx context.Context, from kafka.From, out chan<- []kafka.Chunk) error {
	at := map[part]int64{}
	for {
		chunks, changed := l.chunks(at, from)
		if len(chunks) > 0 {
			select {
			case out <- chunks:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *log) chunks(at map[part]int64, from kafka.From) (chunks []kafka.Chunk, changed chan struct{}) {
	const most = 7 // records of a chunk
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, records := range l.parts {
		if _, ok := at[p]; !ok {
			next, id := from(p.topic, p.number)
			if at[p] = max(0, next); id.Differs(l.id) {
				at[p] = int64(len(records)) + 1
			}
		}
		end := int64(len(records))
		c := kafka.Chunk{Topic: p.topic, Partition: p.number, End: end, TopicID: l.id}
		if at[p] > end || at[p] < l.oldest[p] {
			c.Restart = kafka.RecordsGone
			if at[p] > end {
				c.Restart = kafka.Recreated
			}
			at[p] = l.oldest[p]
			c.Next = at[p]
		} else {
			c.Next = min(end, at[p]+most)
		}
		if c.Records = records[at[p]:c.Next]; c.Restart != kafka.NotRestarted || len(c.Records) > 0 {
			at[p] = c.Next
			chunks = append(chunks, c)
		}
	}
	return chunks, l.changed
}

// event is the JSON of an event, the n-th of its kind.
func event(n int) string {
	e := notify.Event{
		NotificationID: notify.DerivedID("n", strconv.Itoa(n)), State: notify.StateSent, At: time.UnixMilli(int64(n + 1)),
		Tenant: "default", Channel: notify.ChannelSMS, Lane: notify.LaneNormal,
	}
	e.Seal()
	value, _ := e.Encode()
	return string(value)
}
