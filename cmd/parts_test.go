package cmd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// diary notes in which order parts end.
type diary struct {
	mu   sync.Mutex
	ends []string
}

// part ends a second after it is told to.
func (d *diary) part(name string) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(time.Second)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ends = append(d.ends, name)
		return nil
	}}
}

func TestPartsEndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var d diary
		early := part{"early", func(context.Context) error { return nil }}
		ended := make(chan error)
		go func() { ended <- inOrder(ctx, d.part("api"), early, d.part("workers"), d.part("broker")) }()
		time.Sleep(time.Minute)
		require.Empty(t, d.ends, "a part that ends early ends nobody else")
		cancel()
		began := time.Now()
		require.NoError(t, <-ended)
		require.Equal(t, []string{"api", "workers", "broker"}, d.ends)
		require.Equal(t, 3*time.Second, time.Since(began), "one after the other")
	})
}

func TestAPartThatFailsEndsTheOthersAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		broken := errors.New("broken")
		err := inOrder(t.Context(), d.part("api"), part{"work", func(ctx context.Context) error {
			return together(ctx, d.part("sms"), part{"email", func(context.Context) error { return broken }})
		}}, d.part("broker"))
		require.EqualError(t, err, "work: email: broken")
		require.ErrorIs(t, err, broken)
		slices.Sort(d.ends)
		require.Equal(t, []string{"api", "broker", "sms"}, d.ends)
	})
}

func TestTogetherEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var d diary
		began := time.Now()
		require.NoError(t, together(ctx, d.part("a"), d.part("b"), d.part("c")))
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestAShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		stuck := make(chan struct{})
		began := time.Now()
		err := bounded(ctx, hardLimit, func(context.Context) error { <-stuck; return nil })
		require.ErrorContains(t, err, "took longer than 30s")
		require.Equal(t, hardLimit, time.Since(began))
		close(stuck)

		require.NoError(t, bounded(ctx, hardLimit, func(context.Context) error { time.Sleep(hardLimit - 1); return nil }))
		broken := errors.New("broken")
		require.ErrorIs(t, bounded(t.Context(), 0, func(context.Context) error { return broken }), broken)
	})
}

func TestHealthListsWhatIsNotReady(t *testing.T) {
	h := &health{}
	done := h.step("topics", "waiting for Kafka")
	h.add("worker of sms", func() error { return errors.New("no session") })
	ok := true
	h.add("publisher", func() error {
		if ok {
			return nil
		}
		return errors.New("away")
	})
	require.EqualError(t, h.Ready(), "topics: waiting for Kafka\nworker of sms: no session")
	done()
	ok = false
	require.EqualError(t, h.Ready(), "worker of sms: no session\npublisher: away")
	h.close()
	require.EqualError(t, h.Ready(), "shutting down")
}
