package receipts

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeLog is a log of kept receipts. It also applies receipts, with the errors that a test sets.
type fakeLog struct {
	mu      sync.Mutex
	err     error // of adding and removing
	added   []KeptReceipt
	removed []string

	early map[string]error // errors of apply, by the provider's id
	tries []time.Time
	leads bool
}

func (s *fakeLog) Add(_ context.Context, k KeptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.added = append(s.added, k)
	}
	return s.err
}

func (s *fakeLog) Remove(_ context.Context, k KeptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.removed = append(s.removed, k.Report.ProviderID)
	}
	return s.err
}

func (s *fakeLog) apply(_ context.Context, k KeptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries = append(s.tries, time.Now())
	return s.early[k.Report.ProviderID]
}

func (s *fakeLog) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func newTestEarly(s *fakeLog) *Early {
	return NewEarly(EarlyConfig{Log: s, Apply: s.apply, Logger: zap.NewNop(), KeepFor: time.Hour, MaxIDBytes: 255, Leads: func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.leads
	}})
}

func named(id string) notify.Report {
	return notify.Report{ProviderID: id, Run: notify.AnyRun, State: notify.StateBounced, Code: "30003"}
}

func TestEarly_KeepsLimitedNumberOfReceiptsAndEachOnce(t *testing.T) {
	s := &fakeLog{}
	e := newTestEarly(s)
	for i := range maxEarly {
		require.NoError(t, e.Keep(t.Context(), "texts", named(fmt.Sprint(i))))
	}
	require.ErrorIs(t, e.Keep(t.Context(), "texts", named("one more")), notify.ErrEarly)
	require.NoError(t, e.Keep(t.Context(), "texts", named("7")), "it is kept already")
	require.NoError(t, e.Keep(t.Context(), "other", named("7")))
	require.Len(t, s.added, maxEarly+1)
	require.Equal(t, maxEarly, e.Len("texts"))
	for _, k := range s.added {
		e.Set(k) // as the log says it
	}
	require.Equal(t, maxEarly, e.Len("texts"))
	e.Unset("texts", s.added[0].ID)
	e.Unset("texts", s.added[0].ID)
	require.Equal(t, maxEarly-1, e.Len("texts"))
	require.NoError(t, e.Keep(t.Context(), "texts", named("one more")))

	s.err = notify.ErrBusUnavailable
	e.Unset("texts", s.added[1].ID)
	for range 2 {
		require.ErrorIs(t, e.Keep(t.Context(), "texts", named("lost")), notify.ErrBusUnavailable)
	}
	require.Equal(t, maxEarly-1, e.Len("texts"), "what is not durable takes no room")
	require.ErrorIs(t, e.Keep(t.Context(), "texts", named(fmt.Sprintf("%256d", 1))), notify.ErrUnknownNotification)
}

func TestEarly_AppliesEachReceiptOnceItsAttemptIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeLog{early: map[string]error{"waits": notify.ErrEarly, "nameless": errUnknownProviderID, "foreign": notify.ErrUnknownNotification}}
		e := newTestEarly(s)
		for _, id := range []string{"known", "waits", "nameless", "foreign"} {
			require.NoError(t, e.Keep(t.Context(), "texts", named(id)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		s.locked(func() {
			require.Empty(t, s.tries, "another process leads")
			s.leads = true
		})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s.locked(func() { require.ElementsMatch(t, []string{"known", "foreign"}, s.removed) })
		require.Equal(t, 2, e.Len("texts"))

		s.locked(func() { delete(s.early, "waits") })
		time.Sleep(earlyMaxWait + time.Second)
		synctest.Wait()
		s.locked(func() {
			require.Len(t, s.removed, 3)
			s.tries = nil
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.locked(func() { require.LessOrEqual(t, len(s.tries), 22, "the older it is, the less often it is tried") })
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		s.locked(func() { require.Equal(t, "nameless", s.removed[3], "after an hour it is dropped") })
		require.Zero(t, e.Len("texts"))
		cancel()
		require.NoError(t, <-ended)
	})
}

// A receipt whose removal the log does not confirm stays kept and is applied again, which changes nothing.
func TestEarly_RetriesRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeLog{leads: true}
		e := newTestEarly(s)
		require.NoError(t, e.Keep(t.Context(), "texts", named("known")))
		s.err = notify.ErrBusUnavailable
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, e.Len("texts"))
		s.locked(func() { s.err = nil })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Zero(t, e.Len("texts"))
		s.locked(func() { require.Equal(t, []string{"known"}, s.removed) })
		cancel()
		require.NoError(t, <-ended)
	})
}
