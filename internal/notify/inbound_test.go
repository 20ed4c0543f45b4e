package notify

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestInbound_EventsAreToldApart by the message, and are the same however often it comes.
func TestInbound_EventsAreToldApart(t *testing.T) {
	id := NewID()
	sealed := func(gateway, message, note string) string {
		e := Event{NotificationID: id, State: StateSent, Gateway: gateway, ProviderID: message, Note: note, At: time.Now()}
		e.Seal()
		return e.EventID
	}
	require.Equal(t, sealed("texts", "SM1", NoteInbound), sealed("texts", "SM1", NoteInbound))
	require.NotEqual(t, sealed("texts", "SM1", NoteInbound), sealed("texts", "SM2", NoteInbound))
	require.NotEqual(t, sealed("texts", "SM1", NoteInbound), sealed("backup", "SM1", NoteInbound))
	require.Equal(t, sealed("texts", "SM1", ""), sealed("texts", "SM2", ""), "of all others the provider's id is no part")
}

// TestInbound_IsBounded: a text is cut at a rune, and has no control characters.
func TestInbound_IsBounded(t *testing.T) {
	e := Event{NotificationID: NewID(), State: StateReceived, Note: NoteInbound, Inbound: &EventInbound{
		From: strings.Repeat("1", 1000), To: "\x00\xff+1", Keyword: Keyword(strings.Repeat("k", 1000)), Text: strings.Repeat("👋", 3000),
	}}
	e.Seal()
	require.Equal(t, []int{64, 64}, []int{len(e.Inbound.From), len(e.Inbound.Keyword)})
	require.Equal(t, " +1", e.Inbound.To)
	require.LessOrEqual(t, len(e.Inbound.Text), 5000)
	require.True(t, utf8.ValidString(e.Inbound.Text))
	require.Nil(t, (*EventInbound)(nil).Strip())
}
