package audit

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const id = "0190163d-8694-739b-aea5-966c26f8ad91"

var (
	start  = stage{0, 0}
	second = stage{0, 1}
	again  = stage{1, 0}
)

// Each case is the log of one notification, whose job is the first record of its lane.
var kinds = []struct {
	name string
	log  func(w *fixture)
	want string // ended states, or the class that is 1
	why  Why
}{
	{"not taken yet", func(*fixture) {}, "in flight", ""},
	{"done, without an outcome", func(w *fixture) { w.done(lane, 0, 1) }, "unaccounted", NoOutcome},
	{"done above the watermark, without an outcome", func(w *fixture) {
		w.forget(lane, 0, 1)
		w.job(lane, 0, notify.NewID(), start)
		w.job(lane, 0, id, start)
		w.done(lane, 0, 1, 2)
	}, "unaccounted", NoOutcome},
	{"sent", func(w *fixture) { w.outcome(0, id, start, notify.StateSent); w.done(lane, 0, 1) }, "sent", ""},
	{"sent, and not committed yet", func(w *fixture) { w.outcome(0, id, start, notify.StateSent) }, "sent", ""},
	{"delivered by receipt", func(w *fixture) {
		w.outcome(0, id, start, notify.StateSent)
		w.write(ledger, 0, w.event(id, start, notify.StateDelivered, ""))
		w.done(lane, 0, 1)
	}, "delivered", ""},
	{"an intent is no outcome", func(w *fixture) {
		w.write(ledger, 0, "", "ls-kind", "intent", "ls-id", id)
		w.done(lane, 0, 1)
	}, "unaccounted", NoOutcome},
	{"that it is stuck is no outcome", func(w *fixture) {
		w.write(ledger, 0, w.event(id, start, notify.StateSent, "stuck"))
		w.done(lane, 0, 1)
	}, "unaccounted", NoOutcome},
	{"an outcome of a later run", func(w *fixture) { w.outcome(0, id, again, notify.StateExpired); w.done(lane, 0, 1) }, "expired", ""},
	{"an outcome of another", func(w *fixture) {
		w.outcome(0, "0190163d-8694-739b-aea5-966c26f8ad92", start, notify.StateRejected)
		w.done(lane, 0, 1)
	}, "unaccounted", NoOutcome},
	{"held", func(w *fixture) { w.outcome(0, id, start, notify.StateHeld); w.done(lane, 0, 1) }, "held", ""},
	{"held, then sent after all", func(w *fixture) {
		w.outcome(0, id, start, notify.StateHeld)
		w.outcome(0, id, start, notify.StateSent)
		w.done(lane, 0, 1)
	}, "sent", ""},

	{"put off, and nowhere", func(w *fixture) { w.outcome(0, id, start, notify.StateRetrying); w.done(lane, 0, 1) }, "unaccounted", NoNextStep},
	{"put off, and waiting", func(w *fixture) { w.delayed(); w.done(lane, 0, 1) }, "waiting", ""},
	{"waiting before its outcome is there", func(w *fixture) { w.job(short, 0, id, second) }, "waiting", ""},
	{"left its tier, and nowhere", func(w *fixture) { w.delayed(); w.done(lane, 0, 1); w.done(short, 0, 1) }, "unaccounted", LeftTier},
	{"left its tier for the next", func(w *fixture) {
		w.delayed()
		w.done(lane, 0, 1)
		w.done(short, 0, 1)
		w.job(long, 1, id, second)
	}, "waiting", ""},
	{"back on its lane", func(w *fixture) { w.returned(); w.done(lane, 0, 1) }, "in flight", ""},
	{"back on its lane, before its mover has committed", func(w *fixture) { w.delayed(); w.job(lane, 0, id, second); w.done(lane, 0, 1) }, "in flight", ""},
	{"back on its lane, done without an outcome", func(w *fixture) { w.returned(); w.done(lane, 0, 2) }, "unaccounted", NoOutcome},
	{"back on its lane, and sent", func(w *fixture) { w.returned(); w.outcome(0, id, second, notify.StateSent); w.done(lane, 0, 2) }, "sent", ""},
	{"moved twice, and the second copy dropped", func(w *fixture) {
		w.returned()
		w.outcome(0, id, second, notify.StateSent)
		w.job(lane, 0, id, second)
		w.done(lane, 0, 3)
	}, "sent", ""},
	{"a second copy of an earlier step dropped", func(w *fixture) { w.delayed(); w.job(lane, 0, id, start); w.done(lane, 0, 2) }, "waiting", ""},
	{"a second copy waits for the first", func(w *fixture) { w.job(lane, 0, id, start); w.done(lane, 0, 0, 1) }, "in flight", ""},
	{"sent, and its next step dropped", func(w *fixture) {
		w.delayed()
		w.outcome(0, id, start, notify.StateSent)
		w.done(lane, 0, 1)
		w.done(short, 0, 1)
		w.job(lane, 0, id, second)
		w.done(lane, 0, 2)
	}, "sent", ""},
	{"too large for its lane, and buried by its mover", func(w *fixture) {
		w.delayed()
		w.done(lane, 0, 1)
		w.done(short, 0, 1)
		w.job(letters, 0, id, second)
	}, "dead letter", ""},

	{"rejected, with a letter", func(w *fixture) {
		w.job(letters, 0, id, start)
		w.outcome(0, id, start, notify.StateRejected)
		w.done(lane, 0, 1)
	}, "rejected", ""},
	{"a letter is no outcome", func(w *fixture) { w.job(letters, 0, id, start); w.done(lane, 0, 1) }, "unaccounted", NoOutcome},
	{"a letter whose outcome is to come", func(w *fixture) { w.job(letters, 0, id, start) }, "in flight", ""},
	{"only the letter is left", func(w *fixture) { w.forget(lane, 0, 1); w.job(letters, 0, id, start) }, "dead letter", ""},
	{"redriven", func(w *fixture) { w.bury(); w.job(lane, 0, id, again); w.redriven() }, "in flight", ""},
	{"redriven, before the event", func(w *fixture) { w.bury(); w.job(lane, 0, id, again) }, "in flight", ""},
	{"redriven, and nowhere", func(w *fixture) { w.bury(); w.redriven() }, "unaccounted", NoNextRun},
	{"redriven, and done without an outcome", func(w *fixture) { w.bury(); w.job(lane, 0, id, again); w.redriven(); w.done(lane, 0, 2) }, "unaccounted", NoOutcome},
	{"redriven, and sent", func(w *fixture) {
		w.bury()
		w.job(lane, 0, id, again)
		w.redriven()
		w.outcome(0, id, again, notify.StateSent)
		w.done(lane, 0, 2)
	}, "sent", ""},

	{"the topic of jobs was made anew", func(w *fixture) { w.done(lane, 0, 500) }, "in flight", ""},
	{"only events are left", func(w *fixture) { w.forget(lane, 0, 1); w.outcome(0, id, start, notify.StateSent) }, "sent", ""},
}

// delayed writes the records of a worker that delays the job after its first step.
func (w *fixture) delayed() {
	w.job(short, 0, id, second)
	w.outcome(0, id, start, notify.StateRetrying)
}

// returned writes the records of delayed, and those of a mover that returns the job to its lane.
func (w *fixture) returned() {
	w.delayed()
	w.job(lane, 0, id, second)
	w.done(short, 0, 1)
}

func (w *fixture) bury() {
	w.job(letters, 0, id, start)
	w.outcome(0, id, start, notify.StateDead)
	w.done(lane, 0, 1)
}

func (w *fixture) redriven() {
	w.write(ledger, 1, w.event(id, start, notify.StateDead, notify.NoteRedriven))
}

func TestAudit_ClassOfEachNotification(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			w := newFixture(2)
			w.job(lane, 0, id, start)
			k.log(w)
			a := w.audit(t)
			got := map[string]bool{}
			for s, n := range a.Ended {
				got[string(s)] = n > 0
			}
			for name, n := range map[string]int64{
				"held": a.Report.Held, "in flight": a.InFlight, "waiting": a.Waiting, "dead letter": a.DeadLetters, "faded": a.Unknowable, "unaccounted": a.Unaccounted,
			} {
				got[name] = n > 0
			}
			require.True(t, got[k.want], a.brief())
			require.Equal(t, k.why, a.unaccounted()[id])
			require.Equal(t, k.why != "", a.Unaccounted == 1)
		})
	}
}

func TestAudit_ListsOpenNotifications(t *testing.T) {
	w := newFixture(2)
	w.job(lane, 0, id, start)
	w.now = w.now.Add(time.Hour)
	other := notify.NewID()
	w.job(urgent, 1, other, start)
	w.delayed()
	w.done(lane, 0, 1)
	a := w.audit(t)
	due := w.now.Add(time.Hour - time.Millisecond).UTC().Truncate(time.Millisecond)
	require.Len(t, a.found, 2)
	require.Len(t, a.Lanes, 2)
	require.Equal(t, []int64{0, 1}, []int64{a.Lanes[0].InFlight, a.Lanes[0].Waiting})
	oldest := a.Lanes[0].Oldest
	require.Equal(t, []any{id, FoundWaiting, notify.Origin{Topic: short}}, []any{oldest.ID, oldest.What, *oldest.Where})
	require.Equal(t, other, a.Lanes[1].Oldest.ID)
	require.Equal(t, notify.Origin{Topic: urgent, Partition: 1}, *a.Lanes[1].Oldest.Where)
	require.Equal(t, []Tier{{short, 1, due}}, a.Tiers)
}

func TestAudit_CountsDuplicates(t *testing.T) {
	w := newFixture(1)
	w.job(lane, 0, id, start)
	w.outcome(0, id, start, notify.StateSent)
	value := string(w.logs[ledger][0].records[0].Value)
	w.write(ledger, 0, value, "ls-kind", "outcome")
	require.Zero(t, w.audit(t).DuplicatesSent, "the same outcome, published twice")
	w.outcome(0, id, start, notify.StateSent)
	w.outcome(0, id, second, notify.StateSent)
	w.outcome(0, id, again, notify.StateSent)
	a := w.audit(t)
	require.EqualValues(t, 2, a.DuplicatesSent, "a run of its own is no duplicate")
	require.Equal(t, FoundDuplicate, a.found[0].What)
	require.Equal(t, 2, a.found[0].Times)
}

func TestAudit_DeletedOutcomesAreUnknowable(t *testing.T) {
	w := newFixture(2)
	w.job(lane, 0, id, start) // its outcome is deleted
	w.outcome(0, id, start, notify.StateSent)
	w.now = w.now.Add(10 * time.Hour)
	late := notify.NewID()
	w.outcome(0, notify.NewID(), start, notify.StateSent)
	w.now = w.now.Add(2 * time.Hour)
	w.job(lane, 0, late, start) // has none
	beside := notify.NewID()
	w.job(lane, 1, beside, start) // has none, in a partition whose outcomes are all there
	w.forget(ledger, 0, 1)
	w.done(lane, 0, 2)
	w.done(lane, 1, 1)
	a := w.audit(t)
	require.EqualValues(t, 1, a.Unknowable)
	require.Equal(t, map[string]Why{late: NoOutcome, beside: NoOutcome}, a.unaccounted())

	w.forget(ledger, 0, 1)
	a = w.audit(t)
	require.EqualValues(t, 2, a.Unknowable, "nothing is known of that partition")
	require.Equal(t, map[string]Why{beside: NoOutcome}, a.unaccounted())
}

// Retention may delete records while the topic is read. The first record after the gap shows since when the topic is complete.
func TestAudit_GapInStatusTopic(t *testing.T) {
	w := newFixture(1)
	w.job(lane, 0, id, start)
	w.outcome(0, notify.NewID(), start, notify.StateSent)
	w.outcome(0, id, start, notify.StateSent)
	w.now = w.now.Add(5 * time.Hour)
	w.outcome(0, notify.NewID(), start, notify.StateSent)
	w.done(lane, 0, 1)
	w.logs[ledger][0].records[1] = nil
	require.EqualValues(t, 1, w.audit(t).Unknowable)
	w.logs[ledger][0].records[2] = nil
	require.EqualValues(t, 1, w.audit(t).Unknowable, "also when it reaches to the end")
}

func TestAudit_Since(t *testing.T) {
	w := newFixture(1)
	old := notify.NewID()
	w.job(lane, 0, old, start)
	w.outcome(0, old, start, notify.StateSent)
	w.job(lane, 0, id, start)
	w.now = w.now.Add(10 * time.Hour)
	since := w.now
	w.outcome(0, id, start, notify.StateRetrying) // of what is left out
	lost, sent := notify.NewID(), notify.NewID()
	w.job(lane, 0, lost, start)
	w.job(lane, 0, sent, start)
	w.outcome(0, sent, start, notify.StateSent)
	w.done(lane, 0, 4)
	narrow := func(c *Config) { c.Since = since }
	a := w.audit(t, narrow)
	require.Equal(t, map[string]Why{lost: NoOutcome}, a.unaccounted())
	require.EqualValues(t, []int64{2, 1}, []int64{a.Notifications, a.Earlier})
	require.EqualValues(t, 2, w.audit(t).Unaccounted)

	// A producer whose clock is years ahead makes Kafka begin much earlier.
	w.logs[lane][0].records[0].Timestamp = time.Now().Add(10_000 * time.Hour)
	require.Equal(t, map[string]Why{lost: NoOutcome}, w.audit(t, narrow).unaccounted())
}

// A notification that ended long before Since is not missing when a later duplicate of its job was dropped.
func TestAudit_SinceWithDuplicateOfEarlierJob(t *testing.T) {
	w := newFixture(1)
	const old = "0190163d-8694-439b-aea5-966c26f8ad91" // bears no time
	w.job(lane, 0, old, start)
	w.outcome(0, old, start, notify.StateSent)
	w.now = w.now.Add(10 * time.Hour)
	since := w.now
	w.job(lane, 0, old, start)
	w.job(lane, 0, id, start)
	w.done(lane, 0, 3)
	a := w.audit(t, func(c *Config) { c.Since = since })
	require.Equal(t, map[string]Why{id: NoOutcome}, a.unaccounted())
	require.EqualValues(t, 1, a.Ended[notify.StateSent])
}

// The accounting depends on this order: commits, then the end of the status topic, then all other ends.
func TestSnapshot_ReadsCommitsThenEvents(t *testing.T) {
	w := newFixture(1)
	var calls []string
	w.before = func(call, topic string) { calls = append(calls, call+" "+topic) }
	w.audit(t)
	require.Equal(t, []string{
		"positions " + lane, "positions " + urgent, "positions " + short, "positions " + long,
		"bounds " + ledger, "bounds " + lane, "bounds " + urgent, "bounds " + short, "bounds " + long, "bounds " + letters,
		"scan " + ledger, "scan " + lane, "scan " + urgent, "scan " + short, "scan " + long, "scan " + letters,
	}, calls)
}

// Retention may delete processed records before the audit has read them. Later records prove that the notification is not
// missing.
func TestAudit_RecordsDeletedDuringAuditAreNotMissing(t *testing.T) {
	w := newFixture(1)
	w.job(lane, 0, id, start)
	w.delayed()
	w.done(lane, 0, 1)
	w.before = func(call, topic string) {
		if call == "scan" && topic == lane && len(w.logs[short][0].records) > 0 {
			w.forget(short, 0, 1)
			w.job(lane, 0, id, second)
		}
	}
	a := w.audit(t)
	require.Empty(t, a.unaccounted())
	require.EqualValues(t, 1, a.InFlight)
}

func TestAudit_ErrorsEndIt(t *testing.T) {
	w := newFixture(1)
	w.job(lane, 0, id, start)
	w.done(lane, 0, 1)
	full := errors.New("the pipe is broken")
	_, err := Run(t.Context(), Config{Log: w, Status: ledger, Topics: allTopics, Found: func(Finding) error { return full }})
	require.ErrorIs(t, err, full)
	_, err = Run(t.Context(), Config{Log: w, Status: ledger, Topics: allTopics, MaxInMemory: 1, Dir: "/nowhere"})
	require.ErrorContains(t, err, "TMPDIR")
	dir := t.TempDir()
	_, err = Run(t.Context(), Config{Log: w, Status: ledger, Topics: allTopics, MaxInMemory: 1, Dir: dir, Found: func(Finding) error { return nil }})
	require.NoError(t, err)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}

func TestAudit_UnreadableRecordsHaveTheSameIDAsInAWorker(t *testing.T) {
	w := newFixture(1)
	w.write(lane, 0, "{half")
	w.write(lane, 0, "", "ls-id", id)
	w.done(lane, 0, 2)
	a := w.audit(t, func(c *Config) { c.Cluster = "abc" })
	r := w.logs[lane][0].records[0]
	broken := notify.DerivedID("record", "abc", lane, "0", "0", fmt.Sprint(r.Timestamp.UnixMilli()))
	require.Equal(t, map[string]Why{broken: NoOutcome, id: NoOutcome}, a.unaccounted())
	w.write(ledger, 0, "no event")
	w.write(ledger, 0, `{"notification_id":"x","state":"sent"}`)
	require.EqualValues(t, 2, w.audit(t).Unreadable)
}

func TestAudit_EmptyTopics(t *testing.T) {
	w := newFixture(1)
	require.Zero(t, w.audit(t).Notifications)
	_, err := Run(t.Context(), Config{Log: w, Status: ledger, Topics: []Topic{{Name: "nowhere"}}})
	require.ErrorContains(t, err, "there is no topic such as nowhere")
	_, err = Run(t.Context(), Config{Log: w, Status: "nowhere", Topics: allTopics})
	require.ErrorIs(t, err, kafka.ErrNoTopic)
}

func TestParseEventPrefix_ReadsEncodedEvents(t *testing.T) {
	w := newFixture(1)
	for _, state := range states {
		value := w.event(id, stage{3, 14}, state, "")
		g, ok := parseEventPrefix([]byte(value))
		require.True(t, ok)
		require.Equal(t, []any{id, 3, 14, state, state.Final()}, []any{g.NotificationID, g.Run, g.Step, g.State, g.Final})
		require.True(t, g.At.Equal(w.now))
		for i := range value {
			_, _ = parseEventPrefix([]byte(value[:i])) // must not panic
		}
	}
	_, ok := parseEventPrefix([]byte(`{"notification_id":"x"}`))
	require.False(t, ok)
}
