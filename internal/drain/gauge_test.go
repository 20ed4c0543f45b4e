package drain

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// works is a Kafka whose lanes get and do so many jobs a second, on the clock of the test's bubble.
type works struct {
	mu     sync.Mutex
	lanes  map[string]*work
	err    error
	closed bool
}

type work struct {
	left, done float64
	gets, does float64 // a second
	at         time.Time
	came       []arrival
}

// arrival is how many had come by a time.
type arrival struct {
	n  float64
	at time.Time
}

// passes lets the time up to now pass.
func (w *work) passes(now time.Time) {
	s := now.Sub(w.at).Seconds()
	w.at = now
	can := min(w.left+w.gets*s, w.does*s)
	w.left, w.done = w.left+w.gets*s-can, w.done+can
	w.came = append(w.came, arrival{w.left + w.done, now})
}

// oldest is when what is to be done next has come.
func (w *work) oldest() time.Time {
	for _, a := range w.came {
		if a.n > w.done+0.5 {
			return a.at
		}
	}
	return time.Time{}
}

func (w *works) Measure(topics []kafka.Watched) (map[string]kafka.Depth, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	depths := map[string]kafka.Depth{}
	for _, t := range topics {
		if lane := w.lanes[t.Topic]; lane != nil {
			lane.passes(time.Now())
			depths[t.Topic] = kafka.Depth{Left: int64(lane.left + 0.5), Done: int64(lane.done), Oldest: lane.oldest()}
		}
	}
	return depths, nil
}

func (w *works) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// set changes what a lane gets and does from now on.
func (w *works) set(topic string, gets, does float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lane := w.lanes[topic]
	lane.passes(time.Now())
	lane.gets, lane.does = gets, does
}

// gauged runs f beside a gauge.
func gauged(t *testing.T, limit time.Duration, paused func(notify.Channel, notify.Lane) bool, f func(g *Gauge, w *works)) {
	synctest.Test(t, func(t *testing.T) {
		w := &works{lanes: map[string]*work{}}
		for _, topic := range []string{"urgent", "normal", "bulk", "5s", "30s"} {
			w.lanes[topic] = &work{at: time.Now()}
		}
		g := New(Config{
			Lanes: []Lane{
				{notify.ChannelEmail, notify.LaneUrgent, "urgent", "g.urgent"},
				{notify.ChannelEmail, notify.LaneNormal, "normal", "g.normal"},
				{notify.ChannelEmail, notify.LaneBulk, "bulk", "g.bulk"},
			},
			Tiers: []Tier{{notify.ChannelEmail, "5s", "5s", "g.delay"}, {notify.ChannelEmail, "30s", "30s", "g.delay"}},
			Meter: w, Paused: paused, ShedBulkAfter: limit, Log: zap.NewNop(),
		})
		_, ok := g.Of(notify.ChannelEmail, notify.LaneBulk)
		require.False(t, ok, "nothing was measured yet")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		synctest.Wait()
		f(g, w)
		cancel()
		require.NoError(t, <-ended)
		synctest.Wait()
		require.True(t, w.closed)
	})
}

// after lets a time pass, and what happens in it happen.
func after(d time.Duration) {
	time.Sleep(d + time.Millisecond)
	synctest.Wait()
}

func (g *Gauge) bulk(t *testing.T) notify.Drain {
	t.Helper()
	d, ok := g.Of(notify.ChannelEmail, notify.LaneBulk)
	require.True(t, ok)
	return d
}

func TestADrainIsWhatIsLeftByWhatIsDone(t *testing.T) {
	gauged(t, 0, nil, func(g *Gauge, w *works) {
		d := g.bulk(t)
		require.Equal(t, notify.Drain{DrainSeconds: new(float64)}, d, "nothing to do takes no time")
		after(time.Hour)
		w.set("bulk", 1000, 100)
		after(10 * time.Second)
		w.set("bulk", 0, 100)
		after(10 * time.Second)
		d = g.bulk(t)
		require.InDelta(t, 8000, d.Backlog, 500)
		require.InDelta(t, float64(d.Backlog)/100, *d.DrainSeconds, 2, "however long it was idle before")
		require.InDelta(t, 18, *d.OldestSeconds, 3)
		require.Less(t, d.Rate, 100.0, "that is of the last half minute or so")
		require.Greater(t, d.Rate, 20.0)
		after(5 * time.Minute)
		d = g.bulk(t)
		require.Zero(t, d.Backlog)
		require.Nil(t, d.OldestSeconds)
		require.Zero(t, *d.DrainSeconds)
		require.Less(t, d.Rate, 1.0)
		require.Nil(t, g.Refuse(notify.ChannelEmail, notify.LaneBulk), "shedding is off")
	})
}

func TestWhatNobodyDoesHasNoEnd(t *testing.T) {
	gauged(t, 0, nil, func(g *Gauge, w *works) {
		w.set("bulk", 100, 0)
		after(20 * time.Second)
		require.Nil(t, g.bulk(t).DrainSeconds, "no worker was ever there")
		w.set("bulk", 0, 50)
		after(20 * time.Second)
		require.NotNil(t, g.bulk(t).DrainSeconds)
		w.set("bulk", 0, 0)
		after(patience + 5*time.Second)
		require.Nil(t, g.bulk(t).DrainSeconds, "and then they have gone")
	})
}

func TestStats(t *testing.T) {
	paused := func(_ notify.Channel, lane notify.Lane) bool { return lane == notify.LaneNormal }
	gauged(t, time.Minute, paused, func(g *Gauge, w *works) {
		w.set("urgent", 10, 5)
		w.set("bulk", 10, 1)
		w.set("5s", 1, 0)
		w.set("30s", 2, 0)
		after(100 * time.Second)
		s := g.Stats()
		require.False(t, s.Stale)
		require.WithinDuration(t, time.Now(), s.At, every+time.Second)
		require.Len(t, s.Channels, 1)
		c := s.Channels[0]
		require.Equal(t, notify.ChannelEmail, c.Channel)
		require.Equal(t, []notify.TierWait{{Tier: "5s", Jobs: 100}, {Tier: "30s", Jobs: 200}}, c.Waiting)
		require.EqualValues(t, 300, s.Waiting)
		require.Equal(t, []notify.Lane{notify.LaneUrgent, notify.LaneNormal, notify.LaneBulk}, []notify.Lane{c.Lanes[0].Lane, c.Lanes[1].Lane, c.Lanes[2].Lane})
		require.Equal(t, []bool{false, true, false}, []bool{c.Lanes[0].Paused, c.Lanes[1].Paused, c.Lanes[2].Paused})
		require.Equal(t, []bool{false, false, true}, []bool{c.Lanes[0].Shedding, c.Lanes[1].Shedding, c.Lanes[2].Shedding})
		require.Equal(t, c.Lanes[0].Backlog+c.Lanes[2].Backlog, s.Backlog)
		require.InDelta(t, 6, s.Rate, 0.5)
	})
}

// Figures stand while Kafka is away, and then mean nothing; what follows is measured anew.
func TestWhileKafkaIsAwayFiguresGrowOldAndThenMeanNothing(t *testing.T) {
	gauged(t, time.Minute, nil, func(g *Gauge, w *works) {
		w.set("bulk", 100, 1)
		after(20 * time.Second)
		require.NotNil(t, g.Refuse(notify.ChannelEmail, notify.LaneBulk))
		w.mu.Lock()
		w.err = errors.New("away")
		w.mu.Unlock()
		at := g.Stats().At
		after(20 * time.Second)
		require.Equal(t, at, g.Stats().At)
		require.False(t, g.Stats().Stale)
		require.NotZero(t, g.bulk(t).Backlog)
		after(20 * time.Second)
		_, ok := g.Of(notify.ChannelEmail, notify.LaneBulk)
		require.False(t, ok)
		require.True(t, g.Stats().Stale)
		require.Nil(t, g.Refuse(notify.ChannelEmail, notify.LaneBulk), "nobody is refused for the sake of what is not known")
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		after(every)
		require.False(t, g.Stats().Stale)
	})
}

// A quiet time says nothing of what a lane can.
func TestARateIsThatOfBusyTimes(t *testing.T) {
	m := meter{}
	for range 60 {
		m.add(200, every, true, true)
	}
	for range 1800 {
		m.add(0, every, false, false)
	}
	m.add(0, every, true, true) // what is in hand takes a while
	takes, ok := m.drain(1000)
	require.True(t, ok)
	require.InDelta(t, 10.7, takes.Seconds(), 0.2)
	require.InDelta(t, 0, m.rate(), 0.01)
	m.add(-5, every, true, true)
	require.GreaterOrEqual(t, m.rate(), 0.0, "somebody has set the offset back")
}
