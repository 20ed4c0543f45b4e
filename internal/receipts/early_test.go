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

// shelf is a log of kept receipts, and what applying them says.
type shelf struct {
	mu      sync.Mutex
	says    error // of adding and removing
	added   []KeptReceipt
	removed []string

	early map[string]error // by the provider's id; others are applied
	tries []time.Time
	leads bool
}

func (s *shelf) Add(_ context.Context, k KeptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.says == nil {
		s.added = append(s.added, k)
	}
	return s.says
}

func (s *shelf) Remove(_ context.Context, k KeptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.says == nil {
		s.removed = append(s.removed, k.Said.ProviderID)
	}
	return s.says
}

func (s *shelf) apply(_ context.Context, k KeptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries = append(s.tries, time.Now())
	return s.early[k.Said.ProviderID]
}

func (s *shelf) become(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func keeper(s *shelf) *Early {
	return NewEarly(EarlyConfig{Log: s, Apply: s.apply, Logger: zap.NewNop(), KeepFor: time.Hour, MostIDBytes: 255, Leads: func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.leads
	}})
}

func named(id string) notify.Report {
	return notify.Report{ProviderID: id, Run: notify.AnyRun, State: notify.StateBounced, Code: "30003"}
}

func TestEarly_KeepsSoManyOfAGatewayAndEachOnce(t *testing.T) {
	s := &shelf{}
	e := keeper(s)
	for i := range mostEarly {
		require.NoError(t, e.Keep(t.Context(), "texts", named(fmt.Sprint(i))))
	}
	require.ErrorIs(t, e.Keep(t.Context(), "texts", named("one more")), notify.ErrEarly)
	require.NoError(t, e.Keep(t.Context(), "texts", named("7")), "it is kept already")
	require.NoError(t, e.Keep(t.Context(), "other", named("7")))
	require.Len(t, s.added, mostEarly+1)
	require.Equal(t, mostEarly, e.Len("texts"))
	for _, k := range s.added {
		e.Set(k) // as the log says it
	}
	require.Equal(t, mostEarly, e.Len("texts"))
	e.Unset("texts", s.added[0].ID)
	e.Unset("texts", s.added[0].ID)
	require.Equal(t, mostEarly-1, e.Len("texts"))
	require.NoError(t, e.Keep(t.Context(), "texts", named("one more")))

	s.says = notify.ErrBusUnavailable
	e.Unset("texts", s.added[1].ID)
	for range 2 {
		require.ErrorIs(t, e.Keep(t.Context(), "texts", named("lost")), notify.ErrBusUnavailable)
	}
	require.Equal(t, mostEarly-1, e.Len("texts"), "what is not durable takes no room")
	require.ErrorIs(t, e.Keep(t.Context(), "texts", named(fmt.Sprintf("%256d", 1))), notify.ErrUnknownNotification)
}

func TestEarly_AppliesEachReceiptOnceItsAttemptIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{early: map[string]error{"waits": notify.ErrEarly, "nameless": errNameless, "foreign": notify.ErrUnknownNotification}}
		e := keeper(s)
		for _, id := range []string{"known", "waits", "nameless", "foreign"} {
			require.NoError(t, e.Keep(t.Context(), "texts", named(id)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		s.become(func() {
			require.Empty(t, s.tries, "another process leads")
			s.leads = true
		})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s.become(func() { require.ElementsMatch(t, []string{"known", "foreign"}, s.removed) })
		require.Equal(t, 2, e.Len("texts"))

		s.become(func() { delete(s.early, "waits") })
		time.Sleep(earlyLongest + time.Second)
		synctest.Wait()
		s.become(func() {
			require.Len(t, s.removed, 3)
			s.tries = nil
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.become(func() { require.LessOrEqual(t, len(s.tries), 22, "the older it is, the less often it is tried") })
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		s.become(func() { require.Equal(t, "nameless", s.removed[3], "after an hour it is dropped") })
		require.Zero(t, e.Len("texts"))
		cancel()
		require.NoError(t, <-ended)
	})
}

// TestEarly_RemovesAgainWhatCouldNotBeRemoved: a receipt whose removal the log does not confirm stays, and is applied again, which
// changes nothing.
func TestEarly_RemovesAgainWhatCouldNotBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{leads: true}
		e := keeper(s)
		require.NoError(t, e.Keep(t.Context(), "texts", named("known")))
		s.says = notify.ErrBusUnavailable
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, e.Len("texts"))
		s.become(func() { s.says = nil })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Zero(t, e.Len("texts"))
		s.become(func() { require.Equal(t, []string{"known"}, s.removed) })
		cancel()
		require.NoError(t, <-ended)
	})
}
