package kafka

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMetadataSurvivesItsText(t *testing.T) {
	for _, m := range []metadata{
		{ledger: 0, count: 1},
		{ledger: 9_223_372_036_854_775_807, count: 12, bitmap: []byte{1, 2, 3}},
		{ledger: 77, count: 3, bitmap: bytes.Repeat([]byte{0xaa}, 2048)},
		{ledger: 77, count: 3, bitmap: bytes.Repeat([]byte{0xaa}, 2048), job: jobID, journal: ledgerID},
		{ledger: 77, count: 3, job: jobID},
	} {
		s, fits := m.encode()
		require.True(t, fits)
		got, err := decodeMetadata(s)
		require.NoError(t, err)
		require.Equal(t, m.ledger, got.ledger)
		require.Equal(t, m.count, got.count)
		require.Equal(t, len(m.bitmap), len(got.bitmap))
		require.True(t, bytes.Equal(m.bitmap, got.bitmap))
		require.Equal(t, m.job, got.job)
		require.Equal(t, m.journal, got.journal)
	}
}

var jobID, ledgerID = TopicID{1, 0xfe, 0xff}, TopicID{2, 0xfb}

func TestMetadata_UnknownIDsAreWrittenAsTheFirstVersion(t *testing.T) {
	s, _ := metadata{ledger: 5, count: 12, bitmap: []byte{5}}.encode()
	require.Equal(t, "ls1.0.5.12.BQ", s)
	s, _ = metadata{ledger: 5, count: 12, bitmap: []byte{5}, job: jobID, journal: ledgerID}.encode()
	require.Equal(t, "ls2.0.5.12.t:Af7_AAAAAAAAAAAAAAAAAA,l:AvsAAAAAAAAAAAAAAAAAAA.BQ", s)
	s, _ = metadata{ledger: 5, count: 12, job: jobID}.encode()
	require.Equal(t, "ls2.0.5.12.t:Af7_AAAAAAAAAAAAAAAAAA.", s)
}

func TestMetadata_UnknownFieldsAreIgnored(t *testing.T) {
	m, err := decodeMetadata("ls2.0.5.12.x:1/2-3,t:Af7_AAAAAAAAAAAAAAAAAA,y:,z.BQ")
	require.NoError(t, err)
	require.Equal(t, metadata{ledger: 5, count: 12, bitmap: []byte{5}, job: jobID}, m)
	m, err = decodeMetadata("ls2.0.5.12..BQ")
	require.NoError(t, err)
	require.Equal(t, metadata{ledger: 5, count: 12, bitmap: []byte{5}}, m)
}

// decodeFirstVersion is the decoder of the builds that know the first version only.
func decodeFirstVersion(s string) (metadata, error) {
	if !strings.HasPrefix(s, "ls") {
		return metadata{}, errForeign
	}
	f := strings.Split(s, ".")
	if len(f) != 5 || f[0] != "ls1" || f[1] != "0" {
		return metadata{}, errUnreadable
	}
	ledger, err1 := strconv.ParseInt(f[2], 10, 64)
	count, err2 := strconv.ParseInt(f[3], 10, 32)
	bitmap, err3 := base64.RawStdEncoding.DecodeString(f[4])
	if err1 != nil || err2 != nil || err3 != nil || ledger < 0 || count < 1 {
		return metadata{}, errUnreadable
	}
	return metadata{ledger: ledger, count: int32(count), bitmap: bitmap}, nil
}

// A build that knows only the first version must not take a commit of the second for an operator's reset: that would make
// it forget what the ledger says. It takes it for damaged metadata of ours, and reads the whole ledger.
func TestMetadata_AnOlderBuildReadsTheWholeLedger(t *testing.T) {
	for _, bitmap := range [][]byte{nil, {5}, bytes.Repeat([]byte{0xff}, 2000)} {
		s, _ := metadata{ledger: 40, count: 12, job: jobID, journal: ledgerID, bitmap: bitmap}.encode()
		_, err := decodeFirstVersion(s)
		require.ErrorIs(t, err, errUnreadable)
	}
}

func TestAWholeSpanFitsACommit(t *testing.T) {
	_, fits := metadata{
		ledger: 1 << 60, count: 1 << 20, job: jobID, journal: ledgerID, bitmap: make([]byte, RunnerConfig{}.withDefaults().MaxSpan/8),
		by: 1 << 40, orderly: true, since: time.Now(), ended: time.Now(), fenced: strings.Repeat("v", fencesLimit),
	}.encode()
	require.True(t, fits, "what MaxSpan allows to start must fit what a commit can say")
	_, fits = metadata{bitmap: make([]byte, 3000)}.encode()
	require.False(t, fits)
}

func TestMetadataOfOthersAndBrokenOnes(t *testing.T) {
	for _, s := range []string{"", "x", "some tool", "{}"} {
		_, err := decodeMetadata(s)
		require.ErrorIs(t, err, errForeign, "%q", s)
	}
	for _, s := range []string{
		"ls1", "ls1.0.1.1", "ls2.0.1.1.AA", "ls1.9.1.1.AA", "ls1.0.-1.1.AA", "ls1.0.1.0.AA", "ls1.0.1.1.!!", "ls1.0.99999999999999999999.1.",
		"ls2.0.1.1.t:short.AA", "ls2.1.1.1..AA", "ls2.0.1.1.t:Af7_AAAAAAAAAAAAAAAAAA.AA.AA", "ls3.0.1.1..AA",
	} {
		_, err := decodeMetadata(s)
		require.ErrorIs(t, err, errUnreadable, "%q", s)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add("ls1.0.5.12.AAEC", int64(10), int64(20))
	f.Add("", int64(0), int64(0))
	f.Add("ls1.0.5.12.////////////////", int64(0), int64(3))
	f.Add("ls2.0.5.12.t:Af7_AAAAAAAAAAAAAAAAAA,l:AvsAAAAAAAAAAAAAAAAAAA.AAEC", int64(10), int64(20))
	f.Fuzz(func(t *testing.T, text string, low, beyond int64) {
		low, beyond = low&0xffff_ffff, beyond&0xffff
		limit := low + beyond
		s := begin(committed{offset: low, metadata: text}, logs{newest: limit, ledgerCount: 4})
		if s.count < 1 {
			t.Fatal("no ledger partition")
		}
		tr := newTracker(s.low)
		tr.restore(s.low, s.bitmap, s.limit)
		if tr.low > limit {
			t.Fatalf("the watermark %d is beyond the log's end %d", tr.low, limit)
		}
		for o := limit; o < limit+64; o++ {
			if tr.isDone(o) {
				t.Fatalf("offset %d is done and the log ends at %d", o, limit)
			}
		}
	})
}
