package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// sentBy is the event of a send whose provider calls the message that name, and will say more or not.
func sentBy(id, gateway, name string, will bool, at time.Time) status.Change {
	e := event(id, 1, notify.StateSent, at)
	e.Gateway, e.ProviderID, e.Awaited = gateway, name, will
	e.Seal()
	return status.Change{Event: e}
}

func idsIn[T any](page []T) []string {
	ids := []string{}
	for _, l := range page {
		switch l := any(l).(type) {
		case notify.Life:
			ids = append(ids, l.ID)
		case status.Open:
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// What should have ended and has not: page by page, whatever ends it in between.
func TestWhatHasNotEnded(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		id := func(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }
		for i, state := range []notify.State{
			notify.StateQueued, notify.StateScheduled, notify.StateRetrying, notify.StateHeld, notify.StateSent, notify.StateDead, notify.StateLost,
		} {
			take(t, s, accepted(id(i), noon.Add(time.Duration(i)*time.Second)), became(id(i), 1, state, noon.Add(time.Minute)))
		}
		take(t, s, accepted(id(17), noon.Add(time.Hour)), accepted(id(8), noon))    // expires later; and at the time of the first
		take(t, s, became(id(9), 1, notify.StateRetrying, noon.Add(-48*time.Hour))) // its job is not read
		before := noon.Add(24*time.Hour + time.Minute)
		n, err := s.CountUnended(ctx, before)
		require.NoError(t, err)
		require.Equal(t, 4, n)
		var found []string
		for after := (*notify.Life)(nil); ; {
			page, err := s.Unended(ctx, before, after, 2)
			require.NoError(t, err)
			found = append(found, idsIn(page)...)
			if len(page) < 2 {
				break
			}
			after = &page[1].Life
		}
		require.Equal(t, []string{id(0), id(8), id(1), id(2)}, found)
		page, err := s.Unended(ctx, noon.Add(24*time.Hour), nil, 10)
		require.NoError(t, err)
		require.Empty(t, page, "at the time itself it may still be sent")

		events, err := s.EventsOf(ctx, []string{id(0), id(4)})
		require.NoError(t, err)
		require.Len(t, events, 4, "queued twice over, queued and sent")
		require.True(t, events[event(id(4), 1, notify.StateSent, noon).EventID])
		require.False(t, events[event(id(3), 1, notify.StateHeld, noon).EventID])
	})
}

func TestWhatIsAwaited(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		ids := []string{notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID(), notify.NewID()}
		take(t, s, sentBy(ids[0], "texts", "SM0", true, noon), sentBy(ids[1], "texts", "SM1", true, noon.Add(time.Second)), sentBy(ids[2], "mail", "m", false, noon))
		take(t, s, sentBy(ids[3], "texts", "SM3", true, noon), became(ids[3], 1, notify.StateDelivered, noon))
		take(t, s, sentBy(ids[4], "texts", "SM4", true, noon), sentBy(ids[4], "texts", "SM4", false, noon.Add(time.Hour))) // closed
		page, err := s.Awaited(ctx, noon.Add(time.Minute), nil, 1)
		require.NoError(t, err)
		require.Equal(t, ids[:1], idsIn(page))
		require.Equal(t, []any{notify.StateSent, false, "SM0", "texts", 1}, []any{page[0].State, page[0].Final, page[0].ProviderID, page[0].Gateway, page[0].Step})
		page, err = s.Awaited(ctx, noon.Add(time.Minute), &page[0], 10)
		require.NoError(t, err)
		require.Equal(t, ids[1:2], idsIn(page))
		page, err = s.Awaited(ctx, noon, nil, 10)
		require.NoError(t, err)
		require.Empty(t, page)
	})
}

func TestAProvidersNameLeadsToItsNotification(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		id, closed, quiet := notify.NewID(), notify.NewID(), notify.NewID()
		long := strings.Repeat("x", 5000)
		is := func(want, gateway, name string) {
			t.Helper()
			got, err := s.FindByProviderID(ctx, gateway, name)
			if want == "" {
				require.ErrorIs(t, err, notify.ErrUnknownNotification)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, want, got)
		}
		is("", "own", "m-1")
		take(t, s, sentBy(id, "own", "m-1", true, noon), sentBy(closed, "own", long, true, noon), sentBy(quiet, "mail", "m-1", false, noon))
		is(id, "own", "m-1")
		is(closed, "own", long)
		is("", "mail", "m-1")
		is("", "own", "m-2")
		is("", "own", "")
		done := event(id, 1, notify.StateDelivered, noon)
		done.Gateway, done.ProviderID = "own", "m-1"
		take(t, s, status.Change{Event: done}, sentBy(closed, "own", long, false, noon))
		is(id, "own", "m-1")
		is("", "own", long)
	})
}

// The indexes are partial: one that a query does not say in their words is not used, and the whole table is read each minute.
func TestWhatIsOverdueHasItsIndex(t *testing.T) {
	s := recording(t, Config{Dir: t.TempDir()})
	for index, q := range map[string]*query{
		"unended":     unendedPage(noon, passed{}, 10),
		"awaited":     overdue(awaited, "n.state_at", noon, passed{}, 10),
		"by_provider": ofProvider("own", "m-1"),
	} {
		plan := explain(t, s, q)
		require.Contains(t, plan, "SEARCH n USING INDEX notifications_"+index+" (", index)
		require.NotContains(t, plan, "TEMP B-TREE", index)
	}
}
