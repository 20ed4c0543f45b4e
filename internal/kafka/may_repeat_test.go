package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// TestAttempt_MayRepeat: a job that an owner may have begun before it ended out of order says so. A job that came later does not,
// and neither does a job after an owner that left in order.
func TestAttempt_MayRepeat(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(1, 1)
	out := &muted{followed: make(chan struct{})}
	first := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		if a.MayRepeat() {
			t.Error("nobody had the job before")
		}
		return done(a)
	}}
	stop := f.run(first, func(rc *kafka.RunnerConfig) {
		out.Outbound = rc.Publisher
		rc.Publisher, rc.Drain = out, 10*time.Millisecond
	})
	<-out.followed
	stop()

	repeats := make(chan bool, 1)
	next := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		repeats <- a.MayRepeat()
		return done(a)
	}}
	stop = f.run(next, nil)
	require.True(t, <-repeats, "the first owner was killed before the outcome")
	f.fill(1, 1)
	require.False(t, <-repeats, "it came after the take-over")
	stop()
	f.fill(1, 1)
	f.run(next, nil)
	require.False(t, <-repeats, "the owner before left in order")
}
