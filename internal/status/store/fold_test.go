package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// drawChanges gives what the topics could say of a few notifications, and more: times that are equal, the same event with
// another time or text, notes, several jobs of one id.
func drawChanges(t *rapid.T) []status.Change {
	ids := []string{notify.DerivedID("a"), notify.DerivedID("b")}
	states := []notify.State{
		notify.StateQueued, notify.StateScheduled, notify.StateRetrying, notify.StateHeld, notify.StateSent, notify.StateDelivered, notify.StateDead,
	}
	soon := func(label string) time.Time {
		return noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, label)) * time.Second)
	}
	one := rapid.Custom(func(t *rapid.T) status.Change {
		c := status.Change{Event: notify.Event{
			NotificationID: rapid.SampledFrom(ids).Draw(t, "id"),
			Run:            rapid.IntRange(0, 1).Draw(t, "run"), Step: rapid.IntRange(0, 2).Draw(t, "step"),
			State: rapid.SampledFrom(states).Draw(t, "state"), At: soon("at"),
			Note:   rapid.SampledFrom([]string{"", "", "", "stuck"}).Draw(t, "note"),
			Reason: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "reason"),
			Tenant: rapid.SampledFrom([]string{"default", "acme"}).Draw(t, "tenant"), Channel: notify.ChannelEmail, Lane: notify.LaneNormal,
		}}
		if rapid.Bool().Draw(t, "job") {
			c.Event.State, c.Event.Step, c.Event.Note = notify.StateQueued, 0, ""
			c.Job = &status.Job{
				Recipient: rapid.SampledFrom([]string{"ada@example.com", "bob@example.com"}).Draw(t, "recipient"), Address: "ada@example.com",
				AcceptedAt: soon("accepted"), Payload: json.RawMessage(rapid.SampledFrom([]string{"", `{"n":1}`, `{"n":2}`}).Draw(t, "payload")),
			}
		}
		c.Event.Seal()
		return c
	})
	return rapid.SliceOfN(one, 1, 14).Draw(t, "changes")
}

// model folds changes as the package says that they count, one after another in the order of their keys: without the code
// of the store, apart from its checksums.
func model(changes []status.Change) map[string]notify.Life {
	byID := map[string][]status.Change{}
	for _, c := range changes {
		byID[c.Event.NotificationID] = append(byID[c.Event.NotificationID], c)
	}
	lives := map[string]notify.Life{}
	for id, cs := range byID {
		lives[id] = lifeOf(cs)
	}
	return lives
}

func lifeOf(cs []status.Change) notify.Life {
	sum := func(c status.Change) int64 { b, _ := bodyOf(&c.Event); return checksum([]byte(b)) }
	accepted := func(c status.Change) (int, time.Time) {
		if c.Job != nil {
			return 0, c.Job.AcceptedAt
		}
		return 1, c.Event.At
	}
	first := slices.MinFunc(cs, func(a, b status.Change) int {
		ka, ta := accepted(a)
		kb, tb := accepted(b)
		return cmp.Or(cmp.Compare(ka, kb), ta.Compare(tb), cmp.Compare(originOf(&a).source, originOf(&b).source))
	})
	last := slices.MinFunc(cs, func(a, b status.Change) int {
		return cmp.Or(cmp.Compare(status.Place(&b.Event), status.Place(&a.Event)), a.Event.At.Compare(b.Event.At),
			cmp.Compare(a.Event.EventID, b.Event.EventID), cmp.Compare(sum(a), sum(b)))
	})
	e := last.Event
	l := notify.Life{
		ID: e.NotificationID, Tenant: first.Event.Tenant, Channel: first.Event.Channel, Lane: first.Event.Lane,
		State: e.State, Final: e.Final, Run: e.Run, Step: e.Step, Reason: e.Reason, UpdatedAt: e.At,
	}
	_, l.AcceptedAt = accepted(first)
	if j := first.Job; j != nil {
		l.Recipient = j.Recipient
	}
	l.Payload = payloadIn(cs)
	events := map[string]status.Change{}
	for _, c := range cs {
		known, ok := events[c.Event.EventID]
		if !ok || cmp.Or(c.Event.At.Compare(known.Event.At), cmp.Compare(sum(c), sum(known))) < 0 {
			events[c.Event.EventID] = c
		}
	}
	for _, c := range events {
		l.Timeline = append(l.Timeline, c.Event)
	}
	slices.SortFunc(l.Timeline, func(a, b notify.Event) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Step, b.Step), a.At.Compare(b.At), cmp.Compare(a.EventID, b.EventID))
	})
	return l
}

func payloadIn(cs []status.Change) json.RawMessage {
	var with []status.Change
	for _, c := range cs {
		if c.Job != nil && len(c.Job.Payload) > 0 {
			with = append(with, c)
		}
	}
	if len(with) == 0 {
		return nil
	}
	return slices.MinFunc(with, func(a, b status.Change) int {
		return cmp.Or(a.Job.AcceptedAt.Compare(b.Job.AcceptedAt), cmp.Compare(originOf(&a).source, originOf(&b).source))
	}).Job.Payload
}

// recordInAnyWay records changes in a drawn order, some of them again, in drawn batches.
func recordInAnyWay(t *rapid.T, s *Store, changes []status.Change) {
	all := append(slices.Clone(changes), rapid.SliceOfN(rapid.SampledFrom(changes), 0, 6).Draw(t, "again")...)
	all = rapid.Permutation(all).Draw(t, "order")
	for len(all) > 0 {
		n := rapid.IntRange(1, len(all)).Draw(t, "batch")
		require.NoError(t, s.Record(context.Background(), "me", status.Batch{Changes: all[:n]}))
		all = all[n:]
	}
}

func TestAnyOrderAnyBatchesAndAnyRepetitionGiveTheSameLives(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		checks := 0
		rapid.Check(t, func(t *rapid.T) {
			if checks++; s.read == s.write && checks > 20 {
				return // PostgreSQL takes its time, and SQLite has seen the rest
			}
			require.NoError(t, s.Reset(context.Background()))
			changes := drawChanges(t)
			recordInAnyWay(t, s, changes)
			for id, want := range model(changes) {
				got, err := s.Get(context.Background(), id)
				require.NoError(t, err)
				require.Equal(t, &want, got, fmt.Sprint(len(changes), " changes"))
			}
		})
	})
}

// What is shown as the state is always in the timeline that is shown with it.
func TestTheStateIsThatOfAnEventOfTheTimeline(t *testing.T) {
	s := recording(t, Config{Dir: t.TempDir()})
	rapid.Check(t, func(t *rapid.T) {
		require.NoError(t, s.Reset(context.Background()))
		changes := drawChanges(t)
		recordInAnyWay(t, s, changes)
		for id := range model(changes) {
			l, err := s.Get(context.Background(), id)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(l.Timeline, func(e notify.Event) bool {
				return e.State == l.State && e.Run == l.Run && e.Step == l.Step && e.Final == l.Final && e.Reason == l.Reason && e.At.Equal(l.UpdatedAt)
			}))
		}
	})
}
