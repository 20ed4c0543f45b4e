package control

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// refusing returns a report of a process with some partitions of two channels.
func refusing(gateway, process string, at time.Time, partitions ...int32) Entry {
	lanes := []LanePartitions{
		{notify.ChannelEmail, notify.LaneNormal, NewPartitions(partitions), 4},
		{notify.ChannelPush, notify.LaneNormal, NewPartitions(partitions), 4},
	}
	e := ReportGateway(gateway, process, at, GatewayState{Circuit: "open", Since: at.Add(-time.Minute), Lanes: lanes})
	e.Code, e.Reason = "535", gateway+" refuses us"
	return e
}

func TestReport_IsAContract(t *testing.T) {
	e := ReportGateway("mail", "host-1:9100", noon, GatewayState{
		Circuit: "open", Pace: 12.5, Since: noon.Add(-time.Minute),
		Lanes: []LanePartitions{{notify.ChannelEmail, notify.LaneUrgent, NewPartitions([]int32{9, 0, 2, 1, 3}), 12}},
	})
	e.Code, e.Reason = "535", "5.7.8 Bad credentials"
	r := e.Record()
	require.Equal(t, "gateway:mail/host-1:9100", string(r.Key))
	require.JSONEq(t, `{"kind":"gateway","id":"mail/host-1:9100","at":"2030-01-02T12:00:00Z","expires_at":"2030-01-02T12:01:30Z","code":"535",
		"reason":"5.7.8 Bad credentials","circuit":"open","pace":12.5,"since":"2030-01-02T11:59:00Z",
		"lanes":[{"channel":"email","lane":"urgent","partitions":"0-3,9","of":12}]}`, string(r.Value))
	back, set, err := Decode(r.Key, r.Value, noon)
	require.NoError(t, err)
	require.True(t, set)
	require.Equal(t, e, back)
	gone := e.Tombstone()
	require.Equal(t, r.Key, gone.Key)
	require.Nil(t, gone.Value)
}

func TestReport_HostileRecordsAreRefused(t *testing.T) {
	const key = "gateway:mail/host"
	value := func(rest string) string {
		return `{"kind":"gateway","id":"mail/host","at":"2030-01-02T12:00:00Z",` + rest + `}`
	}
	sound := `"circuit":"open","since":"2030-01-02T12:00:00Z","lanes":[{"channel":"email","lane":"normal","partitions":"0-3","of":4}]`
	_, _, err := Decode([]byte(key), []byte(value(sound)), noon)
	require.NoError(t, err)
	lanes := func(l string) string { return `"circuit":"open","since":"2030-01-02T12:00:00Z","lanes":` + l }
	lane := func(partitions string, of int) string {
		return lanes(fmt.Sprintf(`[{"channel":"email","lane":"normal","partitions":%q,"of":%d}]`, partitions, of))
	}
	ranges := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(2*i))
		}
		return strings.Join(all, ",")
	}
	for name, c := range map[string]struct{ key, value string }{
		"no gateway":           {"gateway:/host", strings.Replace(value(sound), "mail/host", "/host", 1)},
		"no process":           {"gateway:mail", strings.Replace(value(sound), "mail/host", "mail", 1)},
		"empty process":        {"gateway:mail/", strings.Replace(value(sound), "mail/host", "mail/", 1)},
		"a blank in it":        {"gateway:mail/a b", strings.Replace(value(sound), "mail/host", "mail/a b", 1)},
		"a control character":  {"gateway:mail/a\x1b[31m", `{}`},
		"a long name":          {"gateway:mail/" + strings.Repeat("x", 129), `{}`},
		"another id":           {key, strings.Replace(value(sound), "mail/host", "mail/other", 1)},
		"no JSON":              {key, `{`},
		"null":                 {key, `null`},
		"no state":             {key, value(`"note":"x"`)},
		"a closed circuit":     {key, value(strings.Replace(sound, "open", "closed", 1))},
		"a wrong type":         {key, value(strings.Replace(sound, `"open"`, `7`, 1))},
		"lanes of text":        {key, value(lanes(`"all"`))},
		"no partitions at all": {key, value(lane("0", 0))},
		"a negative topic":     {key, value(lane("0", -1))},
		"a huge topic":         {key, value(lane("0", 2_000_000_000))},
		"beyond the topic":     {key, value(lane("4", 4))},
		"backwards":            {key, value(lane("3-1", 4))},
		"huge numbers":         {key, value(lane("0-4294967295", 10_000))},
		"a sign":               {key, value(lane("+1", 4))},
		"letters":              {key, value(lane("a-b", 4))},
		"an empty range":       {key, value(lane("1,,2", 4))},
		"many ranges":          {key, value(lane(ranges(600), 2000))},
		"megabytes":            {key, value(lane(strings.Repeat("1,", 1<<20)+"1", 4))},
		"many lanes":           {key, value(lanes("[" + strings.Repeat(`{"channel":"email","lane":"normal","partitions":"0","of":4},`, 16) + `{"channel":"email","lane":"normal","partitions":"0","of":4}]`))},
		"deep":                 {key, value(lanes(strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)))},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			s.Apply([]byte(c.key), []byte(c.value), noon)
			_, malformed := s.Skipped()
			require.EqualValues(t, 1, malformed)
			require.Empty(t, s.reports)
		})
	}
	s := New()
	huge := refusing("mail", "host", time.Now())
	huge.Code, huge.Reason = strings.Repeat("é", 1000), strings.Repeat("\x1b secret \n", 1000)
	r := huge.Record()
	s.Apply(r.Key, r.Value, time.Now())
	got := s.Reports(time.Now())[0]
	require.LessOrEqual(t, len(got.Code), 64)
	require.LessOrEqual(t, len(got.Reason), 300)
	require.NotContains(t, got.Reason, "\x1b")
}

// Hostile records on the topic cannot fill the memory of its readers. A report that was refused for lack of room is accepted
// after other reports have expired.
func TestReport_MemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		var scattered []int32
		for i := range int32(maxRanges / 2) {
			scattered = append(scattered, 2*i)
		}
		for i := range 5000 {
			e := refusing("mail", fmt.Sprint("p", i), time.Now(), scattered...)
			for j := range e.State.Lanes {
				e.State.Lanes[j].Of = maxRanges
			}
			e.ExpiresAt = time.Now().Add(1000 * time.Hour)
			r := e.Record()
			s.Apply(r.Key, r.Value, time.Now())
		}
		require.Len(t, s.reports, maxTotalRanges/maxRanges)
		require.Equal(t, maxTotalRanges, s.ranges)
		for i := range 5000 {
			r := ReportGateway("mail", fmt.Sprint("q", i), time.Now(), GatewayState{Circuit: "open"}).Record()
			s.Apply(r.Key, r.Value, time.Now())
		}
		require.Len(t, s.reports, maxReports)
		r := refusing("mail", "one of ours", time.Now(), 1).Record()
		r.Key = []byte("gateway:mail/ours")
		r.Value = []byte(strings.Replace(string(r.Value), "one of ours", "ours", 1))
		s.Apply(r.Key, r.Value, time.Now())
		require.Len(t, s.reports, maxReports)
		time.Sleep(maxReportLifetime)
		require.Empty(t, s.Reports(time.Now()), "none holds for longer, whatever it says")
		r = refusing("mail", "ours", time.Now(), 1).Record()
		s.Apply(r.Key, r.Value, time.Now())
		require.Len(t, s.Reports(time.Now()), 1)
		require.Len(t, s.reports, 1)
		require.Equal(t, 2, s.ranges)
		s.Restart()
		require.Zero(t, s.ranges+len(s.reports))
	})
}

// The report of a killed process expires, and gets a tombstone later.
func TestReport_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		say := func(r Record) { s.Apply(r.Key, r.Value, time.Now()) }
		e := refusing("mail", "host", time.Now(), 0)
		say(e.Record())
		time.Sleep(ReportLasts - time.Second)
		require.Len(t, s.Reports(time.Now()), 1)
		say(refusing("mail", "host", time.Now(), 0).Record())
		time.Sleep(ReportLasts - time.Second)
		require.Len(t, s.Reports(time.Now()), 1, "renewed")
		time.Sleep(time.Second)
		require.Empty(t, s.Reports(time.Now()))
		require.Empty(t, s.Expired(time.Now()), "it may still be renewed")
		time.Sleep(keepExpiredReports + time.Second)
		require.Equal(t, []Record{e.Tombstone()}, s.Expired(time.Now()))
		say(e.Tombstone())
		require.Empty(t, s.Expired(time.Now()))
		say(refusing("mail", "host", time.Now(), 0).Record())
		say(e.Tombstone())
		require.Empty(t, s.Reports(time.Now()), "taken back at once")
	})
}

// A process of an earlier version does not know the kind. It skips the record and continues.
func TestReport_EarlierVersionsSkipUnknownKinds(t *testing.T) {
	r := refusing("mail", "host", noon, 0).Record()
	later := Record{[]byte("x" + string(r.Key)), []byte(strings.Replace(string(r.Value), `"gateway"`, `"xgateway"`, 1))}
	s := applied([]Record{PauseGateway("mail").Record(), later, PauseGateway("texts").Record()})
	unknown, malformed := s.Skipped()
	require.EqualValues(t, 1, unknown)
	require.Zero(t, malformed)
	require.True(t, s.PausedGateway("mail") && s.PausedGateway("texts"))
}

func TestProcessName_IsAllowedInReports(t *testing.T) {
	for name, want := range map[string]string{
		"host-1:9100": "host-1:9100", "[::1]:9100": "[::1]:9100", "": "-", "a/b c": "a-b-c", "bü\x00": "b--", strings.Repeat("x", 300): strings.Repeat("x", 128),
	} {
		require.Equal(t, want, ProcessName(name))
		_, ok := parseReportName("mail/" + ProcessName(name))
		require.True(t, ok)
	}
}

func TestPartitions_IsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := func(name string) (p Partitions, in map[int32]bool) {
			list := rapid.SliceOfN(rapid.Int32Range(0, 40), 0, 40).Draw(t, name)
			in = map[int32]bool{}
			for _, n := range list {
				in[n] = true
			}
			return NewPartitions(list), in
		}
		p, inP := numbers("p")
		q, inQ := numbers("q")
		both := p.intersect(q)
		for n := range int32(42) {
			require.Equal(t, inP[n], p.Has(n))
			require.Equal(t, inP[n] && inQ[n], both.Has(n))
		}
		require.Equal(t, len(inP), p.len())
		text, err := p.MarshalText()
		require.NoError(t, err)
		var back Partitions
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, p, back)
	})
}
