package recordbatch

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net"
	"testing"

	"github.com/IBM/sarama"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// record encodes one record as a producer does.
func record(delta int32, key, value []byte, headers ...kmsg.Header) []byte {
	r := kmsg.Record{OffsetDelta: delta, TimestampDelta64: int64(delta), Key: key, Value: value, Headers: headers}
	r.Length = int32(len(r.AppendTo(nil))) - 1 // the length itself takes one byte while it is 0
	return r.AppendTo(nil)
}

// batch makes a sealed batch; body is what follows the header, already packed.
func batch(attributes int16, lastDelta, count int32, body []byte) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: 100, Length: int32(HeaderSize - framing + len(body)), PartitionLeaderEpoch: 7, Magic: 2, Attributes: attributes,
		LastOffsetDelta: lastDelta, FirstTimestamp: 1_000, MaxTimestamp: 2_000, ProducerID: -1, ProducerEpoch: -1,
		FirstSequence: -1, NumRecords: count, Records: body,
	}
	raw := b.AppendTo(nil)
	Seal(raw)
	return raw
}

func packed(t testing.TB, codec int, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	switch codec {
	case codecNone:
		return body
	case codecGzip:
		w := gzip.NewWriter(&out)
		_, err := w.Write(body)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	case codecSnappy:
		return xerial.Encode(nil, body)
	case codecLz4:
		w := lz4.NewWriter(&out)
		_, err := w.Write(body)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	case codecZstd:
		w, err := zstd.NewWriter(nil)
		require.NoError(t, err)
		return w.EncodeAll(body, nil)
	}
	return out.Bytes()
}

var codecs = map[string]int{"none": codecNone, "gzip": codecGzip, "snappy": codecSnappy, "lz4": codecLz4, "zstd": codecZstd}

func records(t testing.TB, raw []byte) []Record {
	t.Helper()
	b, err := Next(raw)
	require.NoError(t, err)
	require.Equal(t, len(raw), len(b.Raw))
	var all []Record
	require.NoError(t, b.Each(func(r *Record) { all = append(all, *r) }))
	return all
}

func TestEach_ReturnsWhatAProducerWrote(t *testing.T) {
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			body := append(record(0, []byte("k"), []byte("v"), kmsg.Header{Key: "ls-id", Value: []byte("1")}, kmsg.Header{Key: "", Value: nil}),
				record(2, nil, []byte{})...) // a hole, as compaction leaves it
			all := records(t, batch(int16(codec), 3, 2, packed(t, codec, body)))
			require.Equal(t, []Record{
				{Offset: 100, Timestamp: 1_000, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{"ls-id", []byte("1")}, {"", nil}}},
				{Offset: 102, Timestamp: 1_002, Value: []byte{}},
			}, all)
			all = records(t, batch(int16(codec)|logAppendTime, 3, 2, packed(t, codec, body)))
			require.Equal(t, int64(2_000), all[1].Timestamp)
		})
	}
	require.Empty(t, records(t, batch(0, 9, 0, nil)), "all records of a batch were compacted away")
}

// What Sarama reads of a good batch is the reference.
func TestEach_AgreesWithSarama(t *testing.T) {
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			var body []byte
			for i := range int32(50) {
				body = append(body, record(i, []byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, int(i)), kmsg.Header{Key: "h", Value: []byte{byte(i)}})...)
			}
			raw := batch(int16(codec), 49, 50, packed(t, codec, body))
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
	two := append(record(0, nil, []byte("a")), record(1, nil, []byte("b"))...)
	spoilt := func(at int, v byte) []byte {
		raw := batch(0, 1, 2, two)
		raw[HeaderSize+at] = v
		Seal(raw)
		return raw
	}
	for name, raw := range map[string][]byte{
		"offset delta beyond the batch":  batch(0, 0, 1, record(9, nil, nil)),
		"offset delta of 2^31-1":         batch(0, 1, 2, append(record(0, nil, nil), record(math.MaxInt32, nil, nil)...)),
		"last delta of 2^31-1, no room":  batch(0, math.MaxInt32, 2, append(record(0, nil, nil), record(-1, nil, nil)...)),
		"the same offset twice":          batch(0, 1, 2, append(record(0, nil, nil), record(0, nil, nil)...)),
		"falling offsets":                batch(0, 1, 2, append(record(1, nil, nil), record(0, nil, nil)...)),
		"negative offset delta":          batch(0, 1, 1, record(-1, nil, nil)),
		"negative last delta":            batch(0, -1, 1, record(0, nil, nil)),
		"count too high":                 batch(0, 5, 6, two),
		"count beyond the offsets":       batch(0, 0, 2, two),
		"count too low":                  batch(0, 1, 1, two),
		"count negative":                 batch(0, 1, -1, two),
		"count huge":                     batch(0, math.MaxInt32, math.MaxInt32, two),
		"no records where two are meant": batch(0, 1, 2, nil),
		"record cut off":                 batch(0, 1, 2, two[:len(two)-1]),
		"bytes behind the last record":   batch(0, 1, 2, append(bytes.Clone(two), 0)),
		"record length huge":             spoilt(0, 0x7e),
		"record length negative":         spoilt(0, 1),
		"key length negative":            spoilt(4, 0x03),
		"value length beyond the record": spoilt(5, 0x40),
		"header count huge":              spoilt(7, 0x7e),
		"header count negative":          spoilt(7, 0x01),
		"codec unknown":                  batch(5, 1, 2, two),
		"gzip of garbage":                batch(codecGzip, 1, 2, []byte("garbage")),
		"snappy of garbage":              batch(codecSnappy, 1, 2, []byte("garbage")),
		"lz4 of garbage":                 batch(codecLz4, 1, 2, []byte("garbage")),
		"zstd of garbage":                batch(codecZstd, 1, 2, []byte("garbage")),
		"gzip cut off":                   batch(codecGzip, 1, 2, packed(t, codecGzip, two)[:10]),
		"gzip of 80 MiB":                 batch(codecGzip, 1, 2, packed(t, codecGzip, make([]byte, 80<<20))),
		"snappy of 80 MiB":               batch(codecSnappy, 1, 2, packed(t, codecSnappy, make([]byte, 80<<20))),
		"lz4 of 80 MiB":                  batch(codecLz4, 1, 2, packed(t, codecLz4, make([]byte, 80<<20))),
		"zstd of 80 MiB":                 batch(codecZstd, 1, 2, packed(t, codecZstd, make([]byte, 80<<20))),
		"format v1": func() []byte {
			raw := batch(0, 1, 2, two)
			raw[16] = 1
			return raw
		}(),
		"checksum wrong": func() []byte {
			raw := batch(0, 1, 2, two)
			raw[30]++
			return raw
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Next(raw)
			require.NoError(t, err)
			err = b.Each(func(*Record) { t.Fatal("a record of an undecodable batch") })
			require.ErrorIs(t, err, ErrUndecodable)
			require.GreaterOrEqual(t, b.Last(), b.Base)
		})
	}
}

func TestNext_FindsBatchesAndSaysWhereItCannot(t *testing.T) {
	one := batch(0, 0, 1, record(0, nil, []byte("a")))
	b, err := Next(append(bytes.Clone(one), one...))
	require.NoError(t, err)
	require.Len(t, b.Raw, len(one))
	require.Equal(t, int64(100), b.Base)
	require.Equal(t, int32(7), b.LeaderEpoch)
	for cut := range one {
		_, err := Next(one[:cut])
		require.ErrorIs(t, err, ErrShort, cut)
	}
	for _, length := range []int32{-1, 0, 4, 20} {
		raw := bytes.Clone(one)
		binary.BigEndian.PutUint32(raw[8:], uint32(length))
		_, err := Next(raw)
		require.ErrorIs(t, err, ErrFraming, length)
	}
	for _, base := range []uint64{math.MaxUint64, math.MaxInt64, math.MaxInt64 - math.MaxInt32} {
		raw := bytes.Clone(one)
		binary.BigEndian.PutUint64(raw, base)
		_, err = Next(raw)
		require.ErrorIs(t, err, ErrFraming, "no room for the offsets of a batch")
	}
}

func FuzzEach(f *testing.F) {
	for _, codec := range codecs {
		f.Add(batch(int16(codec), 1, 2, packed(f, codec, append(record(0, []byte("k"), nil, kmsg.Header{Key: "h"}), record(1, nil, []byte("v"))...))), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, seal bool) {
		if seal && len(raw) > crcStart {
			Seal(raw)
		}
		b, err := Next(raw)
		if err != nil {
			return
		}
		last, n := b.Base-1, int32(0)
		err = b.Each(func(r *Record) {
			require.Greater(t, r.Offset, last)
			require.LessOrEqual(t, r.Offset, b.Last())
			last, n = r.Offset, n+1
		})
		if err == nil {
			require.Equal(t, b.Count, n)
		} else {
			require.ErrorIs(t, err, ErrUndecodable)
			require.Zero(t, n)
		}
	})
}

func BenchmarkEach(b *testing.B) {
	var body []byte
	for i := range int32(100) {
		body = append(body, record(i, []byte("key"), bytes.Repeat([]byte("v"), 500), kmsg.Header{Key: "ls-id", Value: make([]byte, 36)})...)
	}
	for name, codec := range codecs {
		b.Run(name, func(b *testing.B) {
			raw := batch(int16(codec), 99, 100, packed(b, codec, body))
			b.ReportAllocs()
			for b.Loop() {
				set, _ := Next(raw)
				_ = set.Each(func(*Record) {})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/record")
		})
	}
}
