package dispatcher

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// waiting is a job on a tier since now, due in d.
func waiting(tier string, d time.Duration, more ...kafka.Header) *kafka.Record {
	r := record(append([]kafka.Header{
		header("ls-id", id), header("ls-lane", "bulk"), header("ls-home", "11"), header("ls-not-before", stamp(time.Now().Add(d))),
	}, more...)...)
	r.Topic, r.Partition, r.Timestamp = "acme.email_topic.delay."+tier, 2, time.Now()
	return r
}

// ride takes r through the ladder until it is on a lane, and gives the topics that it was on. In a synctest bubble only.
func ride(t require.TestingT, m *Mover, r *kafka.Record) (all []string, last kafka.Message) {
	for range 1000 {
		all = append(all, r.Topic)
		res := m.Handle(nil, &kafka.Attempt{Record: r}) //nolint:staticcheck // it has no use for a ctx
		if !res.Again.IsZero() {
			all = all[:len(all)-1]
			time.Sleep(time.Until(res.Again))
			continue
		}
		require.Len(t, res.Follow, 1)
		require.Nil(t, res.Outcome, "a job that moves has not changed its state")
		last = res.Follow[0]
		if !strings.Contains(last.Topic, delays) {
			return all, last
		}
		r = &kafka.Record{
			Topic: last.Topic, Partition: last.Partition % 3, Timestamp: time.Now(), Key: last.Key, Value: last.Value, Headers: last.Headers,
		}
	}
	require.Fail(t, "it does not arrive")
	return nil, last
}

func mover() *Mover { return &Mover{Topics: topics(), Channel: notify.ChannelEmail} }

// TestTheLadder: which tiers a job takes, and that it comes home when it is due, unchanged.
func TestTheLadder(t *testing.T) {
	for _, c := range []struct {
		in    time.Duration
		tiers string
	}{
		{0, "5s"},
		{time.Second, "5s"},
		{5 * time.Second, "5s"},
		{12 * time.Second, "5s"},
		{30 * time.Second, "30s"},
		{100 * time.Second, "30s 30s 30s 5s"},
		{4 * time.Minute, "3m 30s 30s"},
		{time.Hour + time.Second, "20m 20m 20m 5s"},
		{14*time.Hour + 25*time.Minute, "12h 2h 20m 3m 30s 30s 30s 30s"},
		{30 * 24 * time.Hour, strings.TrimSpace(strings.Repeat("72h ", 10))},
	} {
		t.Run(c.in.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				due := time.Now().Add(c.in)
				r := waiting(TierName(DefaultTiers().For(c.in)), c.in)
				all, home := ride(t, mover(), r)
				for i, topic := range all {
					all[i] = strings.TrimPrefix(topic, "acme.email_topic.delay.")
				}
				require.Equal(t, c.tiers, strings.Join(all, " "))
				require.True(t, time.Now().Equal(due), "to the moment")
				require.Equal(t, kafka.Message{
					Topic: "acme.email_topic.bulk", Partition: 11, Key: r.Key, Value: r.Value, Headers: r.Headers,
				}, home)
			})
		})
	}
}

// However long it waits, wherever it begins and however late its movers are: never early, and not later than they are.
func TestTheLadderIsNeverEarly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := time.Duration(rapid.Int64Range(0, int64(40*time.Hour)).Draw(rt, "due"))
		begins := rapid.SampledFrom(DefaultTiers()).Draw(rt, "tier") // also one that is too long or too short
		skew := time.Duration(rapid.Int64Range(-int64(time.Minute), int64(time.Minute)).Draw(rt, "the broker's clock"))
		var late time.Duration
		synctest.Test(t, func(*testing.T) {
			due := time.Now().Add(in)
			r := waiting(TierName(begins), in)
			r.Timestamp = r.Timestamp.Add(skew)
			ride(rt, mover(), r)
			late = time.Since(due)
		})
		require.Zero(rt, late)
	})
}

func TestACancelledJobGoesHomeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, began, cancelled := mover(), time.Now(), false
		m.Cancelled = func(of string) bool { return cancelled && of == id }
		r := waiting("12h", 72*time.Hour)
		res := m.Handle(t.Context(), &kafka.Attempt{Record: r})
		require.Equal(t, 12*time.Hour, time.Until(res.Again))
		cancelled = true
		all, home := ride(t, m, r)
		require.Len(t, all, 1)
		require.Equal(t, "acme.email_topic.bulk", home.Topic)
		require.Zero(t, time.Since(began))

		r.Headers[0].Value = []byte("another")
		require.False(t, m.Handle(t.Context(), &kafka.Attempt{Record: r}).Again.IsZero())
	})
}

// Bad headers never delay or crash anything: the job goes home, and its worker judges.
func TestBadHeadersOnTheLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := []string{"", "x", "\xff", "-1", "99999999999999999999", strings.Repeat("9", 5000), "9999-12-31T23:59:59Z"}
		for _, name := range []string{"ls-not-before", "ls-lane", "ls-home", "ls-id", "ls-step", "ls-run"} {
			for _, value := range bad {
				began := time.Now()
				_, home := ride(t, mover(), waiting("5s", time.Second, header(name, value)))
				require.LessOrEqual(t, time.Since(began), time.Second, name)
				want := "acme.email_topic.bulk"
				if name == "ls-lane" {
					want = "acme.email_topic"
				}
				require.Equal(t, want, home.Topic, "%s: %q", name, value)
				if name == "ls-home" {
					require.Equal(t, int32(2), home.Partition)
				} else {
					require.Equal(t, int32(11), home.Partition)
				}
			}
		}
		r := waiting("5s", time.Second)
		r.Headers, r.Value, r.Key = nil, nil, nil
		_, home := ride(t, mover(), r)
		require.Equal(t, "acme.email_topic", home.Topic)
	})
}

func TestMoverIdentifiesByTheHeader(t *testing.T) {
	require.Equal(t, id, mover().Identify(record(header("ls-id", id))))
	require.Empty(t, mover().Identify(record()))
}

// In the shortest tier a job waits until it is due, however long it has been there; only in a full window it makes room.
func TestMover_ShortestTierHoldsJobsUntilTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crowded := false
		r := waiting("5s", 29*time.Second)
		a := &kafka.Attempt{Record: r, Played: &kafka.Played{Crowded: func() bool { return crowded }}}
		require.Equal(t, 29*time.Second, time.Until(mover().Handle(t.Context(), a).Again))
		time.Sleep(20 * time.Second)
		require.Equal(t, 9*time.Second, time.Until(mover().Handle(t.Context(), a).Again))
		crowded = true
		res := mover().Handle(t.Context(), a)
		require.Equal(t, "acme.email_topic.delay.5s", res.Follow[0].Topic)
		time.Sleep(9 * time.Second)
		require.Equal(t, "acme.email_topic.bulk", mover().Handle(t.Context(), a).Follow[0].Topic)
	})
}

// A job of lane urgent that an older version has put on a shared tier moves to lane urgent's own.
func TestMover_UrgentJobLeavesTheSharedTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := time.Now().Add(20 * time.Second)
		all, home := ride(t, mover(), waiting("5s", 20*time.Second, header("ls-lane", "urgent")))
		require.Equal(t, []string{"acme.email_topic.delay.5s", "acme.email_topic.urgent.delay.5s"}, all)
		require.Equal(t, "acme.email_topic.urgent", home.Topic)
		require.True(t, time.Now().Equal(due))

		all, _ = ride(t, mover(), waiting("3m", 4*time.Minute, header("ls-lane", "urgent")))
		require.Equal(t, "acme.email_topic.delay.3m acme.email_topic.urgent.delay.30s acme.email_topic.urgent.delay.30s", strings.Join(all, " "))
	})
}

// A tier that is no longer configured is drained: its jobs go on to the tiers that are.
func TestMover_DrainsATierThatIsNoLongerConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := time.Now().Add(20 * time.Minute)
		all, _ := ride(t, mover(), waiting("7m30s", 20*time.Minute))
		require.Equal(t, "acme.email_topic.delay.7m30s acme.email_topic.delay.3m acme.email_topic.delay.3m acme.email_topic.delay.3m acme.email_topic.delay.3m acme.email_topic.delay.30s",
			strings.Join(all, " "))
		require.True(t, time.Now().Equal(due))
	})
}
