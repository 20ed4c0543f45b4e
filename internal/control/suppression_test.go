package control

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	phone    = "+15550123456"
	one, two = "+15005550006", "MG0123456789abcdef0123456789abcdef"
)

// blocked asks s for both senders and for all senders.
func blocked(s *State, tenant string) [3]bool {
	return [3]bool{
		s.SenderBlocked(tenant, notify.ChannelSMS, phone, one), s.SenderBlocked(tenant, notify.ChannelSMS, phone, two),
		s.Suppressed(tenant, notify.ChannelSMS, phone),
	}
}

// TestSuppression_EntriesOfOneRecipientAreIndependent: each has its reason, scope and tenant, and goes alone.
func TestSuppression_EntriesOfOneRecipientAreIndependent(t *testing.T) {
	manual := Suppress("default", notify.ChannelSMS, phone)
	gone := SuppressFor("default", notify.ChannelSMS, phone, notify.ReasonRecipientGone)
	stop, other := OptOut("default", one, phone), OptOut("default", two, phone)
	s := applied([]Record{manual.Record(), gone.Record(), stop.Record(), other.Record()})
	require.Equal(t, [3]bool{true, true, true}, blocked(s, "default"))
	require.Equal(t, [3]bool{}, blocked(s, "acme"))
	require.Equal(t, 4, s.List().Suppressions)
	for _, c := range []struct {
		gone Entry
		want [3]bool
	}{
		{stop, [3]bool{false, true, true}},
		{manual, [3]bool{false, true, true}},
		{gone, [3]bool{false, true, false}},
		{OptOut("acme", two, phone), [3]bool{false, true, false}},
		{SuppressFor("default", notify.ChannelSMS, phone, notify.ReasonOptedOut), [3]bool{false, true, false}},
		{other, [3]bool{}},
	} {
		r := c.gone.Tombstone()
		s.Apply(r.Key, r.Value, noon)
		require.Equal(t, c.want, blocked(s, "default"), "after %s", r.Key)
	}
	require.False(t, s.SenderBlocked("default", notify.ChannelSMS, phone, ""))
}

// TestSuppression_AnAddressIsNoKeyOfAnotherKind: an address may look like the key of another entry.
func TestSuppression_AnAddressIsNoKeyOfAnotherKind(t *testing.T) {
	s := applied([]Record{Suppress("default", notify.ChannelEmail, "opted_out/*/ada@example.com").Record()})
	require.True(t, s.Suppressed("default", notify.ChannelEmail, "opted_out/*/ada@example.com"))
	require.False(t, s.Suppressed("default", notify.ChannelEmail, "ada@example.com"))
	s = applied([]Record{SuppressFor("default", notify.ChannelEmail, "ada@example.com", notify.ReasonOptedOut).Record()})
	require.True(t, s.Suppressed("default", notify.ChannelEmail, "ada@example.com"))
	require.False(t, s.Suppressed("default", notify.ChannelEmail, "opted_out/*/ada@example.com"))
}

// TestSuppression_TenantsOf finds those with an entry of that reason, scope and address, and no others.
func TestSuppression_TenantsOf(t *testing.T) {
	like := OptOut("", one, phone)
	s := applied([]Record{
		OptOut("default", one, phone).Record(), OptOut("acme", one, phone).Record(), OptOut("other", two, phone).Record(),
		OptOut("more", one, phone+"7").Record(), OptOut("back", one, phone).Record(), OptOut("back", one, phone).Tombstone(),
		SuppressFor("trick", notify.ChannelEmail, "a"+like.Name(), notify.ReasonOptedOut).Record(),
		SuppressFor("all", notify.ChannelSMS, phone, notify.ReasonOptedOut).Record(),
	})
	require.ElementsMatch(t, []string{"default", "acme"}, s.TenantsOf(like))
	s.Restart()
	require.ElementsMatch(t, []string{"default", "acme"}, s.TenantsOf(like), "also those that the new topic has not mentioned yet")
	require.Equal(t, []string{"all"}, s.TenantsOf(SuppressFor("", notify.ChannelSMS, phone, notify.ReasonOptedOut)))
}

// TestSuppression_OutlastsTheTopic with its reason and scope.
func TestSuppression_OutlastsTheTopic(t *testing.T) {
	stop, back := OptOut("default", one, phone), OptOut("default", two, phone)
	gone := SuppressFor("default", notify.ChannelSMS, phone, notify.ReasonRecipientGone)
	s := applied([]Record{stop.Record(), back.Record(), gone.Record()})
	there := NewLasting()
	there.Note(back.Tombstone().Key)
	var written []Record
	require.NoError(t, s.Missing(there, noon, func(rs []Record) error { written = append(written, rs...); return nil }))
	require.Len(t, written, 2)
	s.Restart()
	require.Equal(t, [3]bool{true, true, true}, blocked(s, "default"), "until the new topic says otherwise")
	for _, r := range append([]Record{back.Tombstone()}, written...) {
		s.Apply(r.Key, r.Value, noon)
	}
	require.Equal(t, [3]bool{true, false, true}, blocked(s, "default"))
	require.Equal(t, blocked(s, "default"), blocked(applied(written), "default"))
}

// TestSuppression_ManyReasons: a lookup asks for each reason, so that a topic full of made-up reasons must not slow all jobs down.
func TestSuppression_ManyReasons(t *testing.T) {
	s := New()
	for i := range mostReasons + 5 {
		r := SuppressFor("default", notify.ChannelSMS, phone, fmt.Sprintf("reason_%d", i)).Record()
		s.Apply(r.Key, r.Value, noon)
	}
	_, malformed := s.Skipped()
	require.EqualValues(t, 5, malformed)
	require.Equal(t, mostReasons, s.List().Suppressions)
	require.True(t, s.Suppressed("default", notify.ChannelSMS, phone))
}
