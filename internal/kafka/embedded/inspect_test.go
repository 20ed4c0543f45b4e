package embedded_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

func TestInspector_RefusesBatchesThatNobodyCanReadAndKeepsTheOthers(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	topic := kafkatest.Topic(t, []string{b.Addr()}, 1)
	produce(t, b.Addr(), topic, "before")
	for _, h := range batchtest.HostileBatches() {
		code := kafkatest.ProduceRaw(t, b.Addr(), topic, 0, h.Raw)
		require.NotZero(t, code, "%s, %s: accepted", h.Kind, h.Codec)
		require.Contains(t, []int16{kerr.InvalidRecord.Code, kerr.InvalidTimestamp.Code, kerr.CorruptMessage.Code}, code, "%s, %s", h.Kind, h.Codec)
	}
	for _, codec := range batchtest.Codecs() {
		good := batchtest.Batch(int16(codec), 0, 1, batchtest.Pack(codec, batchtest.Record(0, nil, []byte(codec.String()))))
		require.Zero(t, kafkatest.ProduceRaw(t, b.Addr(), topic, 0, good), codec)
	}
	all := []string{"before", "none", "gzip", "snappy", "lz4", "zstd"}
	require.Equal(t, all, values(t, b.Addr(), topic))

	require.NoError(t, b.Close())
	b = open(t, dir)
	require.Equal(t, all, values(t, b.Addr(), topic), "after a restart")
}

func TestInspector_RefusesOnlyThePartitionWithTheBadBatch(t *testing.T) {
	b := open(t, t.TempDir())
	topic := kafkatest.Topic(t, []string{b.Addr()}, 3)
	good := batchtest.Batch(0, 0, 1, batchtest.Record(0, nil, []byte("good")))
	bad := batchtest.Batch(0, 0, 1, batchtest.Record(9, nil, []byte("bad")))
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 7, -1, 30_000
	at := kmsg.NewProduceRequestTopic()
	at.Topic = topic
	for p, raw := range [][]byte{good, bad, good} {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = int32(p), raw
		at.Partitions = append(at.Partitions, part)
	}
	unknown := kmsg.NewProduceRequestTopic()
	unknown.Topic, unknown.Partitions = "nobody's", at.Partitions[1:2]
	req.Topics = append(req.Topics, at, unknown)
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = req.Version
	require.NoError(t, resp.ReadFrom(kafkatest.Exchange(t, b.Addr(), req)))
	codes := map[int32]int16{}
	for _, at := range resp.Topics {
		if at.Topic != topic {
			continue
		}
		for _, p := range at.Partitions {
			codes[p.Partition] = p.ErrorCode
		}
	}
	require.Equal(t, map[int32]int16{0: 0, 1: kerr.InvalidRecord.Code, 2: 0}, codes)
	require.Zero(t, kafkatest.ProduceRaw(t, b.Addr(), topic, 1, good), "the refusal ends with its request")
	require.Equal(t, []string{"good", "good", "good"}, values(t, b.Addr(), topic))
}
