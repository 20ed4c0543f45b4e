package kafka

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMetadataSurvivesItsText(t *testing.T) {
	for _, m := range []metadata{
		{ledger: 0, count: 1},
		{ledger: 9_223_372_036_854_775_807, count: 12, bitmap: []byte{1, 2, 3}},
		{ledger: 77, count: 3, bitmap: bytes.Repeat([]byte{0xaa}, 2048)},
	} {
		s, fits := m.encode()
		require.True(t, fits)
		got, err := decodeMetadata(s)
		require.NoError(t, err)
		require.Equal(t, m.ledger, got.ledger)
		require.Equal(t, m.count, got.count)
		require.Equal(t, len(m.bitmap), len(got.bitmap))
		require.True(t, bytes.Equal(m.bitmap, got.bitmap))
	}
}

func TestAWholeSpanFitsACommit(t *testing.T) {
	_, fits := metadata{ledger: 1 << 60, count: 1 << 20, bitmap: make([]byte, RunnerConfig{}.withDefaults().MaxSpan/8)}.encode()
	require.True(t, fits, "what MaxSpan allows to start must fit what a commit can say")
	_, fits = metadata{bitmap: make([]byte, 2700)}.encode()
	require.False(t, fits)
}

func TestMetadataOfOthersAndBrokenOnes(t *testing.T) {
	for _, s := range []string{"", "x", "some tool", "{}"} {
		_, err := decodeMetadata(s)
		require.ErrorIs(t, err, errForeign, "%q", s)
	}
	for _, s := range []string{"ls1", "ls1.0.1.1", "ls2.0.1.1.AA", "ls1.9.1.1.AA", "ls1.0.-1.1.AA", "ls1.0.1.0.AA", "ls1.0.1.1.!!", "ls1.0.99999999999999999999.1."} {
		_, err := decodeMetadata(s)
		require.ErrorIs(t, err, errUnreadable, "%q", s)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add("ls1.0.5.12.AAEC", int64(10), int64(20))
	f.Add("", int64(0), int64(0))
	f.Add("ls1.0.5.12.////////////////", int64(0), int64(3))
	f.Fuzz(func(t *testing.T, text string, low, beyond int64) {
		low, beyond = low&0xffff_ffff, beyond&0xffff
		limit := low + beyond
		s := begin(committed{offset: low, metadata: text}, 0, limit, 4)
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
