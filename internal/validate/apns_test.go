package validate

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestRecipientTypes: what the gateways do not take is refused, and the fault names what they do.
func TestRecipientTypes(t *testing.T) {
	recipients := map[string]string{
		"": "token", notify.RecipientFCM: "token", notify.RecipientTopic: "news", notify.RecipientCondition: "'news' in topics",
		notify.RecipientAPNs: strings.Repeat("ab", 32),
	}
	for _, c := range []struct {
		rules  []string
		takes  []string
		remedy string
	}{
		{nil, []string{"", notify.RecipientFCM, notify.RecipientTopic, notify.RecipientCondition}, "give fcm, topic or condition, "},
		{[]string{notify.RecipientAPNs}, []string{notify.RecipientAPNs}, "give apns, "},
		{[]string{notify.RecipientFCM, notify.RecipientAPNs}, []string{"", notify.RecipientFCM, notify.RecipientAPNs}, "give fcm or apns, "},
	} {
		for kind, recipient := range recipients {
			n := &notify.Notification{Channel: notify.ChannelPush, RecipientType: kind, Recipient: recipient, Payload: []byte(`{"body":"x"}`)}
			_, faults := Rules{RecipientTypes: c.rules}.Check(n)
			if slices.Contains(c.takes, kind) {
				require.Empty(t, faults)
				continue
			}
			require.Len(t, faults, 1)
			require.Equal(t, []string{"#/recipient_type", notify.FaultInvalid}, []string{faults[0].Pointer, faults[0].Code})
			require.Contains(t, faults[0].Detail, c.remedy)
		}
	}
}

// TestOneSpellingOfAToken: a device is one, however its token is written.
func TestOneSpellingOfAToken(t *testing.T) {
	n := &notify.Notification{Channel: notify.ChannelPush, RecipientType: notify.RecipientAPNs, Recipient: strings.Repeat("aB", 32), Payload: []byte(`{"body":"x"}`)}
	m, faults := Rules{RecipientTypes: notify.RecipientTypes()}.Check(n)
	require.Empty(t, faults)
	require.Equal(t, strings.Repeat("ab", 32), m.Address)
	require.Equal(t, strings.Repeat("aB", 32), n.Recipient)
}
