package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestWorker_ARepetitionNeedsRecentKnowledge: a call that may be a repetition waits until the control topic is known as it is now.
// Every first attempt goes out at once.
func TestWorker_ARepetitionNeedsRecentKnowledge(t *testing.T) {
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
				began, s := time.Now(), says(nil)
				w := worker(s, func(cfg *Config) {
					cfg.Control, cfg.Ordering = &told{stale: began.Add(time.Minute + time.Millisecond)}, c.order
				})
				a := attempt(record(mail, c.headers...))
				a.Played = c.played
				e, _ := finish(t, w, a)
				require.Equal(t, notify.StateSent, e.State)
				if c.waits {
					require.Equal(t, time.Minute+informedEvery, time.Since(began))
				} else {
					require.Equal(t, began, time.Now())
				}
			})
		})
	}
}

// receiptMeanwhile is a control topic that is not known from a tenth of a second on, and that settles the run meanwhile.
type receiptMeanwhile struct {
	told
	began time.Time
}

func (c *receiptMeanwhile) AsOf() time.Time { return c.began.Add(100 * time.Millisecond) }

func (c *receiptMeanwhile) Settled(string, int) bool {
	return time.Since(c.began) > 900*time.Millisecond
}

// TestWorker_AReceiptDuringTheWaitEndsTheJob: knowledge that has become old while the job waited for its place is not enough, and
// the receipt that came meanwhile counts.
func TestWorker_AReceiptDuringTheWaitEndsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, places := says(nil), NewLimiter(LimiterConfig{Concurrency: 1})
		w := worker(s, func(cfg *Config) {
			cfg.Control = &receiptMeanwhile{began: time.Now()}
			cfg.Route.Outlets[0].Limiter = places
		})
		release, err := places.Acquire(t.Context(), notify.LaneNormal, time.Second)
		require.NoError(t, err)
		time.AfterFunc(850*time.Millisecond, release)
		e, _ := finish(t, w, attempt(record(mail, "ls-step", "1", "ls-attempt", "1")))
		require.Equal(t, notify.StateDelivered, e.State)
		require.Empty(t, s.got)
	})
}
