package store

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

func TestALifeIsRead(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		id := notify.NewID()
		_, err := s.Get(ctx, id)
		require.ErrorIs(t, err, notify.ErrUnknownNotification)

		sent := became(id, 1, notify.StateSent, noon.Add(2*time.Second))
		sent.Event.ProviderID, sent.Event.Reason = "abc", "250 ok"
		take(t, s, accepted(id, noon), became(id, 0, notify.StateRetrying, noon.Add(time.Second)))
		take(t, s, sent)

		l, err := s.Get(ctx, id)
		require.NoError(t, err)
		expires := noon.Add(24 * time.Hour)
		require.Len(t, l.Timeline, 3)
		require.Equal(t, []notify.State{notify.StateQueued, notify.StateRetrying, notify.StateSent},
			[]notify.State{l.Timeline[0].State, l.Timeline[1].State, l.Timeline[2].State})
		require.Equal(t, sent.Event, l.Timeline[2])
		l.Timeline = nil
		require.Equal(t, &notify.Life{
			ID: id, Tenant: "default", Channel: notify.ChannelEmail, Lane: notify.LaneNormal,
			Recipient: "Ada <ada@Example.com>", Reference: "order-7", Metadata: map[string]string{"shop": "1"},
			State: notify.StateSent, Final: true, Step: 1, Attempt: 2, Gateway: "mail", Reason: "250 ok", ProviderID: "abc",
			AcceptedAt: noon, UpdatedAt: noon.Add(2 * time.Second), ExpiresAt: &expires, Payload: []byte(`{"subject":"hello"}`),
		}, l)
	})
}

func TestPositionsGoWithTheirBatch(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		at := func(next int64) []status.Position {
			return []status.Position{{Topic: "email_topic", Partition: 3, Next: next}}
		}
		id := notify.NewID()
		first := status.Batch{Changes: []status.Change{accepted(id, noon)}, From: at(-1), To: at(7)}
		require.NoError(t, s.Record(ctx, "me", first))
		require.ErrorIs(t, s.Record(ctx, "me", first), status.ErrMoved)

		other := notify.NewID()
		wrong := status.Batch{Changes: []status.Change{accepted(other, noon)}, From: at(6), To: at(8)}
		require.ErrorIs(t, s.Record(ctx, "me", wrong), status.ErrMoved)
		_, err := s.Get(ctx, other)
		require.ErrorIs(t, err, notify.ErrUnknownNotification, "nothing of a refused batch is there")

		require.NoError(t, s.Record(ctx, "me", status.Batch{From: at(7), To: at(8)}))
		got, err := s.Positions(ctx)
		require.NoError(t, err)
		require.Equal(t, at(8), got)
	})
}
