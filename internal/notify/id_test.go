package notify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseID(t *testing.T) {
	id, ok := ParseID("0190163D-8694-739B-AEA5-966C26F8AD91")
	require.True(t, ok)
	require.Equal(t, "0190163d-8694-739b-aea5-966c26f8ad91", id)
	for _, s := range []string{
		"", "0190163d8694739baea5966c26f8ad91", "0190163d-8694-739b-aea5-966c26f8ad9", "0190163d-8694-739b-aea5-966c26f8ad9g",
		"------------------------------------", "0190163d-8694-739b-aea5-966c26f8ad--", "--90163d-8694-739b-aea5-966c26f8ad91",
	} {
		_, ok := ParseID(s)
		require.False(t, ok, s)
	}
}

// Derived ids are pinned, those of long parts, too: another one would be another notification.
func TestDerivedID(t *testing.T) {
	require.Equal(t, "363560a7-6696-8ee7-a71a-90c475b44650", DerivedID("record", "cluster", "sms_topic", "7", "42"))
	require.Equal(t, "cfa0e10b-e76f-8cb4-bce1-50cf1a88aafc", DerivedID("idempotency", "default", strings.Repeat("long ", 100)))
}
