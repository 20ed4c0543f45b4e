package kafka

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

// playedLog is the log of partition jobs/0 as the test wants it, behind the broker's answers to fetches and to questions about
// offsets and epochs. It answers as Kafka does.
type playedLog struct {
	cluster *kfake.Cluster

	mu     sync.Mutex
	values []string // by offset
	epochs []int32  // by offset
	epoch  int32    // the leader's
	grown  chan struct{}
	most   int                                                    // records of one answer; 0 for no limit
	asked  int                                                    // how often an epoch was asked for
	answer func(*kmsg.OffsetForLeaderEpochResponseTopicPartition) // changes what is answered; nil for nothing
}

// playLog lets the rig's broker answer from a log whose leader has that epoch.
func (g *rig) playLog(epoch int32, values ...string) *playedLog {
	l := &playedLog{cluster: g.cluster, epoch: epoch, grown: make(chan struct{})}
	l.write(values...)
	for key, handle := range map[kmsg.Key]func(kmsg.Request) kmsg.Response{
		kmsg.Fetch: l.fetch, kmsg.ListOffsets: l.listOffsets, kmsg.OffsetForLeaderEpoch: l.offsetForLeaderEpoch,
	} {
		l.cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			l.cluster.KeepControl()
			resp := handle(req)
			return resp, nil, resp != nil
		})
	}
	return l
}

func (l *playedLog) write(values ...string) { l.elect(math.MaxInt32, 0, values...) }

// elect lets another leader take over, which has the log up to that offset only, and gets new records at once.
func (l *playedLog) elect(upTo int, later int32, values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch += later
	upTo = min(upTo, len(l.values))
	l.values, l.epochs = l.values[:upTo:upTo], l.epochs[:upTo:upTo]
	for _, v := range values {
		l.values, l.epochs = append(l.values, v), append(l.epochs, l.epoch)
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *playedLog) fetch(kreq kmsg.Request) kmsg.Response {
	req := kreq.(*kmsg.FetchRequest)
	if len(req.Topics) != 1 || req.Topics[0].Topic != "jobs" {
		return nil
	}
	at := req.Topics[0].Partitions[0].FetchOffset
	l.mu.Lock()
	grown, wait := l.grown, int(at) == len(l.values)
	l.mu.Unlock()
	if wait {
		l.cluster.SleepControl(func() {
			select {
			case <-grown:
			case <-time.After(time.Duration(req.MaxWaitMillis) * time.Millisecond): // as a broker does
			}
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	end := int64(len(l.values))
	p := kmsg.NewFetchResponseTopicPartition()
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = end, end, 0
	if at > end {
		p.ErrorCode = int16(sarama.ErrOffsetOutOfRange)
	}
	for o := at; o < end; o++ {
		if l.most > 0 && o >= at+int64(l.most) {
			break
		}
		raw := goodBatch(o, l.values[o])
		binary.BigEndian.PutUint32(raw[12:], uint32(l.epochs[o]))
		p.RecordBatches = append(p.RecordBatches, raw...)
	}
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	t := kmsg.NewFetchResponseTopic()
	t.Topic, t.Partitions = "jobs", append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	return resp
}

func (l *playedLog) listOffsets(kreq kmsg.Request) kmsg.Response {
	req := kreq.(*kmsg.ListOffsetsRequest)
	if req.Topics[0].Topic != "jobs" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := kmsg.NewListOffsetsResponseTopicPartition()
	p.Offset, p.LeaderEpoch = 0, l.epoch
	if req.Topics[0].Partitions[0].Timestamp == -1 {
		p.Offset = int64(len(l.values))
	}
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	resp.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: "jobs", Partitions: []kmsg.ListOffsetsResponseTopicPartition{p}}}
	return resp
}

func (l *playedLog) offsetForLeaderEpoch(kreq kmsg.Request) kmsg.Response {
	req := kreq.(*kmsg.OffsetForLeaderEpochRequest)
	if req.Topics[0].Topic != "jobs" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
	p.LeaderEpoch, p.EndOffset = l.endOf(req.Topics[0].Partitions[0].LeaderEpoch)
	if l.answer != nil {
		l.answer(&p)
	}
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	resp.Topics = []kmsg.OffsetForLeaderEpochResponseTopic{{Topic: "jobs", Partitions: []kmsg.OffsetForLeaderEpochResponseTopicPartition{p}}}
	return resp
}

// endOf is LeaderEpochFileCache.endOffsetFor of Kafka.
func (l *playedLog) endOf(asked int32) (epoch int32, end int64) {
	if asked == l.epoch {
		return asked, int64(len(l.values))
	}
	if asked > l.epoch {
		return -1, -1
	}
	floor := int32(-1)
	for o, e := range l.epochs {
		if e > asked {
			return max(floor, 0), int64(o)
		}
		floor = e
	}
	return max(floor, 0), int64(len(l.values))
}

func (l *playedLog) questions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// onTheLadder runs a test for a lane and for a mover.
func onTheLadder(t *testing.T, test func(t *testing.T, g *rig)) {
	for _, noLedger := range []bool{false, true} {
		t.Run("mover "+strconv.FormatBool(noLedger), func(t *testing.T) {
			t.Parallel()
			g := newRig(t, 1)
			g.noLedger = noLedger
			test(t, g)
		})
	}
}

// Records 6 to 9 are lost and others take their offsets before anybody looks. The new ones are delivered, once, and what is
// below is not repeated.
func TestEpoch_ALogThatWasTruncatedAndHasGrownAgain(t *testing.T) {
	onTheLadder(t, func(t *testing.T, g *rig) {
		l := g.playLog(3, numbered("a", 0, 10)...)
		g.start(nil)
		g.await(numbered("a", 0, 10)...)
		require.Equal(t, leaderEpoch{known: true, number: 3}, g.committed(10).epoch)
		l.elect(6, 1, numbered("b", 6, 15)...)
		g.await(numbered("b", 6, 15)...)
		require.Equal(t, leaderEpoch{known: true, number: 4, from: 6}, g.committed(15).epoch)
		require.ElementsMatch(t, append(numbered("a", 0, 10), numbered("b", 6, 15)...), g.called())
		require.EqualValues(t, 1, g.r.Stats().Truncated)
		require.Zero(t, g.r.Stats().Recreated)
	})
}

func TestEpoch_ALogThatWasTruncatedAndHasGrownWhileNobodyRan(t *testing.T) {
	onTheLadder(t, func(t *testing.T, g *rig) {
		l := g.playLog(3, numbered("a", 0, 10)...)
		g.start(nil)
		g.committed(10)
		g.stop()
		l.elect(6, 2, numbered("b", 6, 15)...)
		g.start(nil)
		g.await(numbered("b", 6, 15)...)
		g.committed(15)
		require.ElementsMatch(t, append(numbered("a", 0, 10), numbered("b", 6, 15)...), g.called())
		require.EqualValues(t, 1, g.r.Stats().Truncated)
	})
}

// Nothing comes after the position that could show the new epoch.
func TestEpoch_ALogThatHasGrownExactlyToThePosition(t *testing.T) {
	onTheLadder(t, func(t *testing.T, g *rig) {
		l := g.playLog(3, numbered("a", 0, 10)...)
		g.start(nil)
		g.committed(10)
		l.elect(6, 1, numbered("b", 6, 10)...)
		g.inspect()
		g.await(numbered("b", 6, 10)...)
		require.Len(t, g.called(), 14)
		require.EqualValues(t, 1, g.r.Stats().Truncated)
	})
}

// The leader of epoch 4 goes and the former one returns with records of epoch 3 that nobody has seen: epoch 3 ends beyond
// the position there.
func TestEpoch_AFormerLeaderReturnsWithItsOwnEnd(t *testing.T) {
	onTheLadder(t, func(t *testing.T, g *rig) {
		l := g.playLog(3, numbered("a", 0, 5)...)
		l.elect(5, 1, numbered("b", 5, 10)...)
		g.start(nil)
		g.committed(10)
		l.mu.Lock()
		l.values, l.epochs, l.epoch = l.values[:5:5], l.epochs[:5:5], 3
		l.mu.Unlock()
		l.write(numbered("c", 5, 12)...)
		l.elect(12, 2, numbered("d", 12, 14)...)
		g.await(append(numbered("c", 5, 12), numbered("d", 12, 14)...)...)
		g.committed(14)
		require.Len(t, g.called(), 19, "nothing twice")
		require.EqualValues(t, 1, g.r.Stats().Truncated)
	})
}

// The watermark is below the divergence, some of the done bits are above.
func TestEpoch_DoneBitsAboveTheDivergenceAreVoid(t *testing.T) {
	onTheLadder(t, func(t *testing.T, g *rig) {
		l := g.playLog(3, numbered("a", 0, 10)...)
		l.elect(6, 1, numbered("b", 6, 12)...)
		g.commit(2, metadata{count: 1, bitmap: []byte{0b1001010}, job: g.id("jobs"), epoch: leaderEpoch{known: true, number: 3}})
		g.start(nil)
		g.committed(12)
		require.ElementsMatch(t, append([]string{"a2", "a4"}, numbered("b", 6, 12)...), g.called(), "3 and 5 are done, 8 is another record now")
		require.EqualValues(t, 1, g.r.Stats().Truncated)
	})
}

// A commit without an epoch, of an earlier build, whose done bits reach into a later epoch than the one that is read first.
func TestEpoch_ACommitFromBeforeEpochsWereStored(t *testing.T) {
	onTheLadder(t, func(t *testing.T, g *rig) {
		l := g.playLog(3, numbered("a", 0, 6)...)
		l.elect(6, 1, numbered("a", 6, 12)...)
		l.most = 2
		g.commit(2, metadata{count: 1, bitmap: []byte{0b1001010}, job: g.id("jobs")})
		g.start(nil)
		g.inspect()
		require.Equal(t, leaderEpoch{known: true, number: 4, from: 6}, g.committed(12).epoch)
		require.ElementsMatch(t, []string{"a2", "a4", "a6", "a7", "a9", "a10", "a11"}, g.called())
		require.Zero(t, g.r.Stats().Truncated)
	})
}

// What a broker cannot tell, and an election that loses nothing, are no truncation.
func TestEpoch_NoTruncation(t *testing.T) {
	refused := 0
	for name, answer := range map[string]func(*kmsg.OffsetForLeaderEpochResponseTopicPartition){
		"a clean election":   nil,
		"an unknown epoch":   func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { p.LeaderEpoch, p.EndOffset = -1, -1 },
		"a newer epoch":      func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { p.LeaderEpoch, p.EndOffset = 9, 2 },
		"a fenced epoch":     func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { p.ErrorCode, p.EndOffset = 74, 2 },
		"an epoch to come":   func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { p.ErrorCode, p.EndOffset = 75, 2 },
		"an unknown request": func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { p.ErrorCode, p.EndOffset = 35, 2 },
		"no permission":      func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { p.ErrorCode, p.EndOffset = 29, 2 },
		"no leader, once": func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
			if refused++; refused == 1 {
				p.ErrorCode, p.EndOffset = 6, 2
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			g.noLedger = true
			l := g.playLog(3, numbered("a", 0, 10)...)
			l.answer = answer
			g.start(nil)
			g.committed(10)
			l.elect(10, 1, numbered("a", 10, 15)...)
			g.committed(15)
			g.inspect()
			require.Positive(t, l.questions())
			g.stop()
			l.elect(15, 1, "a15")
			g.start(nil)
			g.committed(16)
			require.ElementsMatch(t, numbered("a", 0, 16), g.called())
			require.Zero(t, g.r.Stats().Truncated)
		})
	}
}

// Brokers that do not know the request are never asked: they would close the connection.
func TestEpoch_BrokersThatCannotBeAsked(t *testing.T) {
	g := newRig(t, 1)
	g.noLedger = true
	l := g.playLog(3, numbered("a", 0, 10)...)
	g.cluster.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		g.cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key := int16(0); key <= kmsg.MaxKey; key++ {
			if known := kmsg.RequestForKey(key); known != nil && key != int16(kmsg.OffsetForLeaderEpoch) {
				resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key, MaxVersion: known.MaxVersion()})
			}
		}
		return resp, nil, true
	})
	g.start(nil)
	g.committed(10)
	l.elect(10, 1, "a10")
	g.committed(11)
	g.inspect()
	require.Zero(t, l.questions())
	require.Zero(t, g.r.Stats().Truncated)
}

// commit makes the commit of a former owner.
func (g *rig) commit(offset int64, m metadata) {
	text, _ := m.encode()
	o, err := newOffsets(g.cfg, g.group)
	require.NoError(g.t, err)
	defer o.conn.close()
	require.NoError(g.t, o.commitForNobody([]committed{{topicPartition{g.topic, 0}, offset, text}}))
}

// The ledger was truncated below L and has grown beyond it: outcomes that lie below L now are found all the same.
func TestEpoch_ALedgerThatWasTruncatedAndHasGrownAgain(t *testing.T) {
	for name, c := range map[string]struct {
		end     leaderEpoch // as the commit has it
		certain uint64
	}{
		"the end that the broker gave": {leaderEpoch{known: true, number: 0, from: 8}, 1},
		"an acknowledgement":           {leaderEpoch{known: true, number: 0, from: 2}, 0}, // its epoch is unknown
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			g.start(nil)
			for i, job := range numbered("a", 0, 10) { // the outcomes are on the ledger in this order
				g.write(job)
				g.committed(int64(i + 1))
			}
			g.stop()
			asked := make(chan struct{})
			var once sync.Once
			g.cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				g.cluster.KeepControl()
				req := kreq.(*kmsg.OffsetForLeaderEpochRequest)
				if req.Topics[0].Topic != "ledger" {
					return nil, nil, false
				}
				once.Do(func() { close(asked) })
				p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				p.LeaderEpoch, p.EndOffset = req.Topics[0].Partitions[0].LeaderEpoch, 2
				resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
				resp.Topics = []kmsg.OffsetForLeaderEpochResponseTopic{{Topic: "ledger", Partitions: []kmsg.OffsetForLeaderEpochResponseTopicPartition{p}}}
				return resp, nil, true
			})
			g.commit(4, metadata{ledger: 10, count: 1, job: g.id("jobs"), journal: g.id("ledger"), ended: time.Now(), ledgerEpoch: c.end})
			g.start(nil)
			<-asked
			g.committed(10)
			require.Len(t, g.called(), 10, "the ledger names them")
			require.Equal(t, c.certain, g.r.Stats().Truncated)
		})
	}
}

func TestEpoch_ACommitHasTheEpochOfTheLedger(t *testing.T) {
	g := newRig(t, 1)
	require.NoError(t, g.cluster.MoveTopicPartition("ledger", 0, 0))
	g.write("a")
	g.start(nil)
	g.await("a")
	g.eventually(func() bool { return g.ledgerEpoch().from == 2 }, "the ledger's end")
	g.write("b")
	require.Equal(t, leaderEpoch{known: true, number: 1, from: 2}, g.committed(2).ledgerEpoch)
}

// A tail reads from the start again: what the lost records said no longer holds.
func TestEpoch_ATailOfALogThatWasTruncatedAndHasGrownAgain(t *testing.T) {
	for name, to := range map[string]int{"beyond the position": 15, "to the position": 10} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			l := g.playLog(3, numbered("a", 0, 10)...)
			tail := g.newTail()
			defer tail.run(t)()
			g.eventually(func() bool { return len(tail.seen()) == 10 }, "the log")
			l.elect(6, 1, numbered("b", 6, to)...)
			g.eventually(func() bool { return len(tail.seen()) == 10+to }, "all of the new log")
			require.Equal(t, append(append(numbered("a", 0, 10), numbered("a", 0, 6)...), numbered("b", 6, to)...), tail.seen())
			require.EqualValues(t, 1, tail.Restarts())
		})
	}
}

// A follower reads on where the logs differ.
func TestEpoch_AFollowerOfALogThatWasTruncatedAndHasGrownAgain(t *testing.T) {
	for name, c := range map[string]struct{ id, short bool }{
		"with topic ids": {true, false},
		"without":        {false, false},
		"with topic ids, and it was seen while it was short": {true, true},
		"without, and it was seen while it was short":        {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			if !c.id {
				limitMetadata(g.cluster, 9)
			}
			l := g.playLog(3, numbered("a", 0, 10)...)
			core, logs := observer.New(zap.WarnLevel)
			f, err := NewFollower(g.cfg, []string{"jobs"}, zap.New(core))
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := make(chan []Chunk)
			var runs sync.WaitGroup
			runs.Go(func() { _ = f.Run(ctx, func(string, int32) (int64, TopicID) { return 0, TopicID{} }, out); close(out) })
			defer runs.Wait()
			defer cancel()
			var values []string
			var restarts []Restart
			upTo := func(next int64) {
				for chunks := range out {
					for _, c := range chunks {
						for _, r := range c.Records {
							values = append(values, string(r.Value))
						}
						if c.Restart != NotRestarted {
							restarts = append(restarts, c.Restart)
						}
						if c.Next == next {
							return
						}
					}
				}
			}
			upTo(10)
			if c.short {
				l.elect(6, 1, numbered("b", 6, 8)...)
				require.Eventually(t, func() bool { return logs.Len() > 0 }, time.Minute, time.Millisecond, "it ends below the position")
				l.elect(8, 1, numbered("b", 8, 15)...)
			} else {
				l.elect(6, 1, numbered("b", 6, 15)...)
			}
			upTo(15)
			want, why := numbered("b", 6, 15), Truncated
			if !c.id {
				want, why = append(numbered("a", 0, 6), want...), Recreated
			}
			require.Equal(t, append(numbered("a", 0, 10), want...), values)
			require.Equal(t, []Restart{why}, restarts)
			cancel()
			for range out { //nolint:revive // until it is closed
			}
		})
	}
}

// ledgerEpoch is the epoch of the ledger's leader as the runner knows it.
func (g *rig) ledgerEpoch() leaderEpoch {
	_, epoch := g.r.cfg.Ledger.knownEnd(0)
	return epoch
}

func TestLeaderEpoch_Text(t *testing.T) {
	for _, e := range []leaderEpoch{{}, {known: true}, {known: true, number: math.MaxInt32, from: math.MaxInt64}} {
		text, _ := metadata{count: 1, epoch: e, ledgerEpoch: e}.encode()
		m, err := decodeMetadata(text)
		require.NoError(t, err)
		require.Equal(t, []leaderEpoch{e, e}, []leaderEpoch{m.epoch, m.ledgerEpoch})
	}
	for _, bad := range []string{"", "1", "/", "-1/0", "1/-1", "1/2/3", "zzzzzzz/0", "1/é"} {
		_, err := parseLeaderEpoch(bad)
		require.ErrorIs(t, err, errEpoch, bad)
	}
}

// A cursor that has passed a batch without reading it must not stay with an older epoch: the log would seem to be another
// one. The epoch of a damaged batch counts for nothing.
func TestCursor_EpochOfBatchesThatAreNotRead(t *testing.T) {
	at := func(epoch int32, raw []byte) []byte {
		binary.BigEndian.PutUint32(raw[12:], uint32(epoch))
		return raw
	}
	damaged := goodBatch(2, "c")
	damaged[len(damaged)-1] ^= 1
	for name, c := range map[string]struct {
		unread []byte
		want   leaderEpoch
	}{
		"a marker":        {at(7, batchAt(2, batchtest.Batch(batchtest.Control|0x10, 0, 1, []byte("end")))), leaderEpoch{known: true, number: 7, from: 2}},
		"a damaged batch": {at(7, damaged), leaderEpoch{number: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			cur := newCursor(topicPartition{"t", 0}, 0, &sync.Mutex{})
			_, _ = readLog(t, cur, [][]byte{at(5, goodBatch(0, "a", "b")), c.unread}, []int64{2, 3})
			require.Equal(t, c.want, cur.epoch)
			_, _ = readLog(t, cur, [][]byte{at(8, goodBatch(3, "d"))}, []int64{4})
			require.Equal(t, leaderEpoch{known: true, number: 8, from: 3}, cur.epoch)
		})
	}
}

// What the broker of the environment says of its epochs.
func TestEpoch_OnABroker(t *testing.T) {
	g := newBrokerRig(t)
	g.write(numbered("a", 0, 3)...)
	g.start(nil)
	g.await(numbered("a", 0, 3)...)
	epoch := g.committed(3).epoch
	require.True(t, epoch.known)
	a, err := g.r.reader.conn.epochEnd(topicPartition{g.topic, 0}, epoch.number)
	require.NoError(t, err)
	require.Equal(t, epochEnd{known: true, number: epoch.number, end: 3}, a)
	a, err = g.r.reader.conn.epochEnd(topicPartition{g.topic, 0}, epoch.number+7)
	require.NoError(t, err)
	require.False(t, a.known, "an epoch to come")
	g.eventually(func() bool { return g.ledgerEpoch().known }, "the ledger's epoch")
	g.write("b")
	require.True(t, g.committed(4).ledgerEpoch.known)
	g.inspect()
	g.stop()
	g.start(nil)
	g.write("c")
	g.committed(5)
	require.Len(t, g.called(), 5)
	require.Zero(t, g.r.Stats().Truncated)
}
