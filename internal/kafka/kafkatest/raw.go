package kafkatest

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProduceRaw writes raw, the bytes of a record batch whatever they are, to a partition, as any writer of the bus may. It
// returns the broker's error code, 0 for success. The partition's leader must be the broker at addr.
func ProduceRaw(t testing.TB, addr, topic string, partition int32, raw []byte) int16 {
	t.Helper()
	code, _ := ProduceRawAt(t, addr, topic, partition, raw)
	return code
}

// ProduceRawAt is ProduceRaw that also returns the offset at which the broker has appended the batch.
func ProduceRawAt(t testing.TB, addr, topic string, partition int32, raw []byte) (code int16, base int64) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 7, -1, 30_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, raw
	at := kmsg.NewProduceRequestTopic()
	at.Topic, at.Partitions = topic, append(at.Partitions, p)
	req.Topics = append(req.Topics, at)
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = req.Version
	require.NoError(t, resp.ReadFrom(Exchange(t, addr, req)))
	require.Len(t, resp.Topics, 1)
	require.Len(t, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[0].BaseOffset
}

// Exchange sends one request of a version without tagged fields and returns the body of its response.
func Exchange(t testing.TB, addr string, req kmsg.Request) []byte {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 1))
	require.NoError(t, err)
	head := make([]byte, 8) // length, correlation id
	_, err = io.ReadFull(conn, head)
	require.NoError(t, err)
	body := make([]byte, binary.BigEndian.Uint32(head)-4)
	_, err = io.ReadFull(conn, body)
	require.NoError(t, err)
	return body
}
