// Package batchtest makes record batches for tests: good ones, and every kind of bad one that a writer of the bus may send.
package batchtest

import (
	"bytes"
	"fmt"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
)

// Codec is a compression codec, as the attributes of a batch name it.
type Codec int16

// The codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	Lz4
	Zstd
)

// Codecs lists all codecs.
func Codecs() []Codec { return []Codec{None, Gzip, Snappy, Lz4, Zstd} }

func (c Codec) String() string { return [...]string{"none", "gzip", "snappy", "lz4", "zstd"}[c] }

// Attribute bits beside the codec.
const (
	LogAppendTime int16 = 0x08
	Control       int16 = 0x20
)

// Record encodes one record as a producer does; its timestamp delta equals its offset delta.
func Record(delta int32, key, value []byte, headers ...kmsg.Header) []byte {
	r := kmsg.Record{OffsetDelta: delta, TimestampDelta64: int64(delta), Key: key, Value: value, Headers: headers}
	r.Length = int32(len(r.AppendTo(nil))) - 1 // the length itself takes one byte while it is 0
	return r.AppendTo(nil)
}

// Batch encodes a batch with base offset 0 and a right checksum. body is what follows the header, already compressed.
func Batch(attributes int16, lastDelta, count int32, body []byte) []byte {
	b := kmsg.RecordBatch{
		Length: int32(recordbatch.HeaderSize - 12 + len(body)), Magic: 2, Attributes: attributes,
		LastOffsetDelta: lastDelta, FirstTimestamp: 1_000, MaxTimestamp: 2_000, ProducerID: -1, ProducerEpoch: -1,
		FirstSequence: -1, NumRecords: count, Records: body,
	}
	raw := b.AppendTo(nil)
	recordbatch.Seal(raw)
	return raw
}

// Pack compresses body.
func Pack(codec Codec, body []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case Gzip:
		w := gzip.NewWriter(&out)
		must(w.Write(body))
		must(0, w.Close())
	case Snappy:
		return xerial.Encode(nil, body)
	case Lz4:
		w := lz4.NewWriter(&out)
		must(w.Write(body))
		must(0, w.Close())
	case Zstd:
		w, err := zstd.NewWriter(nil)
		must(0, err)
		return w.EncodeAll(body, nil)
	default:
		return body
	}
	return out.Bytes()
}

func must(_ int, err error) {
	if err != nil { // writing to memory does not fail
		panic(err)
	}
}

// Hostile is a batch that no reader can trust.
type Hostile struct {
	Kind  string
	Codec Codec
	Raw   []byte
}

// HostileBatches returns every kind of bad batch with every codec.
func HostileBatches() []Hostile {
	a, b := Record(0, nil, []byte("a")), Record(1, nil, []byte("b"))
	two := append(bytes.Clone(a), b...)
	spoil := func(at int, v byte) []byte {
		body := bytes.Clone(two)
		body[at] = v
		return body
	}
	var all []Hostile
	for _, codec := range Codecs() {
		add := func(kind string, lastDelta, count int32, body []byte) {
			all = append(all, Hostile{kind, codec, Batch(int16(codec), lastDelta, count, Pack(codec, body))})
		}
		add("offset delta beyond the batch", 0, 1, Record(9, nil, nil))
		add("offset delta of 2^31-1", 1, 2, append(bytes.Clone(a), Record(math.MaxInt32, nil, nil)...))
		add("negative offset delta", 1, 2, append(Record(-1, nil, nil), b...))
		add("the same offset twice", 1, 2, append(bytes.Clone(a), a...))
		add("falling offsets", 1, 2, append(bytes.Clone(b), a...))
		add("last delta of 2^31-1", math.MaxInt32, 2, append(bytes.Clone(a), Record(-1, nil, nil)...))
		add("last delta negative", -1, 1, a)
		add("count too high", 5, 6, two)
		add("count beyond the offsets", 0, 2, two)
		add("count too low", 1, 1, two)
		add("count negative", 1, -1, two)
		add("count huge", math.MaxInt32, math.MaxInt32, two)
		add("no records where two are stated", 1, 2, nil)
		add("record cut off", 1, 2, two[:len(two)-1])
		add("bytes behind the last record", 1, 2, append(bytes.Clone(two), 0))
		add("record length huge", 1, 2, spoil(0, 0x7e))
		add("record length negative", 1, 2, spoil(0, 1))
		add("key length negative", 1, 2, spoil(4, 0x03))
		add("value length beyond the record", 1, 2, spoil(5, 0x40))
		add("header count huge", 1, 2, spoil(7, 0x7e))
		add("header count negative", 1, 2, spoil(7, 0x01))
		if codec == None {
			continue
		}
		all = append(all,
			Hostile{"compressed garbage", codec, Batch(int16(codec), 1, 2, []byte("garbage garbage garbage"))},
			Hostile{"compressed data cut off", codec, Batch(int16(codec), 1, 2, Pack(codec, bytes.Repeat(two, 9))[:12])},
			Hostile{"decompresses to 80 MiB", codec, Batch(int16(codec), 1, 2, Pack(codec, make([]byte, 80<<20)))},
		)
	}
	for unknown := int16(5); unknown < 8; unknown++ {
		all = append(all, Hostile{fmt.Sprintf("codec %d", unknown), None, Batch(unknown, 1, 2, two)})
	}
	return append(all, Hostile{"time of the broker, set by a producer", None, Batch(LogAppendTime, 1, 2, two)})
}
