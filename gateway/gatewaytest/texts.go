package gatewaytest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway"
)

// texts reports whether the gateway sends text messages.
func (s Suite[F]) texts() bool {
	for _, message := range s.Messages {
		if message(0).SMS != nil {
			return true
		}
	}
	return false
}

// originated checks that the provider gets the sender that Originator names, also for a message with its own sender. Otherwise
// an opt-out would block another sender, or none.
func (s Suite[F]) originated(t *testing.T) {
	for i, message := range s.Messages {
		if message(i).SMS == nil {
			continue
		}
		for _, own := range []string{"", "GWACME", "+15550100999"} {
			r := s.rig(t)
			named, ok := r.sender.(gateway.Originator)
			require.True(t, ok, "a sender of text messages is a gateway.Originator")
			r.next = i
			m, n := r.message()
			m.SMS.From = own
			ctx, cancel := context.WithTimeout(context.Background(), r.patience)
			_, err := r.sender.Send(ctx, m)
			cancel()
			require.NoError(t, err)
			require.Equal(t, 1, r.deliveries(t, r.fake)[n])
			origins := s.Origins(r.fake)
			require.Equal(t, origins[len(origins)-1], named.Originator(m), "the sender of a message from %q", own)
			if own != "" {
				require.Equal(t, own, named.Originator(m), "the sender of the message goes before that of the gateway")
			}
		}
		m := message(i)
		m.SMS = nil
		require.NotPanics(t, func() { s.rig(t).sender.(gateway.Originator).Originator(m) }, "a message of another channel")
	}
}
