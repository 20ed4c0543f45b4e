package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestWorker_RepetitionNeedsRecentControlState: a call that may be a repetition waits until the state of the control topic is
// recent. The first attempt of a job does not wait.
func TestWorker_RepetitionNeedsRecentControlState(t *testing.T) {
	begun := func() bool { return true }
	for name, c := range map[string]struct {
		headers []string
		played  *kafka.Played
		order   Ordering
		waits   bool
	}{
		"the first attempt":                     {},
		"after a schedule or a throttled call":  {headers: []string{"ls-step", "3"}},
		"after an attempt":                      {headers: []string{"ls-step", "1", "ls-attempt", "1"}, waits: true},
		"an earlier owner may have made one":    {played: &kafka.Played{MayRepeat: begun}, waits: true},
		"one in its place, perhaps by an owner": {order: OrderStrict, waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, s := time.Now(), scripted(nil)
				w := newWorker(s, func(cfg *Config) {
					cfg.Control, cfg.Ordering = &fakeControl{stale: began.Add(time.Minute + time.Millisecond)}, c.order
				})
				a := newAttempt(record(mail, c.headers...))
				a.Played = c.played
				e, _ := handleToEnd(t, w, a)
				require.Equal(t, notify.StateSent, e.State)
				if c.waits {
					require.Equal(t, time.Minute+controlRecheckEvery, time.Since(began))
				} else {
					require.Equal(t, began, time.Now())
				}
			})
		})
	}
}

// receiptMeanwhile is a control topic whose state is old after 100 ms, and which then gets the receipt.
type receiptMeanwhile struct {
	fakeControl
	began time.Time
}

func (c *receiptMeanwhile) AsOf() time.Time { return c.began.Add(100 * time.Millisecond) }

func (c *receiptMeanwhile) Settled(string, int) bool {
	return time.Since(c.began) > 900*time.Millisecond
}

// TestWorker_ReceiptDuringWaitEndsJob: a state that has become old while the job waited for its slot is not recent enough, and
// the receipt that arrived in between ends the job.
func TestWorker_ReceiptDuringWaitEndsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, slots := scripted(nil), limiter.New(limiter.Config{Concurrency: 1})
		w := newWorker(s, func(cfg *Config) {
			cfg.Control = &receiptMeanwhile{began: time.Now()}
			cfg.Route.Outlets[0].Limiter = slots
		})
		release, err := slots.Acquire(t.Context(), notify.LaneNormal, time.Second)
		require.NoError(t, err)
		time.AfterFunc(850*time.Millisecond, release)
		e, _ := handleToEnd(t, w, newAttempt(record(mail, "ls-step", "1", "ls-attempt", "1")))
		require.Equal(t, notify.StateDelivered, e.State)
		require.Empty(t, s.received)
	})
}
