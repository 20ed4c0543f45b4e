package kafka

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

// batchAt is a batch at an offset, as a broker returns it.
func batchAt(base int64, raw []byte) []byte {
	raw = slices.Clone(raw)
	binary.BigEndian.PutUint64(raw, uint64(base))
	return raw
}

func goodBatch(base int64, values ...string) []byte {
	var body []byte
	for i, v := range values {
		body = append(body, batchtest.Record(int32(i), nil, []byte(v))...)
	}
	n := int32(len(values))
	return batchAt(base, batchtest.Batch(0, n-1, n, body))
}

// readLog reads a log of batches to its end, fetch by fetch, as a broker serves it that knows where batches begin.
func readLog(t testing.TB, c *cursor, batches [][]byte, ends []int64) (values []string, bad []damagedBatch) {
	t.Helper()
	hw := ends[len(ends)-1]
	for fetches := 0; c.at < hw; fetches++ {
		require.Less(t, fetches, 20, "it makes no progress")
		var raw []byte
		for i, b := range batches {
			if ends[i] > c.at {
				raw = append(raw, b...)
			}
		}
		c.load(&block{raw: raw, highWatermark: hw})
		for rec, b := c.next(); rec != nil || b != nil; rec, b = c.next() {
			if b != nil {
				bad = append(bad, *b)
			} else {
				values = append(values, fmt.Sprintf("%d=%s", rec.Offset, rec.Value))
			}
		}
	}
	require.Equal(t, hw, c.at)
	return values, bad
}

func TestCursor_HostileBatchTakesNoRecordOfOthersAlong(t *testing.T) {
	for _, h := range batchtest.HostileBatches() {
		t.Run(h.Kind+"/"+h.Codec.String(), func(t *testing.T) {
			b, err := recordbatch.Next(h.Raw)
			if err != nil {
				t.Skip("no broker takes it: nothing says where it ends")
			}
			if b.Each(func(*recordbatch.Record) {}) == nil {
				t.Skip("a reader can trust it")
			}
			last := min(max(int64(b.LastOffsetDelta), 0), 7) // what the broker takes it for
			c := newCursor(topicPartition{"t", 0}, 0, &sync.Mutex{})
			values, bad := readLog(t, c,
				[][]byte{goodBatch(0, "a", "b"), batchAt(2, h.Raw), goodBatch(3+last, "c", "d")}, []int64{2, 3 + last, 5 + last})
			require.Equal(t, []string{"0=a", "1=b", fmt.Sprintf("%d=c", 3+last), fmt.Sprintf("%d=d", 4+last)}, values)
			require.Len(t, bad, 1)
			require.Equal(t, []int64{2, 3 + last}, []int64{bad[0].base, bad[0].next})
			require.Equal(t, h.Raw[8:], bad[0].raw[8:])
		})
	}
}

func TestCursor_BatchIsFetchedTwiceBeforeItIsGivenUp(t *testing.T) {
	raw := goodBatch(0, "a")
	broken := slices.Clone(raw)
	broken[len(broken)-1] ^= 1
	c := newCursor(topicPartition{"t", 0}, 0, &sync.Mutex{})
	c.load(&block{raw: broken, highWatermark: 1})
	rec, bad := c.next()
	require.Nil(t, rec)
	require.Nil(t, bad, "the network may have done it")
	c.load(&block{raw: raw, highWatermark: 1})
	rec, _ = c.next()
	require.Equal(t, "a", string(rec.Value))
}

func TestCursor_ReadsOnFromTheMiddleOfABatch(t *testing.T) {
	c := newCursor(topicPartition{"t", 0}, 1, &sync.Mutex{})
	values, bad := readLog(t, c, [][]byte{goodBatch(0, "a", "b", "c")}, []int64{3})
	require.Equal(t, []string{"1=b", "2=c"}, values)
	require.Empty(t, bad)
}

func TestCursor_SkipsMarkersAndAbortedBatchesByTheirHeaders(t *testing.T) {
	aborted := batchtest.Batch(0x10, 1, 2, []byte("no records at all"))
	marker := batchtest.Batch(batchtest.Control|0x10, 0, 1, []byte("nor here"))
	c := newCursor(topicPartition{"t", 0}, 0, &sync.Mutex{})
	raw := slices.Concat(batchAt(0, aborted), batchAt(2, marker), goodBatch(3, "a"))
	c.load(&block{raw: raw, highWatermark: 4, aborted: aborted1})
	rec, bad := c.next()
	require.Nil(t, bad)
	require.Equal(t, int64(3), rec.Offset)
}

var aborted1 = aborted{{producerID: -1, firstOffset: 0}}

func TestCursor_LargeBatchIsClosedForAPauseAndReadOn(t *testing.T) {
	var body []byte
	value := make([]byte, 1<<20)
	for i := range int32(6) {
		body = append(body, batchtest.Record(i, nil, value)...)
	}
	raw := batchtest.Batch(int16(batchtest.Zstd), 5, 6, batchtest.Pack(batchtest.Zstd, body))
	var one sync.Mutex
	c := newCursor(topicPartition{"t", 0}, 0, &one)
	c.load(&block{raw: raw, highWatermark: 6})
	for i := range int64(6) {
		rec, _ := c.next()
		require.Equal(t, i, rec.Offset)
		require.True(t, c.large)
		c.suspend()
		require.True(t, one.TryLock(), "another cursor may open one")
		one.Unlock()
	}
	rec, bad := c.next()
	require.Nil(t, rec)
	require.Nil(t, bad)
	require.Equal(t, int64(6), c.at)
}

func FuzzCursor(f *testing.F) {
	for _, h := range batchtest.HostileBatches() {
		f.Add(slices.Concat(goodBatch(0, "a"), batchAt(1, h.Raw), goodBatch(2, "b")), int64(3), int64(0))
	}
	f.Fuzz(func(t *testing.T, raw []byte, hw, at int64) {
		if at < 0 || hw < 0 {
			t.Skip()
		}
		c := newCursor(topicPartition{"t", 0}, at, &sync.Mutex{})
		for range 8 {
			was := c.at
			c.load(&block{raw: raw, highWatermark: hw})
			for rec, bad := c.next(); rec != nil || bad != nil; rec, bad = c.next() {
				if rec != nil && (rec.Offset < was || rec.Offset >= hw) {
					t.Fatalf("offset %d, read from %d to %d", rec.Offset, was, hw)
				}
			}
			if c.at < was {
				t.Fatalf("from %d back to %d", was, c.at)
			}
		}
		if !c.one.TryLock() {
			t.Fatal("the lock is kept")
		}
	})
}

func TestTracker_WideRangeCostsNoMemory(t *testing.T) {
	tr := newTracker(0)
	tr.fetched(0)
	began := time.Now()
	tr.skip(1, 1<<31)
	require.Less(t, len(tr.words), 100)
	require.Less(t, time.Since(began), 10*time.Second)
	require.True(t, tr.isDone(1<<30))
	require.False(t, tr.isDone(1<<31))
	require.Empty(t, tr.bitmap())
	require.Equal(t, int64(1<<31-1), tr.ahead())
	tr.done(1<<31 + 5)
	tr.done(0)
	require.Equal(t, int64(1<<31), tr.low)
	require.True(t, tr.isDone(1<<31+5))
}
