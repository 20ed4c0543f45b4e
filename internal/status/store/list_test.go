package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// many gives n jobs that differ in everything a list can be filtered by, half of them with an outcome.
func many(n int) []status.Change {
	pick := func(i, of int) int { return i * 7919 % 1013 % of }
	var changes []status.Change
	for i := range n {
		id, at := notify.DerivedID("many", fmt.Sprint(i)), noon.Add(time.Duration(i/3)*time.Second)
		c := accepted(id, at)
		c.Event.Tenant = []string{"default", "default", "acme"}[pick(i, 3)]
		c.Event.Channel = notify.Channels()[pick(i+1, 3)]
		c.Event.Lane = notify.Lanes()[pick(i+2, 3)]
		c.Event.Reference = []string{"", "one", "two"}[pick(i+3, 3)]
		c.Job.Address = fmt.Sprintf("a%d@example.com", pick(i+4, 4))
		c.Job.Recipient = []string{c.Job.Address, "Ada <" + c.Job.Address + ">"}[pick(i+5, 2)]
		changes = append(changes, c)
		if i%2 == 0 {
			e := c.Event
			e.State, e.At = []notify.State{notify.StateSent, notify.StateDead, notify.StateRetrying}[pick(i, 3)], at.Add(time.Second)
			e.Gateway = []string{"mail", "spare"}[pick(i+6, 2)]
			e.Seal()
			changes = append(changes, status.Change{Event: e})
		}
	}
	return changes
}

func drawFilter(t *rapid.T) notify.LifeFilter {
	text := func(label string, of ...string) string { return rapid.SampledFrom(append(of, "", "")).Draw(t, label) }
	f := notify.LifeFilter{
		Channel: notify.Channel(text("channel", "email", "sms")), Lane: notify.Lane(text("lane", "bulk", "normal")),
		Gateway: text("gateway", "mail", "nobody"), Reference: text("reference", "one"), Tenant: text("tenant", "default", "acme"),
		Recipient: text("recipient", "a1@example.com", "Ada <a2@example.com>"),
		States: rapid.SliceOfN(rapid.SampledFrom([]notify.State{notify.StateQueued, notify.StateSent, notify.StateDead}), 0, 3).
			Draw(t, "states"),
	}
	if rapid.Bool().Draw(t, "since?") {
		f.Since = noon.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "since")) * time.Second)
	}
	if rapid.Bool().Draw(t, "until?") {
		f.Until = noon.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "until")) * time.Second)
	}
	return f
}

func matches(l *notify.Life, address string, f *notify.LifeFilter) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, l.State)) &&
		(f.Channel == "" || f.Channel == l.Channel) && (f.Lane == "" || f.Lane == l.Lane) &&
		(f.Gateway == "" || f.Gateway == l.Gateway) && (f.Reference == "" || f.Reference == l.Reference) &&
		(f.Tenant == "" || f.Tenant == l.Tenant) && (f.Recipient == "" || f.Recipient == l.Recipient || f.Recipient == address) &&
		(f.Since.IsZero() || !l.AcceptedAt.Before(f.Since)) && (f.Until.IsZero() || l.AcceptedAt.Before(f.Until))
}

func pages(t require.TestingT, s *Store, f notify.LifeFilter, limit int) (ids []string) {
	cursor := ""
	for range 1000 {
		page, err := s.List(context.Background(), f, cursor, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Data), limit)
		for _, l := range page.Data {
			ids = append(ids, l.ID)
		}
		if cursor = page.Next; cursor == "" {
			return ids
		}
	}
	require.Fail(t, "the list has no end")
	return nil
}

func TestPagesOfAnyFilterGiveEveryMatchOnceInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		changes := many(120)
		take(t, s, changes...)
		s.scan = 20
		var all []notify.Life
		addresses := map[string]string{}
		for _, c := range changes {
			if c.Job != nil {
				l, err := s.Get(context.Background(), c.Event.NotificationID)
				require.NoError(t, err)
				all, addresses[l.ID] = append(all, *l), c.Job.Address
			}
		}
		slices.Reverse(all) // of one time, what was recorded last comes first
		slices.SortStableFunc(all, func(a, b notify.Life) int { return b.AcceptedAt.Compare(a.AcceptedAt) })
		checks := 0
		rapid.Check(t, func(t *rapid.T) {
			if checks++; s.read == s.write && checks > 20 {
				return // PostgreSQL takes its time, and SQLite has seen the rest
			}
			f := drawFilter(t)
			var want []string
			for _, l := range all {
				if matches(&l, addresses[l.ID], &f) {
					want = append(want, l.ID)
				}
			}
			require.Equal(t, want, pages(t, s, f, rapid.SampledFrom([]int{1, 2, 7, 50}).Draw(t, "limit")))
		})
	})
}

func TestAPageEndsEarlyWhereItHasLookedAtEnough(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		take(t, s, many(200)...)
		s.scan = 20
		page, err := s.List(context.Background(), notify.LifeFilter{Gateway: "mail", Tenant: "nobody"}, "", 10)
		require.NoError(t, err)
		require.Empty(t, page.Data)
		require.NotEmpty(t, page.Next)
	})
}

func TestOnlyCursorsOfAListAreTaken(t *testing.T) {
	s := recording(t, Config{Dir: t.TempDir()})
	for _, cursor := range []string{"x", "!", "AAAAAAAAAAA", edge{1, 2}.cursor()[1:], edge{1, 2}.cursor() + "A"} {
		_, err := s.List(context.Background(), notify.LifeFilter{}, cursor, 10)
		require.ErrorIs(t, err, notify.ErrBadCursor)
	}
}

// At ten million rows a list is as fast as here only if it goes along an index and sorts no more than its pages.
func TestEveryFilterHasItsIndex(t *testing.T) {
	s := recording(t, Config{Dir: t.TempDir()})
	for index, f := range map[string]notify.LifeFilter{
		"by_time":      {},
		"by_state":     {States: []notify.State{notify.StateDead, notify.StateHeld}},
		"by_channel":   {Channel: notify.ChannelSMS},
		"by_channel ":  {Lane: notify.LaneUrgent},
		"by_gateway":   {Gateway: "mail"},
		"by_address":   {Recipient: "ada@example.com"},
		"by_written":   {Recipient: "Ada <ada@example.com>"},
		"by_reference": {Reference: "order-7"},
		"by_tenant":    {Tenant: "acme"},
		"by_time ":     {Tenant: "default"},
		"by_state ":    {States: []notify.State{notify.StateDead}, Channel: notify.ChannelSMS, Lane: notify.LaneBulk, Gateway: "mail"},
		"by_address ":  {Recipient: "ada@example.com", Reference: "order-7", Tenant: "default"},
	} {
		f.Since, f.Until = noon, noon.Add(time.Hour)
		l := newListing(&f, &edge{micros(noon), 7})
		plan := explain(t, s, l.page(50))
		used := "notifications_" + strings.TrimSpace(index) + " ("
		require.Contains(t, plan, used, index)
		before := ""
		for line := range strings.Lines(plan) {
			if strings.Contains(line, "notifications") {
				require.Contains(t, line, "(accepted_at,line)>(?,?) AND (accepted_at,line)<(?,?)", "%s: no bound on a side\n%s", index, plan)
			}
			if strings.Contains(line, "TEMP B-TREE") {
				require.NotContains(t, before, "notifications", "%s: more than pages is sorted\n%s", index, plan)
			}
			before = line
		}
	}
}

func explain(t *testing.T, s *Store, q *query) string {
	rows, err := s.read.Query("EXPLAIN QUERY PLAN "+q.String(), q.args...)
	require.NoError(t, err)
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		plan.WriteString(detail + "\n")
	}
	require.NoError(t, rows.Err())
	return plan.String()
}
