package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net"
	"slices"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

func records(t testing.TB, raw []byte) []recordbatch.Record {
	t.Helper()
	b, err := recordbatch.Next(raw)
	require.NoError(t, err)
	require.Equal(t, len(raw), len(b.Raw))
	var all []recordbatch.Record
	require.NoError(t, b.Each(func(r *recordbatch.Record) { all = append(all, *r) }))
	return all
}

func TestEach_ReturnsWhatAProducerWrote(t *testing.T) {
	for _, codec := range batchtest.Codecs() {
		t.Run(codec.String(), func(t *testing.T) {
			body := append(batchtest.Record(0, []byte("k"), []byte("v"), kmsg.Header{Key: "ls-id", Value: []byte("1")}, kmsg.Header{Key: "", Value: nil}),
				batchtest.Record(2, nil, []byte{})...) // a hole, as compaction leaves it
			all := records(t, batchtest.Batch(int16(codec), 3, 2, batchtest.Pack(codec, body)))
			require.Equal(t, []recordbatch.Record{
				{Offset: 0, Timestamp: 1_000, Key: []byte("k"), Value: []byte("v"), Headers: []recordbatch.Header{{"ls-id", []byte("1")}, {"", nil}}},
				{Offset: 2, Timestamp: 1_002, Value: []byte{}},
			}, all)
			all = records(t, batchtest.Batch(int16(codec)|batchtest.LogAppendTime, 3, 2, batchtest.Pack(codec, body)))
			require.Equal(t, int64(2_000), all[1].Timestamp)
		})
	}
	require.Empty(t, records(t, batchtest.Batch(0, 9, 0, nil)), "all records of a batch were compacted away")
}

// What Sarama reads of a good batch is the reference.
func TestEach_AgreesWithSarama(t *testing.T) {
	for _, codec := range batchtest.Codecs() {
		t.Run(codec.String(), func(t *testing.T) {
			var body []byte
			for i := range int32(50) {
				body = append(body, batchtest.Record(i, []byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, int(i)), kmsg.Header{Key: "h", Value: []byte{byte(i)}})...)
			}
			raw := batchtest.Batch(int16(codec), 49, 50, batchtest.Pack(codec, body))
			theirs := saramas(t, raw)
			ours := records(t, raw)
			require.Len(t, ours, len(theirs.Records))
			for i, r := range theirs.Records {
				require.Equal(t, theirs.FirstOffset+r.OffsetDelta, ours[i].Offset)
				require.Equal(t, r.Key, ours[i].Key)
				require.True(t, bytes.Equal(r.Value, ours[i].Value))
				require.Equal(t, r.Headers[0].Value, ours[i].Headers[0].Value)
			}
		})
	}
}

// saramas decodes raw with Sarama, by way of a fetch response.
func saramas(t *testing.T, raw []byte) *sarama.RecordBatch {
	t.Helper()
	p := kmsg.NewFetchResponseTopicPartition()
	p.RecordBatches = raw
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
	resp := kmsg.NewPtrFetchResponse()
	resp.Version, resp.Topics = 11, append(resp.Topics, topic)
	cfg := sarama.NewConfig()
	cfg.ApiVersionsRequest = false
	b := sarama.NewBroker(answering(t, resp.AppendTo(nil)))
	require.NoError(t, b.Open(cfg))
	defer b.Close()
	got, err := b.Fetch(&sarama.FetchRequest{Version: 11})
	require.NoError(t, err)
	return got.GetBlock("t", 0).RecordsSet[0].RecordBatch
}

// answering is the address of a broker that answers one request with that body.
func answering(t *testing.T, body []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		head := make([]byte, 12) // length, key, version, correlation id
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		out := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
		_, _ = conn.Write(append(append(out, head[8:]...), body...))
		_, _ = io.Copy(io.Discard, conn)
	}()
	return l.Addr().String()
}

func TestEach_RefusesWhatCannotBeTrusted(t *testing.T) {
	good := batchtest.Batch(0, 1, 2, append(batchtest.Record(0, nil, nil), batchtest.Record(1, nil, nil)...))
	bad := slices.DeleteFunc(batchtest.HostileBatches(), func(h batchtest.Hostile) bool { return h.Raw[22]&byte(batchtest.LogAppendTime) != 0 })
	old, unsealed := bytes.Clone(good), bytes.Clone(good)
	old[16] = 1
	unsealed[30]++
	bad = append(bad, batchtest.Hostile{Kind: "format v1", Raw: old}, batchtest.Hostile{Kind: "checksum wrong", Raw: unsealed})
	for _, h := range bad {
		t.Run(h.Kind+"/"+h.Codec.String(), func(t *testing.T) {
			b, err := recordbatch.Next(h.Raw)
			require.NoError(t, err)
			err = b.Each(func(*recordbatch.Record) { t.Fatal("a record of an undecodable batch") })
			require.ErrorIs(t, err, recordbatch.ErrUndecodable)
			require.GreaterOrEqual(t, b.Last(), b.Base)
		})
	}
}

func TestNext_FindsBatchesAndSaysWhereItCannot(t *testing.T) {
	one := batchtest.Batch(0, 0, 1, batchtest.Record(0, nil, []byte("a")))
	b, err := recordbatch.Next(append(bytes.Clone(one), one...))
	require.NoError(t, err)
	require.Len(t, b.Raw, len(one))
	require.Zero(t, b.Base)
	for cut := range one {
		_, err := recordbatch.Next(one[:cut])
		require.ErrorIs(t, err, recordbatch.ErrShort, cut)
	}
	for _, length := range []int32{-1, 0, 4, 20} {
		raw := bytes.Clone(one)
		binary.BigEndian.PutUint32(raw[8:], uint32(length))
		_, err := recordbatch.Next(raw)
		require.ErrorIs(t, err, recordbatch.ErrFraming, length)
	}
	for _, base := range []uint64{math.MaxUint64, math.MaxInt64, math.MaxInt64 - math.MaxInt32} {
		raw := bytes.Clone(one)
		binary.BigEndian.PutUint64(raw, base)
		_, err = recordbatch.Next(raw)
		require.ErrorIs(t, err, recordbatch.ErrFraming, "no room for the offsets of a batch")
	}
}

func FuzzEach(f *testing.F) {
	for _, codec := range batchtest.Codecs() {
		f.Add(batchtest.Batch(int16(codec), 1, 2, batchtest.Pack(codec, append(batchtest.Record(0, []byte("k"), nil, kmsg.Header{Key: "h"}), batchtest.Record(1, nil, []byte("v"))...))), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, seal bool) {
		if seal && len(raw) > 21 {
			recordbatch.Seal(raw)
		}
		b, err := recordbatch.Next(raw)
		if err != nil {
			return
		}
		last, n := b.Base-1, int32(0)
		err = b.Each(func(r *recordbatch.Record) {
			require.Greater(t, r.Offset, last)
			require.LessOrEqual(t, r.Offset, b.Last())
			last, n = r.Offset, n+1
		})
		if err == nil {
			require.Equal(t, b.Count, n)
		} else {
			require.ErrorIs(t, err, recordbatch.ErrUndecodable)
			require.Zero(t, n)
		}
	})
}

func BenchmarkEach(b *testing.B) {
	var body []byte
	for i := range int32(100) {
		body = append(body, batchtest.Record(i, []byte("key"), bytes.Repeat([]byte("v"), 500), kmsg.Header{Key: "ls-id", Value: make([]byte, 36)})...)
	}
	for _, codec := range batchtest.Codecs() {
		b.Run(codec.String(), func(b *testing.B) {
			raw := batchtest.Batch(int16(codec), 99, 100, batchtest.Pack(codec, body))
			b.ReportAllocs()
			for b.Loop() {
				set, _ := recordbatch.Next(raw)
				_ = set.Each(func(*recordbatch.Record) {})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/record")
		})
	}
}
