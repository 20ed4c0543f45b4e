package kafka

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// rig is a runner of one job partition on a broker whose topics the test deletes, trims and creates again.
type rig struct {
	t        *testing.T
	cluster  *kfake.Cluster // nil on a broker of the environment
	cfg      Config
	noLedger bool

	topic, ledger, group string

	mu    sync.Mutex
	hold  bool     // attempts wait until release
	held  []string // what waits
	free  chan struct{}
	calls []string // values, in the order of their first delivery
	r     *Runner
	stop  func()
}

func newRig(t *testing.T, brokers int) *rig {
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(1, "jobs", "ledger"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &rig{t: t, cluster: c, cfg: Config{Brokers: c.ListenAddrs()}, free: make(chan struct{}), topic: "jobs", ledger: "ledger", group: "g"}
}

// newBrokerRig works on the brokers of LAUDSPEAKER_TEST_BROKERS, or on an embedded one.
func newBrokerRig(t *testing.T) *rig {
	brokers := kafkatest.Brokers(t)
	return &rig{
		t: t, cfg: Config{Brokers: brokers}, free: make(chan struct{}),
		topic: kafkatest.Topic(t, brokers, 1), ledger: kafkatest.Topic(t, brokers, 1), group: kafkatest.Name(t),
	}
}

func (g *rig) Identify(r *Record) string { return string(r.Value) }

func (g *rig) Handle(ctx context.Context, a *Attempt) Result {
	g.mu.Lock()
	g.calls = append(g.calls, string(a.Value))
	hold, free := g.hold, g.free
	if hold {
		g.held = append(g.held, string(a.Value))
	}
	g.mu.Unlock()
	if hold {
		select {
		case <-free:
		case <-ctx.Done():
		}
	}
	if g.noLedger {
		return Result{}
	}
	return Result{Outcome: &Outcome{Key: a.Value, Value: []byte("{}")}}
}

func (g *rig) called() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.calls...)
}

// start runs a new process.
func (g *rig) start(more func(*RunnerConfig)) {
	ledger, err := NewLedger(g.cfg, g.ledger, zap.NewNop())
	require.NoError(g.t, err)
	publisher := NewPublisher(g.cfg, PublisherConfig{Persistent: true, Log: zap.NewNop()})
	cfg := RunnerConfig{
		Kafka: g.cfg, Group: g.group, Topics: []string{g.topic}, Handler: g, Ledger: ledger, Publisher: publisher, Log: zap.NewNop(),
		AttemptTimeout: 10 * time.Second, NoLedger: g.noLedger, Drain: time.Second,
	}
	if more != nil {
		more(&cfg)
	}
	g.r, err = NewRunner(cfg)
	require.NoError(g.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	beside, end := context.WithCancel(context.Background())
	var runner, others sync.WaitGroup
	runner.Go(func() { _ = g.r.Run(ctx) })
	others.Go(func() { _ = publisher.Run(beside) })
	others.Go(func() { _ = ledger.Run(beside) })
	g.stop = sync.OnceFunc(func() { cancel(); runner.Wait(); end(); others.Wait() })
	g.t.Cleanup(g.stop)
}

func (g *rig) write(values ...string) {
	sc := sarama.NewConfig()
	sc.Producer.Return.Successes = true
	sc.Producer.Partitioner = sarama.NewManualPartitioner
	p, err := sarama.NewSyncProducer(g.cfg.Brokers, sc)
	require.NoError(g.t, err)
	defer p.Close()
	for _, v := range values {
		_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: g.topic, Key: sarama.StringEncoder(v), Value: sarama.StringEncoder(v)})
		require.NoError(g.t, err)
	}
}

func numbered(prefix string, from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, prefix+strconv.Itoa(i))
	}
	return all
}

func (g *rig) recreate(topic string) { kafkatest.Recreate(g.t, g.cfg.Brokers, topic, 1) }

func (g *rig) eventually(what func() bool, why string) {
	g.t.Helper()
	require.Eventually(g.t, what, time.Minute, 5*time.Millisecond, why)
}

// await waits until each of the values was delivered, and nothing twice.
func (g *rig) await(values ...string) {
	g.t.Helper()
	g.eventually(func() bool {
		seen := map[string]bool{}
		for _, v := range g.called() {
			seen[v] = true
		}
		for _, v := range values {
			if !seen[v] {
				return false
			}
		}
		return true
	}, "not everything was delivered")
}

// committed waits until the group has committed that offset.
func (g *rig) committed(offset int64) metadata {
	g.t.Helper()
	o, err := newOffsets(g.cfg, g.group)
	require.NoError(g.t, err)
	defer o.conn.close()
	var m metadata
	g.eventually(func() bool {
		all, err := o.fetchAny([]topicPartition{{g.topic, 0}})
		if err != nil || all[0].offset != offset {
			return false
		}
		m, err = decodeMetadata(all[0].metadata)
		return err == nil
	}, "the watermark is not committed")
	return m
}

// gapRecords reads what was published about gaps.
func (g *rig) gapRecords() (all []map[string]string) {
	r, err := NewReader(g.cfg)
	require.NoError(g.t, err)
	defer r.Close()
	bounds, err := r.Bounds(g.ledger)
	require.NoError(g.t, err)
	require.NoError(g.t, r.Scan(g.t.Context(), g.ledger, bounds, func(rec *Record) error {
		if kind, _ := rec.Header(HeaderKind); kind == KindGap {
			require.Empty(g.t, rec.Value)
			_, ok := readEntry(rec)
			require.False(g.t, ok, "readers of outcomes ignore it")
			hs := map[string]string{}
			for _, h := range rec.Headers {
				hs[h.Key] = string(h.Value)
			}
			all = append(all, hs)
		}
		return nil
	}))
	return all
}

func (g *rig) inspect() {
	_ = g.r.cfg.Ledger.refreshIDs()
	g.r.inspect(g.t.Context())
}

func (g *rig) id(topic string) TopicID {
	r, err := NewReader(g.cfg)
	require.NoError(g.t, err)
	defer r.Close()
	ids, err := r.TopicIDs([]string{topic})
	require.NoError(g.t, err)
	return ids[topic]
}

// The position 20 is void in the new topic, whose first 20 records would otherwise never be delivered. What was done in the new
// topic before its id was asked for is not repeated: the ledger names it.
func TestLoss_AJobTopicCreatedAgainUnderALiveProcess(t *testing.T) {
	for _, noLedger := range []bool{false, true} {
		t.Run("mover "+strconv.FormatBool(noLedger), func(t *testing.T) {
			g := newRig(t, 1)
			g.noLedger = noLedger
			g.write(numbered("old", 0, 20)...)
			g.start(nil)
			g.await(numbered("old", 0, 20)...)
			m := g.committed(20)
			require.Equal(t, g.id("jobs"), m.job)
			require.Equal(t, g.id("ledger"), m.journal)
			g.recreate("jobs")
			g.write(numbered("new", 0, 40)...)
			g.inspect()
			g.await(numbered("new", 0, 40)...)
			require.Equal(t, g.id("jobs"), g.committed(40).job)
			if !noLedger {
				require.Len(t, g.called(), 60, "nothing twice")
			}
			require.EqualValues(t, 1, g.r.Stats().Recreated)
			require.Zero(t, g.r.Stats().Lost)
		})
	}
}

func TestLoss_AJobTopicCreatedAgainWhileNobodyRuns(t *testing.T) {
	g := newRig(t, 3)
	g.write(numbered("old", 0, 20)...)
	g.start(nil)
	g.await(numbered("old", 0, 20)...)
	g.committed(20)
	g.stop()
	was, _ := metadata{count: 1, ledger: 20, job: g.id("jobs"), journal: g.id("ledger")}.encode()
	g.recreate("jobs")
	g.write(numbered("new", 0, 40)...)
	o, err := newOffsets(g.cfg, "g")
	require.NoError(t, err)
	defer o.conn.close()
	// Kafka forgets the offsets of a topic that is deleted, but a live process may have committed its position again.
	require.NoError(t, o.commitForNobody([]committed{{topicPartition{"jobs", 0}, 20, was}}))
	g.start(nil)
	g.await(numbered("new", 0, 40)...)
	g.committed(40)
	require.Len(t, g.called(), 60)
	require.EqualValues(t, 1, g.r.Stats().Recreated)
}

// L is an offset of the old ledger. Taken for one of the new ledger it would hide outcomes that are below it.
func TestLoss_TheLedgerCreatedAgain(t *testing.T) {
	g := newRig(t, 1)
	g.write(numbered("a", 0, 20)...)
	g.start(nil)
	g.await(numbered("a", 0, 20)...)
	was := g.committed(20)
	g.recreate("ledger")
	g.inspect()
	g.write(numbered("b", 0, 5)...)
	g.await(numbered("b", 0, 5)...)
	g.eventually(func() bool { return g.committed(25).journal == g.id("ledger") }, "the new ledger is not committed")
	require.NotEqual(t, was.journal, g.id("ledger"))
	require.Len(t, g.called(), 25)
	require.EqualValues(t, 1, g.r.Stats().Recreated)
	g.stop()
	g.start(nil)
	g.write("c")
	g.await("c")
	require.Len(t, g.called(), 26)
}

// Brokers without ids: everything works as it did before ids were stored, and commits are those of the first version.
func TestLoss_BrokersWithoutTopicIDs(t *testing.T) {
	g := newRig(t, 1)
	limitMetadata(g.cluster, 9)
	g.write(numbered("a", 0, 20)...)
	g.start(nil)
	g.await(numbered("a", 0, 20)...)
	m := g.committed(20)
	require.Equal(t, TopicID{}, m.job)
	g.inspect()
	g.stop()
	g.write("b")
	g.start(nil)
	g.await("b")
	require.Len(t, g.called(), 21)
	require.Zero(t, g.r.Stats().Recreated)
}

// What today's builds have committed is taken over as it was: nothing is repeated, nothing is lost, for movers too.
func TestLoss_ACommitFromBeforeIDsWereStored(t *testing.T) {
	for _, noLedger := range []bool{false, true} {
		t.Run("mover "+strconv.FormatBool(noLedger), func(t *testing.T) {
			g := newRig(t, 1)
			g.noLedger = noLedger
			g.write(numbered("a", 0, 10)...)
			text, _ := metadata{count: 1, bitmap: []byte{0b101010}}.encode()
			require.Contains(t, text, "ls1.")
			o, err := newOffsets(g.cfg, "g")
			require.NoError(t, err)
			defer o.conn.close()
			require.NoError(t, o.commitForNobody([]committed{{topicPartition{"jobs", 0}, 2, text}}))
			g.start(nil)
			m := g.committed(10)
			require.Equal(t, g.id("jobs"), m.job)
			require.ElementsMatch(t, []string{"a2", "a4", "a6", "a8", "a9"}, g.called())
		})
	}
}

// Records 0 to 29 are removed while nobody reads: 3 and 5 were done before.
func TestLoss_RecordsRemovedWhileNobodyRuns(t *testing.T) {
	for _, noLedger := range []bool{false, true} {
		t.Run("mover "+strconv.FormatBool(noLedger), func(t *testing.T) {
			g := newRig(t, 1)
			g.noLedger = noLedger
			g.write(numbered("a", 0, 40)...)
			text, _ := metadata{count: 1, bitmap: []byte{0b1010}, job: g.id("jobs"), journal: g.id("ledger")}.encode()
			o, err := newOffsets(g.cfg, "g")
			require.NoError(t, err)
			defer o.conn.close()
			require.NoError(t, o.commitForNobody([]committed{{topicPartition{"jobs", 0}, 2, text}}))
			require.NoError(t, g.cluster.DeleteRecords("jobs", 0, 30))
			g.start(nil)
			g.committed(40)
			require.ElementsMatch(t, numbered("a", 30, 40), g.called())
			require.Equal(t, []map[string]string{{
				HeaderKind: KindGap, HeaderGroup: "g", HeaderJobTopic: "jobs", HeaderJobTopicID: g.id("jobs").String(),
				HeaderJobPartition: "0", HeaderGapFrom: "2", HeaderGapTo: "30", HeaderGapDone: "Cg",
			}}, g.gapRecords())
			require.EqualValues(t, 26, g.r.Stats().Lost)
			g.stop()
			g.start(nil)
			g.write("b")
			g.await("b")
			require.Len(t, g.gapRecords(), 1, "once")
		})
	}
}

// A lane that is paused does not fetch, so it does not notice by itself that records are removed. What it has in hand is
// not lost.
func TestLoss_RecordsRemovedWhileALaneIsPaused(t *testing.T) {
	g := newRig(t, 1)
	g.write(numbered("a", 0, 3)...)
	g.start(nil)
	g.await(numbered("a", 0, 3)...)
	g.committed(3)
	g.r.Hold(true)
	g.write("b3")
	g.eventually(func() bool { return g.r.fetchedTo() == 4 }, "nothing is in hand")
	g.write(numbered("b", 4, 40)...)
	require.NoError(t, g.cluster.DeleteRecords("jobs", 0, 30))
	g.inspect()
	gaps := g.gapRecords()
	require.Len(t, gaps, 1)
	from, err := strconv.Atoi(gaps[0][HeaderGapFrom]) // a fetch that was under way when the lane was paused may have brought more
	require.NoError(t, err)
	require.GreaterOrEqual(t, from, 4)
	require.Less(t, from, 30)
	require.Equal(t, "30", gaps[0][HeaderGapTo])
	require.EqualValues(t, 30-from, g.r.Stats().Lost)
	g.r.Hold(false)
	g.await(numbered("b", 30, 40)...)
	g.committed(40)
	require.Len(t, g.gapRecords(), 1)
	require.ElementsMatch(t, append(append(numbered("a", 0, 3), numbered("b", 3, from)...), numbered("b", 30, 40)...), g.called())
}

func (r *Runner) fetchedTo() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == nil || len(r.session.claims) == 0 {
		return -1
	}
	return r.session.claims[0].next
}

// What was done and then removed is no gap: movers delete what they have moved.
func TestLoss_RemovedAfterItWasDoneIsNoGap(t *testing.T) {
	g := newRig(t, 1)
	g.noLedger = true
	g.write(numbered("a", 0, 10)...)
	g.start(nil)
	g.committed(10)
	require.NoError(t, g.cluster.DeleteRecords("jobs", 0, 10))
	g.inspect()
	g.stop()
	g.start(nil)
	g.write("b")
	g.committed(11)
	require.Empty(t, g.gapRecords())
	require.Zero(t, g.r.Stats().Lost)
}

// shorten lets the broker say that the jobs end earlier than they do.
func (g *rig) shorten(end *int64) {
	g.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		g.cluster.KeepControl()
		g.mu.Lock()
		defer g.mu.Unlock()
		lo := req.(*kmsg.ListOffsetsRequest)
		if *end < 0 || lo.Topics[0].Topic != "jobs" || lo.Topics[0].Partitions[0].Timestamp != -1 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset, p.Timestamp = *end, -1
		resp.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: "jobs", Partitions: []kmsg.ListOffsetsResponseTopicPartition{p}}}
		return resp, nil, true
	})
}

// A log that ends before the position, for long enough, was truncated: reading goes on at its new end. From there on other
// records come, although their offsets were done.
func TestLoss_ATruncatedLogIsReadOnAtItsEnd(t *testing.T) {
	for _, noLedger := range []bool{false, true} {
		t.Run("mover "+strconv.FormatBool(noLedger), func(t *testing.T) {
			g := newRig(t, 1)
			g.noLedger = noLedger
			end := int64(-1)
			g.shorten(&end)
			g.write(numbered("a", 0, 10)...)
			g.start(nil)
			g.committed(10)
			g.setEnd(&end, 6)
			g.inspect()
			require.Zero(t, g.r.Stats().Truncated, "a new leader may know a lower end for a moment")
			require.Equal(t, 10, len(g.called()))
			g.r.mu.Lock()
			g.r.session.claims[0].short.since = time.Now().Add(-truncatedAfter)
			g.r.mu.Unlock()
			g.inspect()
			require.EqualValues(t, 1, g.r.Stats().Truncated)
			g.setEnd(&end, -1)
			g.eventually(func() bool { return len(g.called()) == 14 }, "the records from the new end on")
			require.ElementsMatch(t, numbered("a", 6, 10), g.called()[10:])
			require.Equal(t, g.id("jobs"), g.committed(10).job)
			require.Empty(t, g.gapRecords(), "the offsets will be those of other records")
		})
	}
}

// A mover that was away while its log was truncated does not go back to the log's start: it would move everything again.
func TestLoss_ALogThatWasTruncatedWhileNobodyRan(t *testing.T) {
	for name, id := range map[string]bool{"with ids": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			g.noLedger = true
			if !id {
				limitMetadata(g.cluster, 9)
			}
			g.write(numbered("a", 0, 10)...)
			m := metadata{count: 1}
			if id {
				m.job = g.id("jobs")
			}
			text, _ := m.encode()
			o, err := newOffsets(g.cfg, "g")
			require.NoError(t, err)
			defer o.conn.close()
			require.NoError(t, o.commitForNobody([]committed{{topicPartition{"jobs", 0}, 20, text}}))
			g.start(nil)
			g.committed(10)
			require.Empty(t, g.called())
			g.write("b")
			g.committed(11)
			require.Equal(t, []string{"b"}, g.called())
			require.EqualValues(t, 1, g.r.Stats().Truncated)
		})
	}
}

func (g *rig) setEnd(end *int64, to int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*end = to
}

// What the broker of the environment does: topics are created again under a live process, and records are removed.
func TestLoss_OnABroker(t *testing.T) {
	g := newBrokerRig(t)
	g.write(numbered("a", 0, 20)...)
	g.start(nil)
	g.await(numbered("a", 0, 20)...)
	m := g.committed(20)
	require.False(t, m.job.IsZero())
	require.Equal(t, []TopicID{g.id(g.topic), g.id(g.ledger)}, []TopicID{m.job, m.journal})
	g.recreate(g.topic)
	g.write(numbered("b", 0, 40)...)
	g.inspect()
	g.await(numbered("b", 0, 40)...)
	g.eventually(func() bool { return g.committed(40).job == g.id(g.topic) }, "the new topic's id")
	require.Len(t, g.called(), 60, "nothing twice")
	require.EqualValues(t, 1, g.r.Stats().Recreated)

	g.recreate(g.ledger)
	g.inspect()
	g.write("c")
	g.await("c")
	g.eventually(func() bool { return g.committed(41).journal == g.id(g.ledger) }, "the new ledger's id")
	require.EqualValues(t, 2, g.r.Stats().Recreated)
	g.stop()

	g.write(numbered("d", 0, 30)...)
	g.deleteRecords(61)
	g.start(nil)
	g.await(numbered("d", 20, 30)...)
	g.committed(71)
	require.Len(t, g.called(), 71)
	require.EqualValues(t, 20, g.r.Stats().Lost)
	gaps := g.gapRecords()
	require.Len(t, gaps, 1)
	require.Equal(t, []string{"41", "61", ""}, []string{gaps[0][HeaderGapFrom], gaps[0][HeaderGapTo], gaps[0][HeaderGapDone]})
}

// deleteRecords removes the records below the offset.
func (g *rig) deleteRecords(below int64) {
	sc := sarama.NewConfig()
	sc.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(g.cfg.Brokers, sc)
	require.NoError(g.t, err)
	defer admin.Close()
	require.NoError(g.t, admin.DeleteRecords(g.topic, map[int32]int64{0: below}))
}

func TestGaps(t *testing.T) {
	for name, c := range map[string]struct {
		from, to int64
		done     []int64
		want     []gap
	}{
		"nothing is gone":     {5, 5, nil, nil},
		"nothing of it known": {5, 1 << 40, nil, []gap{{5, 1 << 40, nil}}},
		"some is done":        {5, 30, []int64{6, 13}, []gap{{5, 30, []byte{0b10, 1}}}},
		"done far ahead": {5, 1 << 40, []int64{1 << 30, 1<<30 + 9}, []gap{
			{5, 1 << 30, nil},
			{1 << 30, 1 << 40, []byte{1, 0b10}},
		}},
		"done at both ends of more than one record takes": {
			0, gapBits + 20,
			[]int64{0, gapBits - 1, gapBits + 1},
			[]gap{{0, gapBits + 1, bitmapOf(gapBits, 0, gapBits-1)}, {gapBits + 1, gapBits + 20, []byte{1}}},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, gaps(c.from, c.to, c.done)) })
	}
	require.Equal(t, "Ag", base64.RawStdEncoding.EncodeToString([]byte{0b10}))
}

// What the log had skipped and what a batch that cannot be decoded has taken is not missing, however wide it is.
func TestGaps_LeaveOutWideSpans(t *testing.T) {
	c := &claim{r: &Runner{}, progress: newProgress(0)}
	require.True(t, c.fetched(0))
	c.done(5)
	c.skip(10, 20_000)
	c.skip(100_000, 1<<40)
	all, count := c.gapsWithin(1, 1<<41)
	require.Equal(t, []gap{
		{from: 1, to: 10, done: bitmapOf(8, 4)}, {from: 20_000, to: 100_000}, {from: 1 << 40, to: 1 << 41},
	}, all)
	require.EqualValues(t, 8+80_000+1<<40, count)
	_, count = c.gapsWithin(20, 19_000)
	require.Zero(t, count)
}

func bitmapOf(n int, set ...int) []byte {
	b := make([]byte, n/8)
	for _, i := range set {
		b[i/8] |= 1 << (i % 8)
	}
	return b
}

func TestTracker_Cut(t *testing.T) {
	for end := int64(0); end < 200; end++ {
		tr := newTracker(50)
		for o := int64(50); o < 190; o += 3 {
			tr.fetched(o + 1)
			tr.done(o + 1)
		}
		want := map[int64]bool{}
		for o := int64(50); o < 200; o++ {
			want[o] = tr.isDone(o) && o < end
		}
		tr.cut(end)
		require.LessOrEqual(t, tr.low, max(end, 50))
		require.LessOrEqual(t, tr.next, end)
		tr.done(end)
		tr.done(end + 70)
		for o := max(tr.low, 50); o < 200; o++ {
			require.Equal(t, want[o], tr.isDone(o), "offset %d, end %d", o, end)
		}
	}
}

// A position that is void leaves the whole ledger to be read. It is read in parts, so that what is kept of it in memory is
// bounded: here ten jobs at a time.
func TestLoss_TheWholeLedgerIsReadInParts(t *testing.T) {
	g := newRig(t, 1)
	few := func(rc *RunnerConfig) { rc.readAhead = 10 }
	g.write(numbered("a", 0, 95)...)
	g.start(few)
	g.committed(95)
	g.stop()
	require.EqualValues(t, 1, g.r.Stats().TakeOvers, "nothing is written of them yet")

	o, err := newOffsets(g.cfg, "g")
	require.NoError(t, err)
	defer o.conn.close()
	void, _ := metadata{count: 1, job: TopicID{1}}.encode()
	require.NoError(t, o.commitForNobody([]committed{{topicPartition{"jobs", 0}, 50, void}}))
	g.write(numbered("b", 95, 105)...)
	g.start(few)
	g.await(numbered("b", 95, 105)...)
	g.committed(105)
	require.Len(t, g.called(), 105, "the ledger names the others")
	require.EqualValues(t, 95, g.r.Stats().Skipped)
	require.Greater(t, g.r.Stats().TakeOvers, uint64(5))
}

// visits keeps what a tail of the topic jobs has visited.
type visits struct {
	*Tail
	mu     sync.Mutex
	values []string
}

func (g *rig) newTail() *visits {
	v := &visits{}
	tail, err := NewTail(g.cfg, "jobs", func(r *Record) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.values = append(v.values, string(r.Value))
	}, zap.NewNop())
	require.NoError(g.t, err)
	v.Tail = tail
	return v
}

// run starts the tail; the function that it returns stops it.
func (v *visits) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	runs.Go(func() { _ = v.Run(ctx) })
	return func() { cancel(); runs.Wait() }
}

func (v *visits) seen() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.values)
}

// The new topic is read, what it must hold is written to it, and only then it is followed: also when it is longer than the
// old one was read, and when the first try fails.
func TestTail_ATopicCreatedAgainIsReadAgain(t *testing.T) {
	g := newRig(t, 1)
	g.write(numbered("old", 0, 3)...)
	var before []string
	tries := 0
	tail := g.newTail()
	tail.BeforeRestart(func(_ context.Context, read func(func(*Record)) error) error {
		if tries++; tries == 1 {
			return ErrUnavailable
		}
		return read(func(r *Record) { before = append(before, string(r.Value)) })
	})
	defer tail.run(t)()
	g.eventually(func() bool { return len(tail.seen()) == 3 }, "the old topic")
	g.recreate("jobs")
	g.write(numbered("new", 0, 5)...)
	g.eventually(func() bool { return tail.Restarts() == 1 && len(tail.seen()) >= 8 }, "the new topic")
	got := tail.seen()
	require.Equal(t, numbered("new", 0, 5), got[len(got)-5:])
	require.Equal(t, numbered("new", 0, 5), before[:5])
	require.Equal(t, 2, tries)
}

// A take-over that is given up leaves its read of the ledger behind, which may go on for a moment.
func TestLoss_AReadOfTheLedgerMayOutliveItsTakeOver(t *testing.T) {
	g := newRig(t, 1)
	g.write(numbered("a", 0, 20)...)
	g.start(nil)
	g.committed(20)
	ctx, cancel := context.WithCancel(t.Context())
	returned, visited := make(chan struct{}), make(chan struct{})
	var first sync.Once
	cfg := g.r.cfg
	cfg.OnLedger = func(string, int32, *Record) {
		first.Do(func() {
			cancel()
			<-returned
			defer close(visited)
		})
	}
	c := &claim{r: &Runner{cfg: cfg}, topicPartition: topicPartition{"jobs", 0}}
	_, _, err := c.readLedger(ctx, 0, &start{count: 1, limit: 20}, false)
	require.ErrorIs(t, err, context.Canceled)
	close(returned)
	<-visited
	all, _, err := c.readLedger(t.Context(), 0, &start{count: 1, limit: 20}, false) // after the first one has come to its end
	require.NoError(t, err)
	require.Len(t, all.unverified, 20)
}
