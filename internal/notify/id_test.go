package notify

import (
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
