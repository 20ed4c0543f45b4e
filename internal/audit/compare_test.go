package audit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// fakeStore is a status store with the content that a test sets.
type fakeStore struct {
	standings map[string]status.Standing
	positions func() []status.Position
	unended   []status.Open
	err       error
}

func (s *fakeStore) Positions(context.Context) ([]status.Position, error) {
	return s.positions(), s.err
}

func (s *fakeStore) Unended(_ context.Context, _ time.Time, after *notify.Life, limit int) ([]status.Open, error) {
	from := 0
	for i := range s.unended {
		if after != nil && s.unended[i].ID == after.ID {
			from = i + 1
		}
	}
	return s.unended[from:min(len(s.unended), from+limit)], s.err
}

func (s *fakeStore) Standings(_ context.Context, ids []string) (map[string]status.Standing, error) {
	some := map[string]status.Standing{}
	for _, id := range ids {
		if at, ok := s.standings[id]; ok {
			some[id] = at
		}
	}
	return some, s.err
}

func (s *fakeStore) put(id string, at stage, state notify.State, final bool) {
	e := notify.Event{Run: int(at.run), Step: int(at.step), State: state, Final: final}
	s.standings[id] = status.Standing{State: state, Final: final, Run: e.Run, Place: status.Place(&e)}
}

// read returns the positions of a store that has read all records of the fixture except the last ones.
func (w *fixture) read(behind int64) func() []status.Position {
	return func() (all []status.Position) {
		for topic, parts := range w.logs {
			for p, part := range parts {
				next := part.oldest + int64(len(part.records))
				if topic == ledger {
					next -= behind
				}
				all = append(all, status.Position{Topic: topic, Partition: int32(p), Next: next})
			}
		}
		return all
	}
}

func TestAudit_ComparesStore(t *testing.T) {
	w := newFixture(1)
	s := &fakeStore{standings: map[string]status.Standing{}, positions: w.read(0)}
	ids := map[string]string{}
	mail := func(name string) string {
		ids[name] = notify.NewID()
		w.job(lane, 0, ids[name], start)
		return ids[name]
	}
	s.put(mail("queued"), start, notify.StateQueued, false)
	w.outcome(0, mail("sent"), start, notify.StateSent)
	s.put(ids["sent"], start, notify.StateSent, true)
	w.outcome(0, mail("ahead"), start, notify.StateSent)
	s.put(ids["ahead"], start, notify.StateDelivered, true)
	w.outcome(0, mail("behind"), start, notify.StateSent)
	s.put(ids["behind"], start, notify.StateQueued, false)
	w.outcome(0, mail("other"), start, notify.StateExpired)
	s.put(ids["other"], start, notify.StateCancelled, true)
	w.outcome(0, mail("missing"), start, notify.StateSent)
	w.outcome(0, mail("earlier run"), start, notify.StateDead)
	w.job(lane, 0, ids["earlier run"], again)
	s.put(ids["earlier run"], start, notify.StateDead, true)
	w.job(letters, 0, notify.NewID(), start) // the store does not read these

	a := w.audit(t, func(c *Config) { c.Store = s })
	require.EqualValues(t, 4, *a.Differences)
	differ := map[string]*Standing{}
	for _, f := range a.found {
		if f.What == FoundDifference {
			differ[f.ID] = f.Store
		}
	}
	require.Equal(t, map[string]*Standing{
		ids["behind"]: {notify.StateQueued, false, 0}, ids["other"]: {notify.StateCancelled, true, 0}, ids["missing"]: nil,
		ids["earlier run"]: {notify.StateDead, true, 0},
	}, differ)

	a = w.audit(t, func(c *Config) { c.Store, c.Retained = s, func(first time.Time) bool { return first.After(w.now) } })
	require.Zero(t, *a.Differences, "it need not keep what is old")
	require.Nil(t, w.audit(t).Differences)
}

func TestAudit_WaitsForStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(1)
		w.job(lane, 0, id, start)
		w.outcome(0, id, start, notify.StateSent)
		left := int64(50)
		for range left {
			w.outcome(0, id, start, notify.StateSent)
		}
		s := &fakeStore{standings: map[string]status.Standing{}}
		s.put(id, start, notify.StateSent, true)
		s.positions = func() []status.Position { left = max(0, left-1); return w.read(left)() }
		said := 0
		a := w.audit(t, func(c *Config) { c.Store, c.Progress = s, func(Progress) { said++ } })
		require.Zero(t, *a.Differences)
		require.Equal(t, 49, said)

		s.positions = w.read(7)
		_, err := Run(t.Context(), Config{Log: w, Status: ledger, Topics: allTopics, Store: s, Found: func(Finding) error { return nil }})
		require.ErrorContains(t, err, "the status store is 7 records behind the topics and reads none")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = Run(ctx, Config{Log: w, Status: ledger, Topics: allTopics, Store: s, Found: func(Finding) error { return nil }})
		require.ErrorIs(t, err, context.DeadlineExceeded)

		s.err = errors.New("no answer")
		_, err = Run(t.Context(), Config{Log: w, Status: ledger, Topics: allTopics, Store: s, Found: func(Finding) error { return nil }})
		require.ErrorIs(t, err, s.err)
	})
}
