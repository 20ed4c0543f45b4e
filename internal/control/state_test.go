package control

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// universe returns all entries that the tests use.
func universe() []Entry {
	var all []Entry
	for _, ch := range notify.Channels() {
		all = append(all, Pause(ch, ""))
		for _, lane := range notify.Lanes() {
			all = append(all, Pause(ch, lane))
		}
		for _, address := range []string{"a@example.com", "A@example.com", "+15550123456", strings.Repeat("long", 1000)} {
			all = append(all, Suppress("default", ch, address), Suppress("acme", ch, address))
			all = append(all, SuppressFor("default", ch, address, notify.ReasonRecipientGone), SuppressFor("default", ch, address, notify.ReasonOptedOut))
		}
	}
	for _, sender := range []string{"+15005550006", "Acme & Co", "12345"} {
		all = append(all, OptOut("default", sender, "+15550123456"), OptOut("acme", sender, "+15550123456"))
	}
	for _, id := range ids {
		all = append(all, Cancel(id, time.Now()), Settle(id, 0, time.Now()), Settle(id, 2, time.Now()))
	}
	return append(all, PauseGateway("mail"), PauseGateway("email"), PauseGateway("bulk"))
}

// inForce returns which entries of the universe are in force.
func inForce(s *State) map[string]bool {
	on := map[string]bool{}
	for _, e := range universe() {
		switch {
		case e.Kind == KindCancel:
			on[string(e.key())] = s.Cancelled(e.ID)
		case e.Kind == KindSettled:
			on[string(e.key())] = s.Settled(e.ID, e.Run)
		case e.Kind == KindSuppression && e.Scope != "":
			on[string(e.key())] = s.SenderBlocked(e.Tenant, e.Channel, e.Address, e.Scope)
		case e.Kind == KindSuppress || e.Kind == KindSuppression:
			on[recipientOf(e)] = s.Suppressed(e.Tenant, e.Channel, e.Address)
		case e.Gateway != "":
			on[string(e.key())] = s.PausedGateway(e.Gateway)
		case e.Lane != "":
			on[string(e.key())] = s.Paused(e.Channel, e.Lane)
		}
	}
	maps.DeleteFunc(on, func(_ string, is bool) bool { return !is })
	return on
}

// recipientOf returns one name for all entries that suppress the same recipient.
func recipientOf(e Entry) string {
	return "suppressed:" + Suppress(e.Tenant, e.Channel, e.Address).Name()
}

// wanted returns which entries must be in force after the given last records of each key.
func wanted(last map[string]Record) map[string]bool {
	on := map[string]bool{}
	for _, e := range universe() {
		whole := e
		whole.Lane = ""
		if last[string(e.key())].Value != nil || e.Lane != "" && last[string(whole.key())].Value != nil {
			key := string(e.key())
			if e.Scope == "" && (e.Kind == KindSuppress || e.Kind == KindSuppression) {
				key = recipientOf(e)
			}
			on[key] = true
		}
	}
	for _, ch := range notify.Channels() {
		delete(on, "pause:"+string(ch)) // its lanes show it
	}
	return on
}

func applied(logs ...[]Record) *State {
	s := New()
	for _, log := range logs {
		for _, r := range log {
			s.Apply(r.Key, r.Value, time.Now())
		}
	}
	return s
}

// The last record of each key is in force, whatever the order of the records and with invalid records among them. This also
// holds when the log is read twice, and when it has been compacted.
func TestState_LastRecordOfKeyIsInForce(t *testing.T) {
	all := universe()
	rapid.Check(t, func(t *rapid.T) {
		var log, sound []Record
		last, junk := map[string]Record{}, 0
		for range rapid.IntRange(0, 200).Draw(t, "records") {
			e := rapid.SampledFrom(all).Draw(t, "entry")
			e.At = time.Now()
			r := e.Record()
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				r = e.Tombstone()
			case 2:
				f := rapid.SampledFrom(faulty).Draw(t, "junk")
				log = append(log, Record{[]byte(f.key), []byte(f.value)})
				junk++
				continue
			}
			log, sound = append(log, r), append(sound, r)
			last[string(r.Key)] = r
		}
		want := wanted(last)
		s := applied(log)
		require.Equal(t, want, inForce(s))
		unknown, malformed := s.Skipped()
		require.EqualValues(t, junk, unknown+malformed)

		twice := applied(log, log)
		require.Equal(t, want, inForce(twice))
		require.Equal(t, s.List(), twice.List())
		compacted := slices.Collect(maps.Values(last))
		require.Equal(t, want, inForce(applied(compacted)))
		require.Equal(t, s.List(), applied(compacted).List())
		byKey := slices.Clone(sound)
		slices.SortStableFunc(byKey, func(a, b Record) int { return slices.Compare(a.Key, b.Key) })
		require.Equal(t, want, inForce(applied(byKey)))
	})
}

func TestState_PausedChannelPausesItsLanesButNoGateway(t *testing.T) {
	s := applied([]Record{Pause(notify.ChannelEmail, "").Record(), Pause(notify.ChannelSMS, notify.LaneNormal).Record()})
	for _, lane := range append(notify.Lanes(), "") {
		require.True(t, s.Paused(notify.ChannelEmail, lane))
		require.False(t, s.Paused(notify.ChannelPush, lane))
	}
	require.True(t, s.Paused(notify.ChannelSMS, ""), "no lane is lane normal")
	require.False(t, s.Paused(notify.ChannelSMS, notify.LaneUrgent))
	require.False(t, s.PausedGateway("email"))
	require.False(t, s.PausedGateway(""))
}

func TestState_Changed(t *testing.T) {
	s := New()
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	say := func(r Record) bool {
		ch := s.Changed()
		s.Apply(r.Key, r.Value, noon)
		return closed(ch)
	}
	mail, email := PauseGateway("mail"), Pause(notify.ChannelEmail, "")
	require.False(t, say(mail.Tombstone()), "it was not paused")
	require.True(t, say(mail.Record()))
	waiting := s.Changed()
	mail.Note = "again"
	require.False(t, say(mail.Record()), "it was paused before")
	require.Equal(t, "again", s.List().Pauses[0].Note, "the later note counts")
	require.False(t, say(Record{[]byte("pause:email"), []byte("junk")}))
	require.False(t, say(Suppress("default", notify.ChannelEmail, "a@example.com").Record()))
	require.False(t, say(Cancel(ids[0], noon).Record()))
	early := s.Changed()
	require.True(t, say(email.Record()))
	require.True(t, closed(early))
	require.True(t, closed(waiting), "over a repetition, too")
	require.True(t, say(mail.Tombstone()))
	require.Equal(t, "email", s.List().Pauses[0].Name())
	require.Equal(t, Listing{Pauses: s.List().Pauses, Suppressions: 1, Cancellations: 1}, s.List())
}

// An expired cancellation is not in force, and is removed when its tombstone is read.
func TestState_CancellationExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		start := time.Now()
		for i, id := range ids {
			r := Cancel(id, start.Add(time.Duration(i)*time.Hour)).Record()
			s.Apply(r.Key, r.Value, start.Add(time.Duration(i)*time.Hour))
		}
		time.Sleep(MaxLifetime - time.Second)
		require.True(t, s.Cancelled(ids[0]))
		require.True(t, s.Cancelled(strings.ToUpper(ids[0])))
		require.Empty(t, s.Expired(time.Now()))
		time.Sleep(time.Second)
		require.False(t, s.Cancelled(ids[0]))
		require.True(t, s.Cancelled(ids[1]))
		tombstones := s.Expired(time.Now())
		require.Equal(t, []Record{Cancel(ids[0], start).Tombstone()}, tombstones)
		require.Equal(t, tombstones, s.Expired(time.Now()), "given again until it has come back")
		s.Apply(tombstones[0].Key, tombstones[0].Value, time.Now())
		require.Empty(t, s.Expired(time.Now()))
		require.Equal(t, 2, s.List().Cancellations)
	})
}

// One writer and many readers may run concurrently. This test fails only under the race detector or when a reader blocks.
func TestState_ConcurrentReaders(t *testing.T) {
	s := New()
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-s.Changed():
				default:
				}
				inForce(s)
				s.List()
				s.Expired(noon)
			}
		})
	}
	all := universe()
	for i := range 2000 {
		r := all[i*7%len(all)].Record()
		if i%3 == 0 {
			r.Value = nil
		}
		s.Apply(r.Key, r.Value, time.Now())
	}
	close(done)
	readers.Wait()
}

func TestParseID_RoundTrip(t *testing.T) {
	for _, id := range append(ids, notify.NewID()) {
		h, ok := parseID(id)
		require.True(t, ok)
		require.Equal(t, id, formatID(h))
	}
	rapid.Check(t, func(t *rapid.T) { // one slip anywhere
		b := []byte(rapid.SampledFrom(ids).Draw(t, "id"))
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("0aFgG- ")).Draw(t, "character")
		s := string(b[:rapid.SampledFrom([]int{len(b), len(b), len(b) - 1}).Draw(t, "length")])
		_, known := notify.ParseID(s)
		_, ok := parseID(s)
		require.Equal(t, known, ok, s)
	})
}
