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

// blocked returns whether the first sender, the second sender, and all senders are blocked.
func blocked(s *State, tenant string) [3]bool {
	return [3]bool{
		s.SenderBlocked(tenant, notify.ChannelSMS, phone, one), s.SenderBlocked(tenant, notify.ChannelSMS, phone, two),
		s.Suppressed(tenant, notify.ChannelSMS, phone),
	}
}

// Each entry has its own reason, scope and tenant, and is revoked alone.
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

// An address may look like the name of an entry of another kind.
func TestSuppression_AddressIsNotKeyOfAnotherKind(t *testing.T) {
	s := applied([]Record{Suppress("default", notify.ChannelEmail, "opted_out/*/ada@example.com").Record()})
	require.True(t, s.Suppressed("default", notify.ChannelEmail, "opted_out/*/ada@example.com"))
	require.False(t, s.Suppressed("default", notify.ChannelEmail, "ada@example.com"))
	s = applied([]Record{SuppressFor("default", notify.ChannelEmail, "ada@example.com", notify.ReasonOptedOut).Record()})
	require.True(t, s.Suppressed("default", notify.ChannelEmail, "ada@example.com"))
	require.False(t, s.Suppressed("default", notify.ChannelEmail, "opted_out/*/ada@example.com"))
}

// TenantsOf finds the tenants with an entry of the same reason, scope and address only.
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

// A suppression outlasts the topic together with its reason and scope.
func TestSuppression_OutlastsTheTopic(t *testing.T) {
	stop, back := OptOut("default", one, phone), OptOut("default", two, phone)
	gone := SuppressFor("default", notify.ChannelSMS, phone, notify.ReasonRecipientGone)
	s := applied([]Record{stop.Record(), back.Record(), gone.Record()})
	there := NewLastingKeys()
	there.Add(back.Tombstone().Key)
	var written []Record
	require.NoError(t, s.WriteMissing(there, noon, func(rs []Record) error { written = append(written, rs...); return nil }))
	require.Len(t, written, 2)
	s.Restart()
	require.Equal(t, [3]bool{true, true, true}, blocked(s, "default"), "until the new topic says otherwise")
	for _, r := range append([]Record{back.Tombstone()}, written...) {
		s.Apply(r.Key, r.Value, noon)
	}
	require.Equal(t, [3]bool{true, false, true}, blocked(s, "default"))
	require.Equal(t, blocked(s, "default"), blocked(applied(written), "default"))
}

// A lookup asks for each reason, so a topic full of invented reasons must not slow down all jobs.
func TestSuppression_ManyReasons(t *testing.T) {
	s := New()
	for i := range maxReasons + 5 {
		r := SuppressFor("default", notify.ChannelSMS, phone, fmt.Sprintf("reason_%d", i)).Record()
		s.Apply(r.Key, r.Value, noon)
	}
	_, malformed := s.Skipped()
	require.EqualValues(t, 5, malformed)
	require.Equal(t, maxReasons, s.List().Suppressions)
	require.True(t, s.Suppressed("default", notify.ChannelSMS, phone))
}
