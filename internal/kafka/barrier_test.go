package kafka

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// shore is a ledger on a broker that a test can make lie.
type shore struct {
	*Ledger
	c *kfake.Cluster
	p *Publisher
}

func newShore(t *testing.T, partitions int32) *shore {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "ledger"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cfg := Config{Brokers: c.ListenAddrs()}
	l, err := NewLedger(cfg, "ledger", zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(l.conn.close)
	p := NewPublisher(cfg, PublisherConfig{Persistent: true})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	return &shore{Ledger: l, c: c, p: p}
}

// put writes an outcome and gives its offset.
func (s *shore) put(t *testing.T, p int32, id string) int64 {
	e := entry{kind: KindOutcome, group: "g", job: topicPartition{"jobs", p}, id: id}
	_, at, err := s.p.PublishForever(t.Context(), Message{Topic: "ledger", Partition: p, Value: []byte("{}"), Headers: e.headers()})
	require.NoError(t, err)
	return at
}

func everything(int64) []span { return []span{{0, unbounded}} }

// ids reads a partition of the ledger as a take-over does.
func (s *shore) ids(ctx context.Context, p int32, wants func(int64) []span) (ids []string, end int64, err error) {
	end, err = s.read(ctx, s.p, p, wants, func(r *Record) {
		e, _ := readEntry(r)
		ids = append(ids, e.id)
	})
	if err != nil {
		return nil, 0, err
	}
	return ids, end, nil
}

func TestBarrier_ReadEndsAtTheRecordThatItWrote(t *testing.T) {
	s := newShore(t, 1)
	s.put(t, 0, "a")
	s.put(t, 0, "b")
	ids, end, err := s.ids(t.Context(), 0, everything)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, ids)
	require.EqualValues(t, 2, end)
	require.EqualValues(t, 3, s.known(0), "the barrier is known to be there")
	s.put(t, 0, "c")
	ids, _, err = s.ids(t.Context(), 0, func(end int64) []span {
		require.EqualValues(t, 4, end)
		return []span{{3, unbounded}, {0, 1}}
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "c"}, ids, "barriers are left out, and so is what was not asked for")
}

// A broker that has been cut off believes that it still leads the partition, and that it ends where it ended then. What
// others have acknowledged since must be read all the same.
func TestBarrier_StaleLeaderIsNotBelieved(t *testing.T) {
	s := newShore(t, 1)
	s.put(t, 0, "a")
	stale, answers := int64(1), 0
	var mu sync.Mutex
	s.c.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		fetch := req.(*kmsg.FetchRequest)
		if answers++; answers > 3 || fetch.Topics[0].Partitions[0].FetchOffset < stale {
			return nil, nil, false
		}
		resp := fetch.ResponseKind().(*kmsg.FetchResponse)
		at := kmsg.NewFetchResponseTopic()
		at.Topic = "ledger"
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.LastStableOffset = stale, stale
		at.Partitions = append(at.Partitions, p)
		resp.Topics = append(resp.Topics, at)
		return resp, nil, true
	})
	s.c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, rt := range req.(*kmsg.ListOffsetsRequest).Topics {
			at := kmsg.NewListOffsetsResponseTopic()
			at.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				p := kmsg.NewListOffsetsResponseTopicPartition()
				p.Partition, p.Offset = rp.Partition, stale
				at.Partitions = append(at.Partitions, p)
			}
			resp.Topics = append(resp.Topics, at)
		}
		return resp, nil, true
	})
	s.put(t, 0, "b")
	ids, end, err := s.ids(t.Context(), 0, everything)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, ids)
	require.EqualValues(t, 2, end)
}

// unsure acknowledges without saying where, as a broker does that knows a sequence number already.
type unsure struct {
	Outbound
	left int
	sent int
}

func (u *unsure) PublishForever(ctx context.Context, m Message) (int32, int64, error) {
	u.sent++
	p, at, err := u.Outbound.PublishForever(ctx, m)
	if u.left--; u.left >= 0 {
		at = -1
	}
	return p, at, err
}

func TestBarrier_IsWrittenAgainUntilItsOffsetIsKnown(t *testing.T) {
	s := newShore(t, 1)
	u := &unsure{Outbound: s.p, left: 2}
	end, err := s.read(t.Context(), u, 0, everything, func(*Record) {})
	require.NoError(t, err)
	require.Equal(t, 3, u.sent)
	require.EqualValues(t, 2, end)
}

// A partition that takes no records keeps waiting only those who need it, and lets go of them when they are told to go.
func TestBarrier_PartitionThatCannotBeWrittenStopsNoOther(t *testing.T) {
	s := newShore(t, 2)
	s.put(t, 1, "b")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.read(ctx, stuck{}, 0, everything, func(*Record) {})
			failed <- err
		}()
	}
	ids, _, err := s.ids(t.Context(), 1, everything)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, ids)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.ErrorIs(t, <-failed, context.Canceled)

	// Once nobody waits any more the round ends, and the next one begins.
	_, _, err = s.ids(t.Context(), 0, everything)
	require.NoError(t, err)
}

// stuck publishes to a partition that takes nothing.
type stuck struct{}

func (stuck) PublishForever(ctx context.Context, _ Message) (int32, int64, error) {
	<-ctx.Done()
	return 0, -1, ctx.Err()
}

// Readers that come while a round waits share the next one and its barrier.
func TestBarrier_ReadersShareOne(t *testing.T) {
	s := newShore(t, 1)
	gate := &gated{Outbound: s.p, open: make(chan struct{}), held: make(chan struct{}, 10)}
	var all sync.WaitGroup
	begin := func() {
		all.Go(func() {
			if _, err := s.read(t.Context(), gate, 0, everything, func(*Record) {}); err != nil {
				t.Error(err)
			}
		})
	}
	begin()
	<-gate.held
	for range 9 {
		begin()
	}
	shared := s.sharedReads(0)
	require.Eventually(t, func() bool {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		return shared.next != nil && len(shared.next.reads) == 9
	}, time.Minute, time.Millisecond)
	close(gate.open)
	all.Wait()
	require.Equal(t, 1, len(gate.held), "one more barrier for all of the nine")
}

// gated publishes once it is opened.
type gated struct {
	Outbound
	open chan struct{}
	held chan struct{}
}

func (g *gated) PublishForever(ctx context.Context, m Message) (int32, int64, error) {
	g.held <- struct{}{}
	<-g.open
	return g.Outbound.PublishForever(ctx, m)
}

func TestBarrier_FailedReadIsAnError(t *testing.T) {
	s := newShore(t, 1)
	s.put(t, 0, "a")
	s.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.KafkaStorageError, Count: 1})
	_, _, err := s.ids(t.Context(), 0, everything)
	require.Error(t, err)
	require.False(t, errors.Is(err, context.Canceled))
	ids, _, err := s.ids(t.Context(), 0, everything)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, ids)
}

func TestUnion(t *testing.T) {
	for _, c := range []struct {
		spans []span
		want  []span
	}{
		{[]span{{5, 6}}, []span{{5, 6}}},
		{[]span{{0, unbounded}, {9, 10}}, []span{{0, 10}}},
		{[]span{{7, 7}, {-5, 2}, {4, 6}, {6, 8}, {9, 10}}, []span{{0, 2}, {4, 8}, {9, 10}}},
		{[]span{{20, 30}}, nil},
	} {
		require.Equal(t, c.want, union(c.spans, 10), "%v", c.spans)
	}
}

func TestTakeOver_ReadsWhatTheClaimEndedLast(t *testing.T) {
	s := newShore(t, 1)
	for _, id := range []string{"a", "b", "c", "d"} {
		s.put(t, 0, id)
	}
	c := &claim{r: &Runner{cfg: RunnerConfig{Ledger: s.Ledger, Publisher: s.p, Group: "g", DedupeWindow: time.Hour}.withDefaults()}}
	c.topicPartition = topicPartition{"jobs", 0}
	var seen []string
	c.r.cfg.OnLedger = func(_ string, _ int32, r *Record) {
		e, _ := readEntry(r)
		seen = append(seen, e.id)
	}
	for name, is := range map[string]struct {
		ended time.Time
		most  int64
		want  []string
	}{
		"all of it is recent":                          {time.Now(), 100, []string{"a", "b", "c", "d"}},
		"so is what came before a pause of an hour":    {time.Now().Add(59 * time.Minute), 100, []string{"a", "b", "c", "d"}},
		"what others have written since is not needed": {time.Now().Add(-3 * time.Hour), 100, []string{"d"}},
		"the newest, as many as may be read":           {time.Now(), 1, []string{"c", "d"}},
		"from an older version":                        {time.Time{}, 100, []string{"a", "b", "c", "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			seen, c.r.cfg.DedupeRecords = nil, is.most
			end, err := s.ask(0)
			require.NoError(t, err)
			l := int64(3)
			if is.most < 100 { // as if L were at the end
				c.r.cfg.DedupeRecords += end - l
			}
			_, _, err = c.readLedger(t.Context(), 0, &start{ledger: l, count: 1, limit: 10, ended: is.ended}, false)
			require.NoError(t, err)
			require.Equal(t, is.want, seen)
		})
	}
}
