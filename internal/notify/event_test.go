package notify

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// sent has two events where a receipt is awaited: that it was sent, and that nobody has said more in time.
func TestSentIsNotFinalWhileAReceiptIsAwaited(t *testing.T) {
	ids := map[string]bool{}
	for _, c := range []struct {
		state          State
		awaited, final bool
	}{
		{StateSent, false, true},
		{StateSent, true, false},
		{StateDelivered, false, true},
		{StateBounced, false, true},
		{StateHeld, false, false},
		{StateLost, false, false},
		{StateRetrying, true, false},
	} {
		e := Event{NotificationID: "n", State: c.state, Awaited: c.awaited}
		e.Seal()
		require.Equal(t, c.final, e.Final, c)
		require.False(t, ids[e.EventID])
		ids[e.EventID] = true
		written, err := e.Encode()
		require.NoError(t, err)
		require.NotContains(t, string(written), "waited", "it is the publisher's own")
		var read Event
		require.NoError(t, json.Unmarshal(written, &read))
		require.Equal(t, c.final, read.Final)
	}
}
