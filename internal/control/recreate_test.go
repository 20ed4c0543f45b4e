package control

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestState_RestartKeepsSuppressionsAlone(t *testing.T) {
	a := Suppress("default", notify.ChannelEmail, "a@example.com")
	b := Suppress("default", notify.ChannelEmail, "b@example.com")
	c := Suppress("acme", notify.ChannelSMS, "+4915112345678")
	s := applied([]Record{
		a.Record(), b.Record(), c.Record(), Cancel(ids[0], noon).Record(), Pause(notify.ChannelEmail, "").Record(),
		Cancel(ids[1], time.Now()).Record(),
	})
	on := func() (all []bool) {
		for _, e := range []Entry{a, b, c} {
			all = append(all, s.Suppressed(e.Tenant, e.Channel, e.Address))
		}
		return all
	}
	changed := s.Changed()
	there := NewLastingKeys()
	there.Add(b.Record().Key) // the new topic has taken b back already
	there.Add([]byte("pause:email"))
	var written []Record
	require.NoError(t, s.WriteMissing(there, noon, func(rs []Record) error { written = append(written, rs...); return nil }))
	require.Len(t, written, 2)
	require.Equal(t, a.Record().Key, written[0].Key)
	e, set, err := Decode(written[0].Key, written[0].Value, noon)
	require.NoError(t, err)
	require.True(t, set)
	require.Equal(t, restoredNote, e.Note)

	s.Restart()
	<-changed
	require.Equal(t, Listing{Suppressions: 3}, Listing{s.List().Pauses, s.List().Suppressions, s.List().Cancellations})
	require.False(t, s.Cancelled(ids[1]))
	require.False(t, s.Paused(notify.ChannelEmail, notify.LaneNormal))
	require.Equal(t, []bool{true, true, true}, on(), "until the new topic says otherwise")
	for _, r := range append([]Record{b.Tombstone()}, written...) {
		s.Apply(r.Key, r.Value, noon)
	}
	require.Equal(t, []bool{true, false, true}, on())

	s.Restart() // once more, before it has been read
	s.Restart()
	require.Equal(t, []bool{true, false, true}, on())
	require.Equal(t, 2, s.List().Suppressions)
	failed := errors.New("no broker")
	require.ErrorIs(t, s.WriteMissing(NewLastingKeys(), noon, func([]Record) error { return failed }), failed)
}

// After the topic was created again, all processes use the same key of fingerprints, including processes that start later.
func TestState_FingerprintKeyOutlastsTheTopic(t *testing.T) {
	e := FingerprintKey(noon)
	old := applied([]Record{e.Record(), Cancel(ids[0], noon).Record()})
	var written []Record
	keep := func(rs []Record) error { written = append(written, rs...); return nil }
	require.NoError(t, old.WriteMissing(NewLastingKeys(), noon, keep))
	require.Len(t, written, 1)
	old.Restart()
	young := applied(written)
	for _, s := range []*State{old, young} {
		key, ok := s.FingerprintKey()
		require.True(t, ok)
		require.Equal(t, e.Key, key)
	}

	there := NewLastingKeys() // another process was faster
	there.Add(written[0].Key)
	written = nil
	require.NoError(t, old.WriteMissing(there, noon, keep))
	require.Empty(t, written, "what the new topic says counts")
	failed := errors.New("no broker")
	require.ErrorIs(t, old.WriteMissing(NewLastingKeys(), noon, func([]Record) error { return failed }), failed)
	require.NoError(t, New().WriteMissing(NewLastingKeys(), noon, keep))
	require.Empty(t, written)
}
