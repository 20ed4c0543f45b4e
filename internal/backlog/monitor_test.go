package backlog

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

// fakeMeter simulates lanes that receive and process jobs at fixed rates, on the clock of the test's synctest bubble.
type fakeMeter struct {
	mu     sync.Mutex
	lanes  map[string]*simulatedLane
	err    error
	closed bool
}

// simulatedLane is one lane. Its rates are in jobs per second.
type simulatedLane struct {
	left, done           float64
	arriving, processing float64 // jobs per second
	at                   time.Time
	arrivals             []arrival
}

// arrival is the total number of jobs that had arrived by a time.
type arrival struct {
	n  float64
	at time.Time
}

// advance simulates the time up to now.
func (w *simulatedLane) advance(now time.Time) {
	s := now.Sub(w.at).Seconds()
	w.at = now
	n := min(w.left+w.arriving*s, w.processing*s)
	w.left, w.done = w.left+w.arriving*s-n, w.done+n
	w.arrivals = append(w.arrivals, arrival{w.left + w.done, now})
}

// oldest returns the arrival time of the next job to be processed.
func (w *simulatedLane) oldest() time.Time {
	for _, a := range w.arrivals {
		if a.n > w.done+0.5 {
			return a.at
		}
	}
	return time.Time{}
}

func (w *fakeMeter) Measure(topics []kafka.Watched) (map[string]kafka.Depth, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	depths := map[string]kafka.Depth{}
	for _, t := range topics {
		if lane := w.lanes[t.Topic]; lane != nil {
			lane.advance(time.Now())
			depths[t.Topic] = kafka.Depth{Left: int64(lane.left + 0.5), Done: int64(lane.done), Oldest: lane.oldest()}
		}
	}
	return depths, nil
}

func (w *fakeMeter) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// set changes the rates of a lane from now on.
func (w *fakeMeter) set(topic string, arriving, processing float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lane := w.lanes[topic]
	lane.advance(time.Now())
	lane.arriving, lane.processing = arriving, processing
}

// withMonitor calls f while a monitor runs.
func withMonitor(t *testing.T, limit time.Duration, paused func(notify.Channel, notify.Lane) bool, f func(m *Monitor, w *fakeMeter)) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeMeter{lanes: map[string]*simulatedLane{}}
		for _, topic := range []string{"urgent", "normal", "bulk", "5s", "30s"} {
			w.lanes[topic] = &simulatedLane{at: time.Now()}
		}
		m := New(Config{
			Lanes: []Lane{
				{notify.ChannelEmail, notify.LaneUrgent, "urgent", "g.urgent"},
				{notify.ChannelEmail, notify.LaneNormal, "normal", "g.normal"},
				{notify.ChannelEmail, notify.LaneBulk, "bulk", "m.bulk"},
			},
			Tiers: []Tier{{notify.ChannelEmail, "5s", "5s", "g.delay"}, {notify.ChannelEmail, "30s", "30s", "g.delay"}},
			Meter: w, Paused: paused, ShedBulkAfter: limit, Log: zap.NewNop(),
		})
		_, ok := m.Of(notify.ChannelEmail, notify.LaneBulk)
		require.False(t, ok, "nothing was laneState yet")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		synctest.Wait()
		f(m, w)
		cancel()
		require.NoError(t, <-ended)
		synctest.Wait()
		require.True(t, w.closed)
	})
}

// after sleeps for d and waits until the other goroutines of the bubble are blocked.
func after(d time.Duration) {
	time.Sleep(d + time.Millisecond)
	synctest.Wait()
}

func (m *Monitor) bulk(t *testing.T) notify.Drain {
	t.Helper()
	d, ok := m.Of(notify.ChannelEmail, notify.LaneBulk)
	require.True(t, ok)
	return d
}

func TestMonitor_DrainTimeIsBacklogByRate(t *testing.T) {
	withMonitor(t, 0, nil, func(m *Monitor, w *fakeMeter) {
		d := m.bulk(t)
		require.Equal(t, notify.Drain{DrainSeconds: new(float64)}, d, "nothing to do takes no time")
		after(time.Hour)
		w.set("bulk", 1000, 100)
		after(10 * time.Second)
		w.set("bulk", 0, 100)
		after(10 * time.Second)
		d = m.bulk(t)
		require.InDelta(t, 8000, d.Backlog, 500)
		require.InDelta(t, float64(d.Backlog)/100, *d.DrainSeconds, 2, "however long it was idle before")
		require.InDelta(t, 18, *d.OldestSeconds, 3)
		require.Less(t, d.Rate, 100.0, "the rate covers about the last half minute")
		require.Greater(t, d.Rate, 20.0)
		after(5 * time.Minute)
		d = m.bulk(t)
		require.Zero(t, d.Backlog)
		require.Nil(t, d.OldestSeconds)
		require.Zero(t, *d.DrainSeconds)
		require.Less(t, d.Rate, 1.0)
		require.Nil(t, m.Refuse(notify.ChannelEmail, notify.LaneBulk), "shedding is off")
	})
}

func TestMonitor_DrainTimeIsUnknownWithoutWorkers(t *testing.T) {
	withMonitor(t, 0, nil, func(m *Monitor, w *fakeMeter) {
		w.set("bulk", 100, 0)
		after(20 * time.Second)
		require.Nil(t, m.bulk(t).DrainSeconds, "no worker was ever there")
		w.set("bulk", 0, 50)
		after(20 * time.Second)
		require.NotNil(t, m.bulk(t).DrainSeconds)
		w.set("bulk", 0, 0)
		after(idleLimit + 5*time.Second)
		require.Nil(t, m.bulk(t).DrainSeconds, "and then they have gone")
	})
}

func TestMonitor_Stats(t *testing.T) {
	paused := func(_ notify.Channel, lane notify.Lane) bool { return lane == notify.LaneNormal }
	withMonitor(t, time.Minute, paused, func(m *Monitor, w *fakeMeter) {
		w.set("urgent", 10, 5)
		w.set("bulk", 10, 1)
		w.set("5s", 1, 0)
		w.set("30s", 2, 0)
		after(100 * time.Second)
		s := m.Stats()
		require.False(t, s.Stale)
		require.WithinDuration(t, time.Now(), s.At, measureEvery+time.Second)
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

// While Kafka is unavailable, the figures stay valid for a while and then count as unknown. The next measurement makes them
// valid again.
func TestMonitor_FiguresBecomeStaleWhileKafkaIsUnavailable(t *testing.T) {
	withMonitor(t, time.Minute, nil, func(m *Monitor, w *fakeMeter) {
		w.set("bulk", 100, 1)
		after(20 * time.Second)
		require.NotNil(t, m.Refuse(notify.ChannelEmail, notify.LaneBulk))
		w.mu.Lock()
		w.err = errors.New("away")
		w.mu.Unlock()
		at := m.Stats().At
		after(20 * time.Second)
		require.Equal(t, at, m.Stats().At)
		require.False(t, m.Stats().Stale)
		require.NotZero(t, m.bulk(t).Backlog)
		after(20 * time.Second)
		_, ok := m.Of(notify.ChannelEmail, notify.LaneBulk)
		require.False(t, ok)
		require.True(t, m.Stats().Stale)
		require.Nil(t, m.Refuse(notify.ChannelEmail, notify.LaneBulk), "no notification is refused because of unknown figures")
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		after(measureEvery)
		require.False(t, m.Stats().Stale)
	})
}

// An idle period says nothing about the capacity of a lane.
func TestThroughput_CapacityIsMeasuredInBusyPeriods(t *testing.T) {
	r := throughput{}
	for range 60 {
		r.add(200, measureEvery, true, true)
	}
	for range 1800 {
		r.add(0, measureEvery, false, false)
	}
	r.add(0, measureEvery, true, true) // the job in flight takes a while
	takes, ok := r.timeToDrain(1000)
	require.True(t, ok)
	require.InDelta(t, 10.7, takes.Seconds(), 0.2)
	require.InDelta(t, 0, r.rate(), 0.01)
	r.add(-5, measureEvery, true, true)
	require.GreaterOrEqual(t, r.rate(), 0.0, "an offset was set back by hand")
}
