package audit

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEntry_RoundTrip(t *testing.T) {
	e := entry{
		run: math.MaxUint32, step: 7, offset: math.MaxInt64, at: math.MinInt64, due: -1, partition: math.MaxInt32, topic: math.MaxUint16,
		kind: kindRedrive, state: 11, marks: isDone | isLate,
	}
	e.id[0], e.id[15] = 1, 255
	b := e.append(nil)
	require.Len(t, b, entrySize)
	require.Equal(t, e, readEntryFrom(b))
}

func TestSpillBuffer_GroupsEntriesByNotification(t *testing.T) {
	for _, limit := range []int{1, 7, 1000, 1_000_000} {
		b := newSpillBuffer(limit, t.TempDir())
		r := rand.New(rand.NewPCG(1, 2))
		want := map[[idBytes]byte]int{}
		for range 5_000 {
			e := entry{step: r.Uint32()}
			e.id[3] = byte(r.IntN(200))
			want[e.id]++
			require.NoError(t, b.add(e))
		}
		require.Equal(t, limit <= 5_000, b.file != nil)
		for range 2 { // it can be read again
			got := map[[idBytes]byte]int{}
			require.NoError(t, b.each(func(es []entry) error {
				require.Zero(t, got[es[0].id], "once each")
				got[es[0].id] = len(es)
				return nil
			}))
			require.Equal(t, want, got)
		}
		b.close()
	}
}

func TestPackID_RoundTrip(t *testing.T) {
	b, ok := packID(id)
	require.True(t, ok)
	require.Equal(t, id, formatID(b))
	for _, bad := range []string{"", "x", id[:35], id + "0", "0190163d+8694-739b-aea5-966c26f8ad91", "0190163d-8694-739b-aea5-966c26f8ad9z"} {
		_, ok := packID(bad)
		require.False(t, ok, bad)
	}
}
