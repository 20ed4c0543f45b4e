package embedded_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

// logOf makes a log of one partition with a batch for each value, and returns its directory, topic and segment file.
func logOf(t *testing.T, values ...string) (dir, topic, segment string) {
	t.Helper()
	dir = t.TempDir()
	b := open(t, dir)
	topic = kafkatest.Topic(t, []string{b.Addr()}, 1)
	for _, v := range values {
		batch := batchtest.Batch(0, 0, 1, batchtest.Record(0, nil, []byte(v), kmsg.Header{Key: "ls-id", Value: []byte("id-" + v)}))
		require.Zero(t, kafkatest.ProduceRaw(t, b.Addr(), topic, 0, batch))
	}
	require.NoError(t, b.Close())
	return dir, topic, filepath.Join(dir, "partitions", topic+"-0", "0.dat")
}

// edit changes the batch with that number in a segment file.
func edit(t *testing.T, segment string, n int, change func(raw []byte)) {
	t.Helper()
	raw, err := os.ReadFile(segment)
	require.NoError(t, err)
	at := 0
	for range n {
		b, err := recordbatch.Next(raw[at:])
		require.NoError(t, err)
		at += len(b.Raw)
	}
	b, err := recordbatch.Next(raw[at:])
	require.NoError(t, err)
	change(b.Raw)
	require.NoError(t, os.WriteFile(segment, raw, 0o600))
}

// brokersTime does to a batch what kfake did when its producer claimed the broker's timestamp.
func brokersTime(raw []byte) { binary.BigEndian.PutUint64(raw[27:], 42) }

func identify(_ []byte, header func(string) string) string { return header("ls-id") }

func openNamed(t *testing.T, dir string) *embedded.Broker {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0", Identify: identify})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// read returns the values of the n records that the topic holds for consumers.
func read(t *testing.T, b *embedded.Broker, topic string, n int) (vs []string) {
	t.Helper()
	for _, r := range kafkatest.Records(t, []string{b.Addr()}, topic, n) {
		vs = append(vs, string(r.Value))
	}
	return vs
}

func TestSalvage_BadBatchBetweenGoodOnesIsSetAside(t *testing.T) {
	for name, n := range map[string][]int{"first": {0}, "middle": {1}, "two in a row": {1, 2}, "two apart": {0, 2}} {
		for _, snapshot := range []string{"clean stop", "kill"} {
			t.Run(name+"/"+snapshot, func(t *testing.T) {
				dir, topic, segment := logOf(t, "a", "b", "c", "d")
				kept := []string{"a", "b", "c", "d"}
				for _, i := range n {
					edit(t, segment, i, brokersTime)
					kept[i] = ""
				}
				if snapshot == "kill" {
					require.NoError(t, os.Remove(filepath.Join(filepath.Dir(segment), "snapshot.json")))
				}
				var want, ids []string
				for i, v := range kept {
					if v != "" {
						want = append(want, v)
					} else {
						ids = append(ids, "id-"+[]string{"a", "b", "c", "d"}[i])
					}
				}
				b := openNamed(t, dir)
				require.Equal(t, want, read(t, b, topic, len(want)))
				var named []string
				for _, s := range b.SetAside() {
					require.Equal(t, topic, s.Topic)
					require.Equal(t, s.First, s.Last)
					require.FileExists(t, s.File)
					named = append(named, s.IDs...)
				}
				require.Equal(t, ids, named)
				_, newest := bounds(t, b, topic)
				require.Equal(t, int64(4), newest, "the offsets behind the bad batch stay what they were")
				produce(t, b.Addr(), topic, "e")
				require.NoError(t, b.Close())

				b = openNamed(t, dir)
				require.Empty(t, b.SetAside(), "nothing is left to set aside")
				require.Equal(t, append(want, "e"), read(t, b, topic, len(want)+1))
			})
		}
	}
}

// A bad batch at the very end cannot be told from a write that a crash has cut off. Its bytes are kept.
func TestSalvage_TailIsCopiedBeforeItIsCutOff(t *testing.T) {
	dir, topic, segment := logOf(t, "a", "b")
	edit(t, segment, 1, brokersTime)
	b := openNamed(t, dir)
	require.Equal(t, []string{"a"}, read(t, b, topic, 1))
	tails, err := filepath.Glob(filepath.Join(dir, "quarantine", "*.tail"))
	require.NoError(t, err)
	require.Len(t, tails, 1)
	raw, err := os.ReadFile(tails[0])
	require.NoError(t, err)
	require.Contains(t, string(raw), "id-b")
}

func TestSalvage_LostFramingRefusesTheStartAndACopyIsRepaired(t *testing.T) {
	for name, change := range map[string]func(raw []byte){
		"length too large":     func(raw []byte) { raw[11] += 40 },
		"length negative":      func(raw []byte) { raw[8] = 0xff },
		"base offset changed":  func(raw []byte) { raw[7] = 77 },
		"overwritten by zeros": func(raw []byte) { clear(raw) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, topic, segment := logOf(t, "a", "b", "c", "d")
			edit(t, segment, 1, change)
			before, err := os.ReadFile(segment)
			require.NoError(t, err)

			_, err = embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
			var damaged *embedded.DamagedError
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, int64(1), damaged.Offset)
			require.ErrorContains(t, err, "laudspeaker topics repair --from "+dir)
			after, err := os.ReadFile(segment)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "nothing was changed")

			into := filepath.Join(t.TempDir(), "repaired")
			aside, err := embedded.Repair(dir, into, identify, zap.NewNop())
			require.NoError(t, err)
			require.Len(t, aside, 1)
			require.Equal(t, []int64{1, 1}, []int64{aside[0].First, aside[0].Last})
			b := openNamed(t, into)
			require.Equal(t, []string{"a", "c", "d"}, read(t, b, topic, 3))
			_, newest := bounds(t, b, topic)
			require.Equal(t, int64(4), newest)
			_, err = embedded.Repair(dir, into, identify, zap.NewNop())
			require.ErrorContains(t, err, "exists already")
		})
	}
}

// A log that an earlier version has accepted hostile batches on starts whole. What cannot be read is left to the consumers.
func TestSalvage_AcceptsWhatAnEarlierVersionHasAccepted(t *testing.T) {
	dir, topic, segment := logOf(t, "a")
	raw, err := os.ReadFile(segment)
	require.NoError(t, err)
	next, hostile := int64(1), 0
	add := func(batch []byte, offsets int32) {
		batch = bytes.Clone(batch)
		binary.BigEndian.PutUint64(batch, uint64(next))
		raw, next = append(raw, batch...), next+int64(offsets)
	}
	for _, h := range batchtest.HostileBatches() {
		b, err := recordbatch.Next(h.Raw)
		require.NoError(t, err)
		if b.Count <= 0 || b.LastOffsetDelta != b.Count-1 || len(h.Raw) > 1<<20 {
			continue // kfake has always refused these
		}
		hostile++
		add(h.Raw, b.Count)
		add(batchtest.Batch(0, 0, 1, batchtest.Record(0, nil, []byte("z"))), 1)
	}
	require.Greater(t, hostile, 50)
	require.NoError(t, os.WriteFile(segment, raw, 0o600))
	broker := openNamed(t, dir)
	_, newest := bounds(t, broker, topic)
	require.Equal(t, next, newest)
	require.Empty(t, broker.SetAside())
}
