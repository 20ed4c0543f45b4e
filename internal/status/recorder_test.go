package status

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var reading = Reading{
	Jobs: map[string]JobTopic{jobs: {notify.ChannelSMS, notify.LaneNormal}}, Cluster: "c", StorePayload: true,
	ExpiresAfter: map[notify.Lane]time.Duration{notify.LaneNormal: time.Hour},
}

// record runs a recorder until the test ends, or stop is called.
func record(t testing.TB, store Store, source Source, log *zap.Logger) (r *Recorder, stop func()) {
	r = NewRecorder(Config{Store: store, Source: source, Reading: reading, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, reading.Cluster) }()
	return r, sync.OnceFunc(func() { cancel(); require.NoError(t, <-ended) })
}

// whole says why the store does not hold every event of the log once, or does not stand at its ends.
func whole(m *memory, l *log) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := map[string]bool{}
	for p, records := range l.parts {
		for _, r := range records {
			if c, kind := reading.Read(r); kind == kindJob || kind == kindEvent {
				want[c.Event.EventID] = true
			}
		}
		if m.at[p] != int64(len(records)) {
			return fmt.Errorf("%v: at %d of %d", p, m.at[p], len(records))
		}
	}
	for id := range want {
		if m.ids[id] == 0 {
			return fmt.Errorf("%d events of %d, %s is missing", len(m.ids), len(want), id)
		}
	}
	if len(m.ids) != len(want) {
		return fmt.Errorf("%d events instead of %d", len(m.ids), len(want))
	}
	return nil
}

func requireWhole(t testing.TB, m *memory, l *log) {
	t.Helper()
	require.NoError(t, whole(m, l))
}

func TestWhatIsOnTheTopicsGetsIntoTheStoreOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		for i := range 100 {
			l.write(part{events, int32(i % 3)}, event(i))
			l.write(part{jobs, 0}, fmt.Sprintf(`{"id":%q,"recipient":"+14155550100","payload":{"body":"x"}}`, notify.DerivedID("n", fmt.Sprint(i))))
		}
		l.write(part{events, 0}, "")      // an intent
		l.write(part{events, 1}, "no {}") // somebody else's
		r, stop := record(t, m, l, zap.NewNop())
		synctest.Wait()
		requireWhole(t, m, l)
		require.True(t, r.Recording())
		require.Len(t, r.Woken(), 1)
		l.write(part{events, 5}, event(1000))
		synctest.Wait()
		requireWhole(t, m, l)
		_, most := m.seen()
		require.Equal(t, 1, most)
		require.Zero(t, r.gauge.lag(time.Now()))
		stop()
		require.False(t, r.Recording())
		m.with(func(m *memory) { require.False(t, m.expires.After(time.Now()), "the lease is given back") })
	})
}

func TestAStoreThatIsAwayIsWaitedForAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		core, logs := observer.New(zap.WarnLevel)
		m.away = true // from the start
		r, stop := record(t, m, l, zap.New(core))
		defer stop()
		l.write(part{events, 0}, event(0))
		time.Sleep(time.Minute)
		m.with(func(m *memory) { require.Empty(t, m.at) })
		require.InDelta(t, 7, logs.Len(), 1, "a line every ten seconds")
		for round := range 5 {
			m.with(func(m *memory) { m.away = false })
			time.Sleep(10 * time.Second)
			requireWhole(t, m, l)
			m.with(func(m *memory) { m.away = true }) // in mid-run
			l.write(part{events, int32(round)}, event(10+round))
			time.Sleep(time.Minute)
			require.Greater(t, r.gauge.lag(time.Now()), 59*time.Second)
			require.True(t, r.Recording(), "it has not given up")
		}
		m.with(func(m *memory) { m.away, m.lose = false, 1 })
		time.Sleep(10 * time.Second)
		requireWhole(t, m, l)
		_, most := m.seen()
		require.Equal(t, 1, most, "what was committed without an answer is not written again")
	})
}

// A recorder that is killed gives nothing back: the other one begins when the lease has run out.
func TestAnotherProcessTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		first := &cutOff{Store: m}
		one, stopOne := record(t, first, l, zap.NewNop())
		defer stopOne()
		time.Sleep(500 * time.Millisecond)
		two, stopTwo := record(t, m, l, zap.NewNop())
		defer stopTwo()
		l.write(part{events, 0}, event(1))
		time.Sleep(time.Minute)
		require.True(t, one.Recording())
		require.False(t, two.Recording())

		first.cut(true)
		l.write(part{events, 0}, event(2))
		time.Sleep(4 * time.Second)
		require.False(t, two.Recording(), "the lease has not run out")
		time.Sleep(3 * time.Second)
		require.True(t, two.Recording())
		requireWhole(t, m, l)

		first.cut(false) // it wakes with a batch in hand
		time.Sleep(5 * time.Second)
		require.False(t, one.Recording())
		_, most := m.seen()
		require.Equal(t, 1, most, "its late batch is refused")

		stopTwo()
		time.Sleep(1100 * time.Millisecond)
		require.True(t, one.Recording(), "who ends in peace is followed at once")
		l.write(part{events, 1}, event(3))
		synctest.Wait()
		requireWhole(t, m, l)
	})
}

// cutOff is a store that its process does not reach any more.
type cutOff struct {
	Store
	mu  sync.Mutex
	off bool
}

func (c *cutOff) cut(off bool) { c.mu.Lock(); defer c.mu.Unlock(); c.off = off }

func (c *cutOff) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return errAway
	}
	return nil
}

func (c *cutOff) Lease(ctx context.Context, holder string, ttl time.Duration) (bool, error) {
	if err := c.err(); err != nil {
		return false, err
	}
	return c.Store.Lease(ctx, holder, ttl)
}

func (c *cutOff) Record(ctx context.Context, holder string, b Batch) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Store.Record(ctx, holder, b)
}

func TestAStoreThatWasEmptiedIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		_, stop := record(t, m, l, zap.NewNop())
		defer stop()
		for i := range 50 {
			l.write(part{events, int32(i % 2)}, event(i))
		}
		synctest.Wait()
		m.reset()
		l.write(part{events, 0}, event(100))
		time.Sleep(time.Second)
		requireWhole(t, m, l)
	})
}

func TestATopicThatWasMadeAnewIsReadFromItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		core, logs := observer.New(zap.WarnLevel)
		for i := range 50 {
			l.write(part{events, 0}, event(i))
		}
		_, stop := record(t, m, l, zap.New(core))
		defer stop()
		synctest.Wait()
		l.anew()
		l.write(part{events, 0}, event(100))
		time.Sleep(time.Second)
		m.with(func(m *memory) { require.EqualValues(t, 1, m.at[part{events, 0}]) })
		ids, _ := m.seen()
		require.Len(t, ids, 51)
		require.Equal(t, 1, logs.FilterMessageSnippet("deleted and created again").Len())
	})
}

// What was deleted before it was read is passed over, counted and said.
func TestWhatIsGoneIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		core, logs := observer.New(zap.WarnLevel)
		l.write(part{events, 0}, event(0))
		_, stop := record(t, m, l, zap.NewNop())
		synctest.Wait()
		stop()
		for i := range 50 {
			l.write(part{events, 0}, event(1+i))
		}
		l.with(func() { l.oldest[part{events, 0}] = 41 })
		r, stop := record(t, m, l, zap.New(core))
		defer stop()
		time.Sleep(time.Second)
		ids, _ := m.seen()
		require.Len(t, ids, 11)
		m.with(func(m *memory) { require.EqualValues(t, 51, m.at[part{events, 0}]) })
		require.Equal(t, 40.0, testutil.ToFloat64(r.gauge.missed))
		require.Equal(t, 1, logs.FilterMessageSnippet("records were deleted before").Len())
	})
}

// The embedded broker deletes nothing that it has not been told to be in the store.
func TestHowFarItIsIsToldSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMemory(), newLog()
		told := make(chan []Position, 100)
		r := NewRecorder(Config{Store: m, Source: l, Reading: reading, Log: zap.NewNop(), Commit: func(at []Position) error {
			told <- at
			return nil
		}})
		ctx, cancel := context.WithCancel(context.Background())
		defer synctest.Wait()
		defer cancel()
		go func() { _ = r.Run(ctx, reading.Cluster) }()
		time.Sleep(5500 * time.Millisecond)
		require.Empty(t, told)
		for i := range 3 {
			l.write(part{events, 0}, event(i))
			time.Sleep(time.Second)
			require.Equal(t, []Position{{Topic: events, Next: int64(i) + 1}}, <-told)
		}
		time.Sleep(time.Minute)
		require.Len(t, told, 6, "at rest it is repeated now and then")
	})
}

// Whatever happens, and in whatever order: rows and positions agree, and in the end everything is there.
func TestPositionsAndRowsAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 30).Draw(rt, "steps")
		var verdict error
		synctest.Test(t, func(t *testing.T) { verdict = playSteps(t, steps) })
		require.NoError(rt, verdict)
	})
}

type step struct {
	what, n int
	on      bool
}

func drawStep(t *rapid.T) step {
	return step{rapid.IntRange(0, 6).Draw(t, "what"), rapid.IntRange(1, 20).Draw(t, "n"), rapid.Bool().Draw(t, "on")}
}

// playSteps plays them to two recorders on one store.
func playSteps(t *testing.T, steps []step) error {
	m, l := newMemory(), newLog()
	links := []*cutOff{{Store: m}, {Store: m}}
	for _, link := range links {
		_, stop := record(t, link, l, zap.NewNop())
		defer stop()
	}
	n := 0
	for _, s := range steps {
		switch s.what {
		case 0:
			m.with(func(m *memory) { m.away = s.on })
		case 1:
			m.with(func(m *memory) { m.lose = 1 })
		case 2:
			m.reset()
		case 3:
			links[s.n%2].cut(s.on)
		case 4:
			time.Sleep(time.Duration(s.n) * 350 * time.Millisecond)
		default:
			for range s.n {
				n++
				l.write(part{events, int32(n % 3)}, event(n))
			}
		}
	}
	m.with(func(m *memory) { m.away = false })
	links[0].cut(false)
	links[1].cut(false)
	time.Sleep(time.Minute)
	if _, most := m.seen(); most > 1 {
		return fmt.Errorf("an event was written %d times", most)
	}
	return whole(m, l)
}

// chunks is a source that brings what a test gives it.
type chunks chan []kafka.Chunk

func (c chunks) Run(ctx context.Context, _ kafka.From, out chan<- []kafka.Chunk) error {
	for {
		select {
		case some := <-c:
			select {
			case out <- some:
			case <-ctx.Done():
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// A topic that was created again, and a partition that was truncated: errors that are counted, with their positions; what the
// truncation took is a gap, in the store and for everybody.
func TestRecorder_PositionsThatAreVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, source := newMemory(), make(chunks)
		core, logs := observer.New(zap.ErrorLevel)
		var published []Gap
		r := NewRecorder(Config{
			Store: m, Source: source, Reading: reading, Log: zap.New(core),
			Publish: func(_ context.Context, g Gap) error { published = append(published, g); return nil },
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go func() { _ = r.Run(ctx, reading.Cluster) }()
		job := func(offset int64) *kafka.Record {
			return &kafka.Record{Topic: jobs, Offset: offset, Timestamp: time.Now(), Value: fmt.Appendf(nil, `{"id":%q}`, notify.DerivedID("n", fmt.Sprint(offset)))}
		}
		bring := func(c kafka.Chunk) {
			c.Topic = jobs
			source <- []kafka.Chunk{c}
			synctest.Wait()
		}
		old, anew := kafka.TopicID{1}, kafka.TopicID{2}
		bring(kafka.Chunk{TopicID: old, Records: []*kafka.Record{job(0), job(1), job(2)}, Next: 3, End: 3})
		require.Equal(t, RecordPlace{Log: Log{jobs, old}, Offset: 2}, m.places[notify.DerivedID("n", "2")])

		bring(kafka.Chunk{TopicID: old, Next: 1, End: 1, Restart: kafka.Truncated})
		want := Gap{Log: Log{jobs, old}, From: 1, To: 3, At: time.Now()}
		require.Equal(t, []Gap{want}, published)
		require.Equal(t, []Gap{want}, m.gaps)
		require.Equal(t, 1.0, testutil.ToFloat64(r.gauge.truncated))

		bring(kafka.Chunk{TopicID: anew, Next: 0, End: 5, Restart: kafka.Recreated})
		require.EqualValues(t, 0, m.at[part{jobs, 0}])
		require.Equal(t, anew, m.logs[part{jobs, 0}])
		require.Equal(t, 1.0, testutil.ToFloat64(r.gauge.recreated))

		bring(kafka.Chunk{TopicID: anew, Next: 4, End: 5, Restart: kafka.RecordsGone})
		require.Equal(t, 4.0, testutil.ToFloat64(r.gauge.missed))
		require.Equal(t, 3, logs.Len())
		require.EqualValues(t, 4, logs.All()[2].ContextMap()["count"])

		gap := Gap{Log: Log{jobs, anew}, Partition: 2, From: 7, To: 9}
		other := gap
		other.Topic = "fax_topic"
		source <- []kafka.Chunk{{Topic: events, Next: 2, End: 2, Records: []*kafka.Record{
			{Topic: events, Headers: gap.Headers("workers"), Timestamp: time.Now().Add(time.Hour)},
			{Topic: events, Offset: 1, Headers: other.Headers("workers"), Timestamp: time.Now()},
		}}}
		synctest.Wait()
		gap.At, gap.Done = time.Now(), []byte{}
		require.Equal(t, []Gap{want, gap}, m.gaps, "of topics that are not ours nothing is kept, and no clock puts a gap into the future")
	})
}
