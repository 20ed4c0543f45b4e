package audit

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// gap publishes a gap of partition 0.
func (w *fixture) gap(topic string, from, to int64, done ...byte) {
	g := status.Gap{Log: status.Log{Topic: topic, ID: w.ids[topic]}, From: from, To: to, Done: done}
	w.write(ledger, 0, "")
	r := w.logs[ledger][0].records[len(w.logs[ledger][0].records)-1]
	r.Value, r.Headers = nil, g.Headers(workers)
}

// knows adds a notification that has not ended to the store, with the place of its record.
func (s *fakeStore) knows(w *fixture, id string, state notify.State, step int, topic string, offset int64) {
	o := status.Open{Life: notify.Life{
		ID: id, State: state, Step: step, Channel: notify.ChannelEmail, Lane: notify.LaneNormal, AcceptedAt: w.now,
	}}
	if topic != "" {
		o.Record = status.RecordPlace{Log: status.Log{Topic: topic, ID: w.ids[topic]}, Offset: offset, Step: step}
	}
	s.unended = append(s.unended, o)
	s.put(id, stage{0, uint32(step)}, state, false)
}

func (a audited) ranges(what FindingKind) (all []Range) {
	for _, f := range a.found {
		if f.What == what {
			all = append(all, *f.Range)
		}
	}
	return all
}

func (a audited) ids(what FindingKind) (all []string) {
	for _, f := range a.found {
		if f.What == what {
			all = append(all, f.ID)
		}
	}
	return all
}

// Records that were deleted before their group had processed them are a range of known size, however the range was found. The
// status store has the ids of their notifications.
func TestAudit_MissingRanges(t *testing.T) {
	ids := []string{notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID()}
	fill := func() (*fixture, *fakeStore) {
		w := newFixture(1)
		s := &fakeStore{standings: map[string]status.Standing{}, positions: w.read(0)}
		for i, id := range ids {
			w.job(lane, 0, id, start)
			if i != 1 {
				s.knows(w, id, notify.StateQueued, 0, lane, int64(i))
			}
		}
		w.outcome(0, ids[1], start, notify.StateSent)
		s.put(ids[1], start, notify.StateSent, true)
		return w, s
	}
	t.Run("observed", func(t *testing.T) {
		w, s := fill()
		w.done(lane, 0, 0, 1)
		w.forget(lane, 0, 4)
		a := w.audit(t)
		require.Equal(t, []Range{{Topic: lane, From: 0, To: 4, Count: 3, Cause: "observed"}}, a.ranges(FoundMissing))
		require.EqualValues(t, 3, a.MissingRecords)
		require.Zero(t, a.Unaccounted)
		require.EqualValues(t, 1, a.InFlight)
		a = w.audit(t, func(c *Config) { c.Store = s })
		require.Equal(t, map[string]Why{ids[0]: InGap, ids[2]: InGap, ids[3]: InGap}, a.unaccounted())
		require.EqualValues(t, 5, a.Notifications)
		require.Zero(t, *a.Differences)
	})
	t.Run("published", func(t *testing.T) {
		w, s := fill()
		w.gap(lane, 0, 4, 0b10)
		w.gap(lane, 0, 4)
		w.done(lane, 0, 4)
		w.forget(lane, 0, 4)
		a := w.audit(t, func(c *Config) { c.Store = s })
		require.Equal(t, []Range{{Topic: lane, From: 0, To: 4, Count: 3, Cause: "published"}}, a.ranges(FoundMissing))
		require.Equal(t, map[string]Why{ids[0]: InGap, ids[2]: InGap, ids[3]: InGap}, a.unaccounted())
		require.Equal(t, lane, a.found[len(a.found)-1].Where.Topic)

		for _, i := range []int{0, 2, 3} { // the reconciler ends them, and the store says the same
			w.write(ledger, 0, w.event(ids[i], start, notify.StateLost, ""))
			s.put(ids[i], start, notify.StateLost, false)
		}
		s.unended = s.unended[3:]
		a = w.audit(t, func(c *Config) { c.Store = s })
		require.EqualValues(t, 3, a.Lost)
		require.ElementsMatch(t, []string{ids[0], ids[2], ids[3]}, a.ids(FoundLost))
		require.Zero(t, a.Unaccounted)
		require.Zero(t, *a.Differences)

		w.outcome(0, ids[2], start, notify.StateSent) // a result that comes late
		s.put(ids[2], start, notify.StateSent, true)
		a = w.audit(t, func(c *Config) { c.Store = s })
		require.EqualValues(t, 2, a.Lost)
		require.EqualValues(t, 2, a.Ended[notify.StateSent])
	})
	t.Run("published and observed", func(t *testing.T) {
		w, _ := fill()
		w.gap(lane, 0, 2, 0b10)
		w.done(lane, 0, 0, 1)
		w.forget(lane, 0, 4)
		a := w.audit(t)
		require.EqualValues(t, 3, a.MissingRecords, "each counts once")
	})
	t.Run("the group has gone on meanwhile", func(t *testing.T) {
		w, _ := fill()
		w.done(lane, 0, 0)
		w.before = func(call, topic string) {
			if call == "bounds" && topic == lane && w.logs[lane][0].oldest == 0 {
				for _, id := range ids {
					w.outcome(0, id, start, notify.StateSent)
				}
				w.done(lane, 0, 5)
				w.forget(lane, 0, 4)
			}
		}
		a := w.audit(t)
		require.Zero(t, a.MissingRecords)
	})
	t.Run("a mover has deleted what it was done with", func(t *testing.T) {
		w := newFixture(1)
		w.job(short, 0, id, second)
		w.job(lane, 0, id, second)
		w.done(short, 0, 1)
		w.forget(short, 0, 1)
		a := w.audit(t)
		require.Zero(t, a.MissingRecords)
		require.EqualValues(t, 1, a.InFlight)
	})
	t.Run("records between those that a mover has moved are gone", func(t *testing.T) {
		w := newFixture(1)
		for i := range 6 { // 0, 1, 3 and 5 were moved, what was deleted ends at 5
			id := notify.NewID()
			w.job(short, 0, id, second)
			if i != 2 && i != 4 {
				w.job(lane, 0, id, second)
			}
		}
		w.done(short, 0, 2, 3, 5)
		w.forget(short, 0, 2)
		require.Zero(t, w.audit(t).MissingRecords, "all of it was moved")
		w.forget(short, 0, 3)
		a := w.audit(t)
		require.Equal(t, []Range{{Topic: short, From: 2, To: 5, Count: 2, Cause: "observed"}}, a.ranges(FoundMissing))
		require.EqualValues(t, 4, a.InFlight)
	})
	t.Run("a mover's records are gone", func(t *testing.T) {
		w := newFixture(1)
		w.job(lane, 0, id, start)
		w.delayed()
		w.done(lane, 0, 1)
		w.done(short, 0, 0)
		w.forget(short, 0, 1)
		a := w.audit(t)
		require.EqualValues(t, 1, a.MissingRecords)
		require.Equal(t, map[string]Why{id: NoNextStep}, a.unaccounted())
	})
	t.Run("a group that has never committed: its outcomes tell, while all are there", func(t *testing.T) {
		w, s := fill()
		r := w.logs[ledger][0].records[0]
		r.Headers = append(r.Headers, kafka.Header{Key: "ls-job-topic", Value: []byte(lane)}, kafka.Header{Key: "ls-job-partition", Value: []byte("0")},
			kafka.Header{Key: "ls-job-offset", Value: []byte("1")})
		w.forget(lane, 0, 4)
		a := w.audit(t, func(c *Config) { c.Store = s })
		require.Equal(t, []Range{{Topic: lane, From: 0, To: 4, Count: 3, Cause: "uncommitted"}}, a.ranges(FoundMissing))
		require.Equal(t, map[string]Why{ids[0]: InGap, ids[2]: InGap, ids[3]: InGap}, a.unaccounted())
		w.outcome(0, notify.NewID(), start, notify.StateSent)
		w.forget(ledger, 0, 1)
		require.Zero(t, w.audit(t).MissingRecords)
	})
}

// When a topic was created again, or a partition truncated, the commits are void. The store's places of the old records show
// the ids of the notifications.
func TestAudit_VoidPositions(t *testing.T) {
	old, now := kafka.TopicID{1}, kafka.TopicID{2}
	w := newFixture(1)
	w.ids[lane] = old
	s := &fakeStore{standings: map[string]status.Standing{}, positions: w.read(0)}
	gone := notify.NewID()
	s.knows(w, gone, notify.StateQueued, 0, lane, 1)
	w.ids[lane] = now
	ids := []string{notify.NewID(), notify.NewID(), notify.NewID()}
	for _, id := range ids {
		w.job(lane, 0, id, start)
	}
	w.commits[at(lane, 0)] = kafka.ReadPosition(2, "ls2.0.0.1.t:"+old.String()+".")
	require.Equal(t, old, w.commits[at(lane, 0)].Topic)
	a := w.audit(t, func(c *Config) { c.Store = s })
	require.EqualValues(t, 3, a.InFlight, "nothing of the new topic is done")
	require.Equal(t, map[string]Why{gone: NoRecord}, a.unaccounted())
	require.Equal(t, []Range{{Topic: lane, TopicID: now.String(), From: 2, To: 2, Cause: "recreated"}}, a.ranges(FoundVoid))

	w.commits[at(lane, 0)] = kafka.ReadPosition(7, "ls2.0.0.1.t:"+now.String()+".")
	a = w.audit(t)
	require.EqualValues(t, 1, a.VoidPositions)
	require.Equal(t, "truncated", a.ranges(FoundVoid)[0].Cause)

	w.commits[at(lane, 0)] = kafka.ReadPosition(2, "ls1.0.0.1.") // of a version that knew no ids
	a = w.audit(t)
	require.Zero(t, a.VoidPositions)
	require.Equal(t, map[string]Why{ids[0]: NoOutcome, ids[1]: NoOutcome}, a.unaccounted())
}

// A notification with the note unknown is counted as unknown until a record of it is found or it ends.
func TestAudit_Unknown(t *testing.T) {
	note := func(w *fixture) { w.write(ledger, 0, w.event(id, start, notify.StateQueued, notify.NoteUnknown)) }
	for name, c := range map[string]struct {
		log  func(w *fixture)
		want string
	}{
		"done without an outcome":  {func(w *fixture) { w.job(lane, 0, id, start); w.done(lane, 0, 1); note(w) }, "unknown"},
		"nothing else is left":     {func(w *fixture) { note(w) }, "unknown"},
		"on its lane all the same": {func(w *fixture) { w.job(lane, 0, id, start); note(w) }, "in flight"},
		"a result came late": {func(w *fixture) {
			w.job(lane, 0, id, start)
			w.done(lane, 0, 1)
			note(w)
			w.outcome(0, id, start, notify.StateSent)
		}, "sent"},
		"faded": {func(w *fixture) {
			w.job(lane, 0, id, start)
			w.done(lane, 0, 1)
			w.outcome(0, notify.NewID(), start, notify.StateSent)
			w.now = w.now.Add(10 * time.Hour)
			note(w)
			w.forget(ledger, 0, 1)
		}, "unknown"},
	} {
		w := newFixture(1)
		c.log(w)
		a := w.audit(t)
		got := map[string]bool{"unknown": a.Unknown == 1, "in flight": a.InFlight == 1, "sent": a.Ended[notify.StateSent] == 1}
		require.True(t, got[c.want], "%s: %s", name, a.brief())
		require.Equal(t, c.want == "unknown", len(a.ids(FoundUnknown)) == 1, name)
		require.Zero(t, a.Unaccounted, name)
	}
}

// The topics must account for each notification in the store, except for those accepted after the audit began.
func TestAudit_NotificationsInStoreOnly(t *testing.T) {
	w := newFixture(1)
	s := &fakeStore{standings: map[string]status.Standing{}, positions: w.read(0)}
	never, putOff, here, later, old, away := notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID()
	w.outcome(0, notify.NewID(), start, notify.StateSent)
	s.knows(w, old, notify.StateQueued, 0, "", 0)
	w.now = w.now.Add(10 * time.Hour)
	w.outcome(0, notify.NewID(), start, notify.StateSent)
	w.forget(ledger, 0, 1) // so that the outcome of what is old may be deleted
	w.now = w.now.Add(10 * time.Hour)
	s.knows(w, never, notify.StateQueued, 0, "", 0)
	s.knows(w, putOff, notify.StateRetrying, 0, "", 0)
	s.knows(w, here, notify.StateQueued, 0, lane, 0)
	s.knows(w, later, notify.StateQueued, 0, lane, 1)
	s.knows(w, away, notify.StateQueued, 0, "", 0)
	s.unended[len(s.unended)-1].Channel = notify.ChannelPush // which is not configured
	w.job(lane, 0, here, start)
	read := false
	w.before = func(call, topic string) {
		if call == "scan" && topic == lane && !read {
			read = true
			w.job(lane, 0, later, start)
		}
	}
	a := w.audit(t, func(c *Config) { c.Store = s })
	require.Equal(t, map[string]Why{never: NoRecord, putOff: NoRecord}, a.unaccounted())
	require.Equal(t, []int64{1, 1}, []int64{a.Unknowable, a.InFlight})
	require.EqualValues(t, 5, a.Notifications, "one was sent")

	a = w.audit(t, func(c *Config) { c.Store, c.Since = s, w.now.Add(time.Hour) })
	require.Empty(t, a.unaccounted(), "all were accepted before that")
	a = w.audit(t, func(c *Config) { c.Store, c.Since = s, w.now.Add(-time.Minute) })
	require.Equal(t, map[string]Why{never: NoRecord, putOff: NoRecord}, a.unaccounted())
}

func TestAudit_UndecodableBatches(t *testing.T) {
	w := newFixture(1)
	w.job(lane, 0, id, start)
	w.write(letters, 0, "\x00\x01", "ls-dead-reason", "undecodable_batch", "ls-origin-topic", lane, "ls-origin-partition", "1",
		"ls-origin-offset", "7", "ls-origin-last-offset", "11", "ls-origin-count", strconv.Itoa(5))
	a := w.audit(t)
	require.Equal(t, []Range{{Topic: lane, Partition: 1, From: 7, To: 12, Count: 5}}, a.ranges(FoundUndecodable))
	require.EqualValues(t, 5, a.Undecodable)
	require.EqualValues(t, 1, a.Notifications, "the batch is no notification")
	require.Zero(t, a.DeadLetters)
}
