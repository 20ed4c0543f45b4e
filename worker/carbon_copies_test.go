package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestWorker_SuppressedCopyIsOmitted: the other addresses are sent and keep their position, and the event names each omitted
// one.
func TestWorker_SuppressedCopyIsOmitted(t *testing.T) {
	sender := scripted(transient, nil)
	w := newWorker(sender, func(c *Config) {
		c.Control = &fakeControl{suppressed: map[string]bool{"gone@example.com": true, `"o d"@example.com`: true}}
	})
	r := record(`{"channel":"email","recipient":"ada@example.com","payload":{"subject":"s","text":"t",
		"cc":["Gone <gone@EXAMPLE.com>","grace@example.com"],"bcc":["blind@example.com","\"o d\"@example.com"]}}`)
	want := []string{"cc[0] is suppressed and was left out", "bcc[1] is suppressed and was left out"}
	res := w.Handle(t.Context(), newAttempt(r))
	e := eventOf(t, res)
	require.Equal(t, want, e.Warnings)
	require.Equal(t, []string{"", "grace@example.com"}, sender.received[0].Email.CC)
	require.Equal(t, []string{"blind@example.com", ""}, sender.received[0].Email.BCC)
	require.Contains(t, string(res.Follow[0].Value), "gone@", "the job itself does not change")

	second := nextRecord(t, r, res)
	j := w.parse(second)
	w.omitSuppressedCopies(j)
	j.warnings = []string{"old"}
	require.Equal(t, want, w.baseEvent(j).Warnings, "each step says so")
	require.Equal(t, notify.ChannelEmail, e.Channel)
}
