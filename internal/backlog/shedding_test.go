package backlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMonitor_ShedsBulk(t *testing.T) {
	refused := func(m *Monitor) bool { return m.Refuse(notify.ChannelEmail, notify.LaneBulk) != nil }
	t.Run("drain time over the limit, until it is below half", func(t *testing.T) {
		withMonitor(t, time.Minute, nil, func(m *Monitor, w *fakeMeter) {
			w.set("bulk", 200, 100) // a second more of work each second
			after(50 * time.Second)
			require.False(t, refused(m))
			after(20 * time.Second)
			require.True(t, refused(m))
			require.Nil(t, m.Refuse(notify.ChannelEmail, notify.LaneNormal))
			require.Nil(t, m.Refuse(notify.ChannelEmail, notify.LaneUrgent))
			require.Nil(t, m.Refuse(notify.ChannelSMS, notify.LaneBulk), "another channel")
			wait := m.Refuse(notify.ChannelEmail, notify.LaneBulk).RetryAfter
			require.InDelta(t, 40, wait.Seconds(), 6, "until half is left")
			w.set("bulk", 0, 100)
			after(20 * time.Second)
			require.True(t, refused(m), "the drain time is below the limit, but not yet below half of it")
			after(wait)
			require.False(t, refused(m))
		})
	})
	t.Run("urgent waits for a tenth of the limit", func(t *testing.T) {
		withMonitor(t, time.Minute, nil, func(m *Monitor, w *fakeMeter) {
			w.set("urgent", 1, 0)
			after(20 * time.Second)
			require.True(t, refused(m))
			w.set("urgent", 0, 100)
			after(10 * time.Second)
			require.False(t, refused(m))
		})
	})
	t.Run("oldest record over the limit, without workers", func(t *testing.T) {
		withMonitor(t, time.Minute, nil, func(m *Monitor, w *fakeMeter) {
			w.set("bulk", 1, 0)
			after(50 * time.Second)
			require.False(t, refused(m))
			after(30 * time.Second)
			require.True(t, refused(m))
			require.Equal(t, maxRetryAfter, m.Refuse(notify.ChannelEmail, notify.LaneBulk).RetryAfter)
		})
	})
	t.Run("not while the lane is paused", func(t *testing.T) {
		paused := func(_ notify.Channel, lane notify.Lane) bool { return lane == notify.LaneBulk }
		withMonitor(t, time.Minute, paused, func(m *Monitor, w *fakeMeter) {
			w.set("bulk", 100, 0)
			after(time.Hour)
			require.False(t, refused(m))
		})
	})
	t.Run("not for a burst after an idle period", func(t *testing.T) {
		withMonitor(t, time.Minute, nil, func(m *Monitor, w *fakeMeter) {
			w.lanes["bulk"].left = 1 // one job is always in flight
			w.set("bulk", 1, 1)
			after(10*time.Minute - 100*time.Millisecond)
			w.set("bulk", 40_000, 1000)
			for i := range 20 {
				after(time.Second)
				if i == 0 {
					w.set("bulk", 0, 1000)
				}
				require.False(t, refused(m), "the drain time is 40 s, whatever the first measurement suggests")
			}
		})
	})
}
