package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// lane plays a runner for records of several partitions. It starts a record while its partition is not paused, and calls it
// again when it asks for that. One call runs at a time; time passes when there is nothing to do.
type lane struct {
	queued []*kafka.Record
	called map[*kafka.Record]kafka.Result // waiting to be called again
	held   map[int32]bool
	ended  map[*kafka.Record]kafka.Result
	most   int // how many waited at once
}

func newLane(records []*kafka.Record) *lane {
	return &lane{queued: records, called: map[*kafka.Record]kafka.Result{}, held: map[int32]bool{}, ended: map[*kafka.Record]kafka.Result{}}
}

func (l *lane) attempt(r *kafka.Record) *kafka.Attempt {
	return &kafka.Attempt{Record: r, Carry: l.called[r].Carry, Played: &kafka.Played{
		Pause:  func() { l.held[r.Partition] = true },
		Resume: func() { delete(l.held, r.Partition) },
	}}
}

// run works until every record has ended; it returns false if records are left that would never be started.
func (l *lane) run(w *Worker) bool {
	for len(l.queued)+len(l.called) > 0 {
		due, soonest := l.next()
		switch {
		case due != nil:
			res := w.Handle(context.Background(), l.attempt(due))
			delete(l.called, due)
			if res.Again.IsZero() {
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

// next returns a record that may be started now, or the record that is called again next.
func (l *lane) next() (due, soonest *kafka.Record) {
	for r, res := range l.called {
		if soonest == nil || res.Again.Before(l.called[soonest].Again) {
			soonest = r
		}
	}
	if soonest != nil && !l.called[soonest].Again.After(time.Now()) {
		return soonest, nil
	}
	for i, r := range l.queued {
		if !l.held[r.Partition] {
			l.queued = append(l.queued[:i:i], l.queued[i+1:]...)
			return r, nil
		}
	}
	return nil, soonest
}

// backlog returns n records, spread over the partitions.
func backlog(n, partitions int) []*kafka.Record {
	all := make([]*kafka.Record, n)
	for i := range all {
		all[i] = record(strings.Replace(mail, someID, fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i), 1))
		all[i].Partition, all[i].Offset = int32(i%partitions), int64(i/partitions)
	}
	return all
}

// outage is a gateway that fails with one error until a time, and counts its calls.
type outage struct {
	failure        error
	until          time.Time
	refused, taken int
}

func (o *outage) send(context.Context, *notify.Message) (notify.Receipt, error) {
	if time.Now().Before(o.until) {
		o.refused++
		return notify.Receipt{}, o.failure
	}
	o.taken++
	return notify.Receipt{}, nil
}

func TestPausedPartitions_UnavailableGatewayStopsFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zapcore.DebugLevel)
		began := time.Now()
		o := &outage{failure: unavailable, until: began.Add(5 * time.Minute)}
		w := newWorker(sendFunc(o.send), func(c *Config) { c.Log = zap.New(core) })
		l := newLane(backlog(2_000, 12))
		require.True(t, l.run(w))

		require.Equal(t, 2_000, o.taken)
		require.Len(t, l.ended, 2_000)
		for _, res := range l.ended {
			require.Empty(t, res.Follow)
			require.Equal(t, 1, eventOf(t, res).Attempt)
		}
		require.InDelta(t, 5*60/10, o.refused, 2, "the first, and a probe every 10 s")
		require.Equal(t, 12, l.most, "one job of each partition waits in place")
		require.InDelta(t, 5*60, time.Since(began).Seconds(), 11)
		require.Empty(t, w.paused.all)

		shut := lines.FilterMessageSnippet("refuses us").All()
		require.Len(t, shut, 1, "said once")
		require.Equal(t, zapcore.ErrorLevel, shut[0].Level)
		require.Equal(t, "correct the password", shut[0].ContextMap()["remedy"])
		require.Equal(t, "mail", shut[0].ContextMap()["gateway"])
		require.Equal(t, 1, lines.FilterMessage("the gateway serves us again").Len())
	})
}

// Failures in a row show that the gateway is out of order, and then no failure is about a message.
func TestPausedPartitions_FailuresInARowStopFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o := &outage{failure: transient, until: began.Add(2 * time.Minute)}
		w := newWorker(sendFunc(o.send), nil)
		l := newLane(backlog(200, 3))
		require.True(t, l.run(w))

		retrying := 0
		for _, res := range l.ended {
			e := eventOf(t, res)
			if e.State == notify.StateRetrying {
				retrying++
				require.Equal(t, "transient", verdictsOf(e))
				continue
			}
			require.Equal(t, notify.StateSent, e.State)
			require.Equal(t, 1, e.Attempt, "what failed while the breaker was open counts nothing: %s", verdictsOf(e))
		}
		require.Equal(t, 14, retrying, "the fifteenth opened it")
		require.Equal(t, 200-14, o.taken)
		require.Less(t, o.refused, 15+2*60/10+5, "a probe now and then")
		require.Equal(t, 3, l.most, "one job of each partition waits in place")
		require.InDelta(t, 2*60, time.Since(began).Seconds(), 11)
		require.Equal(t, gateway.BreakerClosed, w.cfg.Route.Outlets[0].Breaker.State())
	})
}

func TestPausedPartitions_OtherGatewayKeepsFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, o := time.Now(), &outage{failure: unavailable, until: time.Now().Add(time.Hour)}
		b := scripted(nil)
		w := newWorker(nil, func(c *Config) { c.Route = &Route{Outlets: []*Outlet{outlet("a", sendFunc(o.send)), outlet("b", b)}} })
		l := newLane(backlog(500, 4))
		require.True(t, l.run(w))
		require.Len(t, b.received, 500)
		require.Equal(t, 1, o.refused)
		require.Zero(t, l.most)
		require.Zero(t, time.Since(began))
	})
}

// However long a gateway fails and whichever jobs expire meanwhile, no job is left behind a paused partition.
func TestPausedPartitions_NoJobIsStranded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lasts := time.Duration(rapid.IntRange(0, 300).Draw(rt, "outage")) * time.Second
		answers := rapid.SampledFrom([]error{unavailable, transient}).Draw(rt, "says")
		partitions := rapid.IntRange(1, 4).Draw(rt, "partitions")
		lives := rapid.SliceOfN(rapid.IntRange(1, 400), 1, 40).Draw(rt, "lives")
		var o *outage
		var l *lane
		var w *Worker
		var done bool
		synctest.Test(t, func(*testing.T) {
			o = &outage{failure: answers, until: time.Now().Add(lasts)}
			all := backlog(len(lives), partitions)
			for i, r := range all {
				r.Timestamp = time.Now().Add(time.Duration(lives[i])*time.Second - 24*time.Hour)
			}
			l, w = newLane(all), newWorker(sendFunc(o.send), nil)
			done = l.run(w)
		})
		require.True(rt, done, "records are left that nobody would start")
		require.Empty(rt, l.held)
		require.Empty(rt, w.paused.all)
		require.LessOrEqual(rt, o.refused, 15+5+int(lasts/(10*time.Second)))
		for r, res := range l.ended {
			e := eventOf(rt, res)
			if e.State == notify.StateRetrying {
				require.Equal(rt, transient, answers)
				continue
			}
			if life := r.Timestamp.Add(24 * time.Hour); life.After(o.until.Add(12 * time.Second)) {
				require.Equal(rt, notify.StateSent, e.State)
			}
		}
	})
}
