package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// The lookups of one attempt, with an empty state and with a large one.
func BenchmarkAttempt(b *testing.B) {
	much := New()
	apply := func(r Record) { much.Apply(r.Key, r.Value, time.Now()) }
	apply(Pause(notify.ChannelSMS, "").Record())
	for i := range 100_000 {
		apply(Suppress("default", notify.ChannelEmail, fmt.Sprintf("user%d@example.com", i)).Record())
		apply(Cancel(notify.NewID(), time.Now()).Record())
	}
	for name, s := range map[string]*State{"nothing": New(), "much": much} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if s.Paused(notify.ChannelEmail, notify.LaneNormal) || s.PausedGateway("mail") || s.Cancelled(ids[0]) ||
						s.Suppressed("default", notify.ChannelEmail, "ada@example.com") {
						b.Fail()
					}
				}
			})
		})
	}
}
