package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// lane plays a runner: records of several partitions, each started while its partition is not paused and a slot is free,
// called again when they ask for it. One call at a time; time passes when there is nothing to do.
type lane struct {
	slots  int
	queued []*kafka.Record
	called map[*kafka.Record]kafka.Result // waiting to be called again
	held   map[int32]bool
	ended  map[*kafka.Record]kafka.Result
	most   int // how many waited at once
}

type heldClaim struct {
	l *lane
	n int32
}

func (c heldClaim) Resume() { delete(c.l.held, c.n) }

func newLane(records []*kafka.Record) *lane {
	return &lane{slots: 8, queued: records, called: map[*kafka.Record]kafka.Result{}, held: map[int32]bool{}, ended: map[*kafka.Record]kafka.Result{}}
}

// run works until every record has ended; false when records are left that nobody would ever start.
func (l *lane) run(w *Worker) bool {
	w.pause = func(a *kafka.Attempt) claim {
		l.held[a.Partition] = true
		return heldClaim{l, a.Partition}
	}
	for len(l.queued)+len(l.called) > 0 {
		var due, soonest *kafka.Record
		for r, res := range l.called {
			if soonest == nil || res.Again.Before(l.called[soonest].Again) {
				soonest = r
			}
		}
		if soonest != nil && !l.called[soonest].Again.After(time.Now()) {
			due = soonest
		}
		for i, r := range l.queued {
			if due == nil && !l.held[r.Partition] {
				due, l.queued = r, append(l.queued[:i:i], l.queued[i+1:]...)
				break
			}
		}
		switch {
		case due != nil:
			res := w.Handle(context.Background(), &kafka.Attempt{Record: due, Carry: l.called[due].Carry})
			if delete(l.called, due); res.Again.IsZero() {
				l.ended[due] = res
			} else {
				l.called[due] = res
			}
			l.most = max(l.most, len(l.called))
		case soonest != nil:
			time.Sleep(time.Until(l.called[soonest].Again))
		default:
			return false
		}
	}
	return true
}

// backlog gives n records spread over partitions.
func backlog(n, partitions int) []*kafka.Record {
	all := make([]*kafka.Record, n)
	for i := range all {
		all[i] = record(strings.Replace(mail, someID, fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i), 1))
		all[i].Partition, all[i].Offset = int32(i%partitions), int64(i/partitions)
	}
	return all
}

// outage is a gateway that refuses us until a time, and counts.
type outage struct {
	until          time.Time
	refused, taken int
}

func (o *outage) send(context.Context, *notify.Message) (notify.Receipt, error) {
	if time.Now().Before(o.until) {
		o.refused++
		return notify.Receipt{}, unavailable
	}
	o.taken++
	return notify.Receipt{}, nil
}

func TestAGatewayThatRefusesUsStopsFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zapcore.DebugLevel)
		reg := prometheus.NewRegistry()
		o := &outage{until: time.Now().Add(5 * time.Minute)}
		w := worker(sendFunc(o.send), func(c *Config) { c.Log, c.Metrics = zap.New(core), NewMetrics(reg) })
		l := newLane(backlog(10_000, 12))
		probed := make(chan float64, 1)
		time.AfterFunc(time.Minute, func() { probed <- testutil.ToFloat64(w.counts.unavailable) })
		require.True(t, l.run(w))

		require.Equal(t, 10_000, o.taken)
		require.Len(t, l.ended, 10_000)
		for _, res := range l.ended {
			require.Empty(t, res.Follow)
			require.Equal(t, 1, eventOf(t, res).Attempt)
		}
		require.Equal(t, 1+5*60/30-1, o.refused, "the first, and a probe every 30 s")
		require.Equal(t, 12, l.most, "one job of each partition meets the gate")
		require.InDelta(t, 5*60, time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds(), 3)

		require.Equal(t, float64(1), <-probed)
		require.Zero(t, testutil.ToFloat64(w.counts.unavailable))
		shut := lines.FilterMessageSnippet("fetching stops").All()
		require.Len(t, shut, 1)
		require.Equal(t, zapcore.ErrorLevel, shut[0].Level)
		require.Equal(t, "correct the password", shut[0].ContextMap()["remedy"])
		require.Equal(t, "mail", shut[0].ContextMap()["gateway"])
		require.Equal(t, 1, lines.FilterMessageSnippet("fetching goes on").Len())
	})
}

// However long a gateway refuses us and whatever expires meanwhile, no job is left behind a paused partition.
func TestNothingIsStrandedBehindTheGate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lasts := time.Duration(rapid.IntRange(0, 300).Draw(rt, "outage")) * time.Second
		partitions := rapid.IntRange(1, 4).Draw(rt, "partitions")
		lives := rapid.SliceOfN(rapid.IntRange(1, 400), 1, 40).Draw(rt, "lives")
		var o *outage
		var l *lane
		var done bool
		synctest.Test(t, func(*testing.T) {
			o = &outage{until: time.Now().Add(lasts)}
			all := backlog(len(lives), partitions)
			for i, r := range all {
				r.Timestamp = time.Now().Add(time.Duration(lives[i])*time.Second - 24*time.Hour)
			}
			l = newLane(all)
			done = l.run(worker(sendFunc(o.send), nil))
		})
		require.True(rt, done, "records are left that nobody would start")
		require.LessOrEqual(rt, o.refused, 1+int(lasts/probeEvery))
		for r, res := range l.ended {
			require.Empty(rt, res.Follow)
			if life := r.Timestamp.Add(24 * time.Hour); life.After(o.until.Add(probeEvery + 2*waitFor)) {
				require.Equal(rt, notify.StateSent, eventOf(rt, res).State)
			}
		}
	})
}

func TestOnlyAProbeOpensTheGate(t *testing.T) {
	now := time.Now()
	g := worker(nil, nil).gate
	early, _ := g.enter(now) // in flight before the trouble began
	other, _ := g.enter(now)
	require.True(t, g.refused(other, now))
	require.False(t, g.refused(early, now), "logged once")
	require.False(t, g.served(early), "a connection from better times proves nothing")
	_, open := g.enter(now.Add(probeEvery - 1))
	require.False(t, open)

	probe, open := g.enter(now.Add(probeEvery))
	require.True(t, open)
	_, second := g.enter(now.Add(probeEvery))
	require.False(t, second, "one probe at a time")
	require.True(t, g.served(probe))
	require.False(t, g.served(probe))
	_, open = g.enter(now.Add(probeEvery))
	require.True(t, open)
	require.False(t, g.refused(other, now), "a refusal from before the opening is stale")
}

func TestATransientProbeLeavesTheGateShutAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		e, _ := finish(t, worker(&answers{script: []error{unavailable, transient, nil}}, nil), record(mail))
		require.Equal(t, "unavailable transient accepted", verdicts(e))
		require.Equal(t, 2, e.Attempt)
		require.InDelta(t, 60, time.Since(began).Seconds(), 2, "the next try is the next probe")
	})
}

// resumed counts.
type resumed struct{ n int }

func (r *resumed) Resume() { r.n++ }

func TestAPartitionPausedTooLateIsResumedAtOnce(t *testing.T) {
	now := time.Now()
	g := worker(nil, nil).gate
	p, _ := g.enter(now)
	g.refused(p, now)
	probe, _ := g.enter(now.Add(probeEvery))
	c := &resumed{}
	g.hold(partition{"t", 1}, func() claim {
		g.served(probe) // between the pause and the gate's taking note of it
		return c
	})
	require.Equal(t, 1, c.n)
	require.Empty(t, g.paused)
}

func TestManyAttemptsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		o := &outage{until: time.Now().Add(3 * time.Minute)}
		held := map[int32]int{}
		w := worker(sendFunc(func(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			return o.send(ctx, m)
		}), nil)
		w.pause = func(a *kafka.Attempt) claim {
			mu.Lock()
			defer mu.Unlock()
			held[a.Partition]++
			return &resumed{}
		}
		var all sync.WaitGroup
		for _, r := range backlog(64, 4) {
			all.Go(func() {
				e, res := finish(t, w, r)
				require.Equal(t, notify.StateSent, e.State)
				require.Empty(t, res.Follow)
			})
		}
		all.Wait()
		require.Equal(t, 64, o.taken)
		require.Equal(t, 64+3*60/30-1, o.refused, "those in flight at first, then one every 30 s")
		require.Len(t, held, 4)
		require.Empty(t, w.gate.paused)
	})
}
