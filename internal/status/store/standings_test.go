package store

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

func TestStandings(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		waits, sent, unknown := notify.NewID(), notify.NewID(), notify.NewID()
		put, last := became(waits, 3, notify.StateRetrying, noon.Add(time.Second)), became(sent, 1, notify.StateSent, noon.Add(time.Second))
		take(t, s, accepted(waits, noon), put, accepted(sent, noon), last)
		got, err := s.Standings(ctx, []string{waits, sent, unknown})
		require.NoError(t, err)
		require.Equal(t, map[string]status.Standing{
			waits: {State: notify.StateRetrying, Place: status.Place(&put.Event)},
			sent:  {State: notify.StateSent, Final: true, Place: status.Place(&last.Event)},
		}, got)
		got, err = s.Standings(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, got)
		require.NoError(t, s.Close())
		_, err = s.Standings(ctx, []string{sent})
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)
	})
}
