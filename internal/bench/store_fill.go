package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
)

// chunk is how many jobs, and how many outcomes, one answer of a broker brings.
const chunk = 500

// Topics of the records.
const (
	jobTopic     = "sms_topic"
	outcomeTopic = "status_topic"
)

type storeSettings struct {
	Dir        string `json:"dir"`
	Rows       int    `json:"rows"`
	Lifecycles int    `json:"lifecycles"`
	Legs       int    `json:"legs"`
}

// runStore fills a table and a status store, and measures further legs of both in turn.
func runStore(ctx context.Context, s storeSettings, p *parent) error {
	bare, err := openBare(ctx, s.Dir)
	if err != nil {
		return err
	}
	defer bare.db.Close()
	opened, err := store.Open(ctx, store.Config{Dir: s.Dir})
	if err != nil {
		return err
	}
	defer opened.Close()
	if err := p.tell(addresses{}); err != nil {
		return err
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	group, run := errgroup.WithContext(run)
	w := newWatched(opened)
	recorder := status.NewRecorder(status.Config{
		Store: w, Source: w, Log: zap.NewNop(),
		Reading: status.Reading{Jobs: map[string]status.JobTopic{jobTopic: {Channel: notify.ChannelSMS, Lane: notify.LaneNormal}}, StorePayload: true},
	})
	group.Go(func() error { return recorder.Run(run, "bench") })
	group.Go(func() error {
		defer cancel()
		return legs(run, s, p, bare, w)
	})
	return group.Wait()
}

func legs(ctx context.Context, s storeSettings, p *parent, bare *bareTable, w *watched) error {
	if err := bare.insert(ctx, s.Rows); err != nil {
		return err
	}
	for filled := 0; filled < s.Rows; {
		n := min(50_000, s.Rows-filled)
		if err := w.feed(ctx, w.lifecycles(n)); err != nil {
			return err
		}
		filled += n
		if err := p.tell(storeReport{Progress: fmt.Sprintf("%s of %s rows", whole(filled), whole(s.Rows))}); err != nil {
			return err
		}
	}
	for range s.Legs {
		before, began := usageOf(os.Getpid()), time.Now()
		if err := bare.insert(ctx, s.Lifecycles); err != nil {
			return err
		}
		if err := p.tell(reportOf(baseline, s, before, began, filepath.Join(s.Dir, "bare.db"), bare.rows)); err != nil {
			return err
		}
		fed := w.lifecycles(s.Lifecycles) // made before the measurement
		before, began = usageOf(os.Getpid()), time.Now()
		if err := w.feed(ctx, fed); err != nil {
			return err
		}
		if err := p.tell(reportOf(ours, s, before, began, filepath.Join(s.Dir, "status.db"), w.jobs)); err != nil {
			return err
		}
	}
	lives, err := w.sample(ctx)
	if err != nil {
		return err
	}
	return p.tell(storeReport{End: true, Recorded: lives, Wanted: len(w.samples)})
}

func reportOf(side int, s storeSettings, before usage, began time.Time, file string, rows int) storeReport {
	r := storeReport{Side: side, Rate: float64(s.Lifecycles) / time.Since(began).Seconds(), CPU: -1}
	after := usageOf(os.Getpid())
	if before.cpu >= 0 {
		r.CPU = perMessage(after.cpu-before.cpu, s.Lifecycles)
	}
	r.Peak = after.peak
	var bytes int64
	files, _ := filepath.Glob(file + "*") // the pattern is sound
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			bytes += info.Size()
		}
	}
	r.Bytes = float64(bytes) / float64(max(rows, 1))
	return r
}

// watched is the store and the source of a recorder: it feeds the recorder, and knows when the store has everything.
type watched struct {
	*store.Store
	chunks  chan []kafka.Chunk
	jobs    int      // jobs made so far, and offsets of the next records
	ended   int      // outcomes made so far
	samples []string // ids

	mu     sync.Mutex
	at     map[string]int64 // by topic, how far the store is
	wanted map[string]int64
	there  chan struct{} // closed once the store is as far as wanted
}

func newWatched(s *store.Store) *watched {
	return &watched{Store: s, chunks: make(chan []kafka.Chunk), at: map[string]int64{}}
}

// Run is that of a source.
func (w *watched) Run(ctx context.Context, _ kafka.From, out chan<- []kafka.Chunk) error {
	for {
		select {
		case c := <-w.chunks:
			select {
			case out <- c:
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Record is that of the store.
func (w *watched) Record(ctx context.Context, holder string, b status.Batch) error {
	if err := w.Store.Record(ctx, holder, b); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range b.To {
		w.at[p.Topic] = p.Next
	}
	w.lookLocked()
	return nil
}

func (w *watched) lookLocked() {
	if w.there != nil && w.at[jobTopic] >= w.wanted[jobTopic] && w.at[outcomeTopic] >= w.wanted[outcomeTopic] {
		close(w.there)
		w.there = nil
	}
}

// feed gives the recorder the answers, and returns once all are in the store.
func (w *watched) feed(ctx context.Context, answers [][]kafka.Chunk) error {
	there := make(chan struct{})
	w.mu.Lock()
	w.wanted, w.there = map[string]int64{jobTopic: int64(w.jobs), outcomeTopic: int64(w.ended)}, there
	w.lookLocked()
	w.mu.Unlock()
	for _, chunks := range answers {
		select {
		case w.chunks <- chunks:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-there:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lifecycles makes the answers of a broker for n further notifications. The outcomes of a chunk of jobs come with the next chunk.
func (w *watched) lifecycles(n int) (answers [][]kafka.Chunk) {
	var before []string
	for left := n; left > 0 || len(before) > 0; left -= chunk {
		var jobs []*kafka.Record
		var ids []string
		for range min(chunk, max(left, 0)) {
			id := notify.NewID()
			jobs, ids = append(jobs, w.job(id)), append(ids, id)
		}
		var ends []*kafka.Record
		for _, id := range before {
			ends = append(ends, w.outcome(id))
		}
		if len(ids) > 0 {
			w.samples = append(w.samples, ids[0])
		}
		before = ids
		answers = append(answers, []kafka.Chunk{
			{Topic: jobTopic, Records: jobs, Next: int64(w.jobs), End: int64(w.jobs)},
			{Topic: outcomeTopic, Records: ends, Next: int64(w.ended), End: int64(w.ended)},
		})
	}
	return answers
}

func (w *watched) job(id string) *kafka.Record {
	at := time.Now().UTC()
	m := message{channel: "sms", number: w.jobs, size: 100}
	expires := at.Add(24 * time.Hour)
	n := notify.Notification{
		ID: id, Tenant: "default", Channel: notify.ChannelSMS, Lane: notify.LaneNormal, Recipient: m.recipient(),
		Payload: json.RawMessage(`{"body":"` + m.title() + " " + m.text() + `"}`), ExpiresAt: &expires,
	}
	value, _ := n.Encode() // it always has a JSON form
	header := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
	r := &kafka.Record{Topic: jobTopic, Offset: int64(w.jobs), Timestamp: at, Key: []byte(m.recipient()), Value: value, Headers: []kafka.Header{
		header(notify.HeaderSchema, "1"), header(notify.HeaderID, id), header(notify.HeaderLane, string(notify.LaneNormal)),
		header(notify.HeaderAcceptedAt, at.Format(time.RFC3339Nano)),
	}}
	w.jobs++
	return r
}

func (w *watched) outcome(id string) *kafka.Record {
	at := time.Now().UTC()
	e := notify.Event{
		NotificationID: id, State: notify.StateSent, Attempt: 1, At: at, Tenant: "default", Channel: notify.ChannelSMS, Lane: notify.LaneNormal,
		Gateway: "texts", ProviderID: "SM" + strings.ReplaceAll(id, "-", ""), Tries: []notify.Try{{Gateway: "texts", Verdict: notify.Accepted, Millis: 12}},
	}
	e.Seal()
	value, _ := e.Encode() // an event always has a JSON form
	r := &kafka.Record{Topic: outcomeTopic, Offset: int64(w.ended), Timestamp: at, Key: []byte(id), Value: value}
	w.ended++
	return r
}

// sample counts the sampled notifications that the store shows as sent.
func (w *watched) sample(ctx context.Context) (sent int, err error) {
	for _, id := range w.samples {
		life, err := w.Get(ctx, id)
		if err != nil {
			return 0, err
		}
		if life != nil && life.State == notify.StateSent {
			sent++
		}
	}
	return sent, nil
}

// bareTable is a table with what a status store has of a notification at least. The driver is that of package store.
type bareTable struct {
	db   *sql.DB
	rows int
}

func openBare(ctx context.Context, dir string) (*bareTable, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, "CREATE TABLE bare (id TEXT PRIMARY KEY, state INTEGER, at INTEGER, channel INTEGER, recipient TEXT, payload TEXT) WITHOUT ROWID")
	return &bareTable{db: db}, err
}

// insert adds rows, 500 with each statement.
func (b *bareTable) insert(ctx context.Context, rows int) error {
	for left := rows; left > 0; left -= chunk {
		count := min(left, chunk)
		values := make([]any, 0, 6*count)
		for range count {
			m := message{channel: "sms", number: b.rows, size: 100}
			values = append(values, notify.NewID(), 4, time.Now().UnixMicro(), 1, m.recipient(), m.text())
			b.rows++
		}
		statement := "INSERT INTO bare VALUES " + strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?),", count), ",")
		if _, err := b.db.ExecContext(ctx, statement, values...); err != nil {
			return err
		}
	}
	return nil
}
