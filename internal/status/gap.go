package status

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// mostDone bounds the done bits of a gap; a process that publishes a wider gap splits it.
const mostDone = 64 << 10

// ReadGap reads the record of a gap; ok is false for every other record, and for one that does not say what it should.
func ReadGap(r *kafka.Record) (g Gap, ok bool) {
	if kind, _ := r.Header(kafka.HeaderKind); kind != kafka.KindGap || len(r.Value) > 0 {
		return Gap{}, false
	}
	text := func(name string) string { v, _ := r.Header(name); return v }
	id, err1 := kafka.ParseTopicID(text(kafka.HeaderJobTopicID))
	partition, err2 := strconv.ParseInt(text(kafka.HeaderJobPartition), 10, 32)
	from, err3 := strconv.ParseInt(text(kafka.HeaderGapFrom), 10, 64)
	to, err4 := strconv.ParseInt(text(kafka.HeaderGapTo), 10, 64)
	done, err5 := base64.RawStdEncoding.DecodeString(text(kafka.HeaderGapDone))
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return Gap{}, false
		}
	}
	g = Gap{
		Log:       Log{Topic: text(kafka.HeaderJobTopic), ID: id},
		Partition: int32(partition), From: from, To: to, Done: bytes.TrimRight(done, "\x00"), At: r.Timestamp,
	}
	return g, g.Topic != "" && partition >= 0 && from >= 0 && from < to && len(g.Done) <= mostDone
}

// Headers is the inverse of [ReadGap]. The group may be empty.
func (g *Gap) Headers(group string) []kafka.Header {
	number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	return []kafka.Header{
		{Key: kafka.HeaderKind, Value: []byte(kafka.KindGap)},
		{Key: kafka.HeaderGroup, Value: []byte(group)},
		{Key: kafka.HeaderJobTopic, Value: []byte(g.Topic)},
		{Key: kafka.HeaderJobTopicID, Value: []byte(g.ID.String())},
		{Key: kafka.HeaderJobPartition, Value: number(int64(g.Partition))},
		{Key: kafka.HeaderGapFrom, Value: number(g.From)},
		{Key: kafka.HeaderGapTo, Value: number(g.To)},
		{Key: kafka.HeaderGapDone, Value: []byte(base64.RawStdEncoding.EncodeToString(g.Done))},
	}
}

// Missing is how many records of the gap are gone without having been processed.
func (g *Gap) Missing() int64 {
	n := g.To - g.From
	for i, b := range g.Done {
		for bit := range int64(8) {
			if b>>bit&1 != 0 && int64(i)*8+bit < g.To-g.From {
				n--
			}
		}
	}
	return n
}
