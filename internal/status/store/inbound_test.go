package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestInbound_IsKept by gateway, in all processes, and through a rebuild; what is not lasting goes with the retention.
func TestInbound_IsKept(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s, other, ctx := recording(t, c), open(t, c), context.Background()
		has := func(gateway, message string) bool {
			t.Helper()
			known, err := other.HasInbound(ctx, gateway, message)
			require.NoError(t, err)
			return known
		}
		require.False(t, has("texts", "SM1"))
		for range 2 {
			require.NoError(t, s.KeepInbound(ctx, "texts", "SM1", true, noon))
			require.NoError(t, s.KeepInbound(ctx, "texts", "SM2", false, noon))
		}
		for i := range chunk + 1 {
			require.NoError(t, s.KeepInbound(ctx, "more", fmt.Sprint(i), false, noon))
		}
		require.NoError(t, s.KeepInbound(ctx, "texts", "SM3", false, noon.Add(time.Hour)))
		require.Equal(t, []bool{true, true, true, false}, []bool{has("texts", "SM1"), has("texts", "SM2"), has("texts", "SM3"), has("backup", "SM1")})
		require.NoError(t, s.Reset(ctx))
		require.True(t, has("texts", "SM1"))
		_, err := s.Retain(ctx, noon.Add(time.Minute))
		require.NoError(t, err)
		require.Equal(t, []bool{true, false, true}, []bool{has("texts", "SM1"), has("texts", "SM2"), has("texts", "SM3")})
		var left int
		require.NoError(t, s.read.QueryRow("SELECT count(*) FROM inbound").Scan(&left))
		require.Equal(t, 2, left)

		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.HasInbound(ended, "texts", "SM1")
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)
		require.ErrorIs(t, s.KeepInbound(ended, "texts", "SM1", true, noon), notify.ErrStatusUnavailable)
	})
}
