package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestSuppressedCopyIsLeftOut: the others are sent, keep their place, and the event names each that is not.
func TestSuppressedCopyIsLeftOut(t *testing.T) {
	sender := says(transient, nil)
	w := worker(sender, func(c *Config) {
		c.Control = &told{suppressed: map[string]bool{"gone@example.com": true, `"o d"@example.com`: true}}
	})
	r := record(`{"channel":"email","recipient":"ada@example.com","payload":{"subject":"s","text":"t",
		"cc":["Gone <gone@EXAMPLE.com>","grace@example.com"],"bcc":["blind@example.com","\"o d\"@example.com"]}}`)
	want := []string{"cc[0] is suppressed and was left out", "bcc[1] is suppressed and was left out"}
	res := w.Handle(t.Context(), attempt(r))
	e := eventOf(t, res)
	require.Equal(t, want, e.Warnings)
	require.Equal(t, []string{"", "grace@example.com"}, sender.got[0].Email.CC)
	require.Equal(t, []string{"blind@example.com", ""}, sender.got[0].Email.BCC)
	require.Contains(t, string(res.Follow[0].Value), "gone@", "the job itself does not change")

	second := next(t, r, res)
	j := w.read(second)
	w.omitSuppressed(j)
	j.warnings = []string{"old"}
	require.Equal(t, want, w.event(j).Warnings, "each step says so")
	require.Equal(t, notify.ChannelEmail, e.Channel)
}
