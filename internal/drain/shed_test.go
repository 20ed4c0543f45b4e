package drain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestBulkIsShed(t *testing.T) {
	refused := func(g *Gauge) bool { return g.Refuse(notify.ChannelEmail, notify.LaneBulk) != nil }
	t.Run("when it takes too long, until it takes half", func(t *testing.T) {
		gauged(t, time.Minute, nil, func(g *Gauge, w *works) {
			w.set("bulk", 200, 100) // a second more of work each second
			after(50 * time.Second)
			require.False(t, refused(g))
			after(20 * time.Second)
			require.True(t, refused(g))
			require.Nil(t, g.Refuse(notify.ChannelEmail, notify.LaneNormal))
			require.Nil(t, g.Refuse(notify.ChannelEmail, notify.LaneUrgent))
			require.Nil(t, g.Refuse(notify.ChannelSMS, notify.LaneBulk), "another channel")
			wait := g.Refuse(notify.ChannelEmail, notify.LaneBulk).RetryAfter
			require.InDelta(t, 40, wait.Seconds(), 6, "until half is left")
			w.set("bulk", 0, 100)
			after(20 * time.Second)
			require.True(t, refused(g), "it is below the limit, and not yet below half of it")
			after(wait)
			require.False(t, refused(g))
		})
	})
	t.Run("when what is urgent waits for a tenth of it", func(t *testing.T) {
		gauged(t, time.Minute, nil, func(g *Gauge, w *works) {
			w.set("urgent", 1, 0)
			after(20 * time.Second)
			require.True(t, refused(g))
			w.set("urgent", 0, 100)
			after(10 * time.Second)
			require.False(t, refused(g))
		})
	})
	t.Run("when it waits for too long, though nobody works", func(t *testing.T) {
		gauged(t, time.Minute, nil, func(g *Gauge, w *works) {
			w.set("bulk", 1, 0)
			after(50 * time.Second)
			require.False(t, refused(g))
			after(30 * time.Second)
			require.True(t, refused(g))
			require.Equal(t, mostWait, g.Refuse(notify.ChannelEmail, notify.LaneBulk).RetryAfter)
		})
	})
	t.Run("not while it is paused", func(t *testing.T) {
		paused := func(_ notify.Channel, lane notify.Lane) bool { return lane == notify.LaneBulk }
		gauged(t, time.Minute, paused, func(g *Gauge, w *works) {
			w.set("bulk", 100, 0)
			after(time.Hour)
			require.False(t, refused(g))
		})
	})
	t.Run("not for a burst after a quiet time", func(t *testing.T) {
		gauged(t, time.Minute, nil, func(g *Gauge, w *works) {
			w.lanes["bulk"].left = 1 // in hand all the time
			w.set("bulk", 1, 1)
			after(10*time.Minute - 100*time.Millisecond)
			w.set("bulk", 40_000, 1000)
			for i := range 20 {
				after(time.Second)
				if i == 0 {
					w.set("bulk", 0, 1000)
				}
				require.False(t, refused(g), "it takes forty seconds, whatever the first measurement makes of it")
			}
		})
	})
}
