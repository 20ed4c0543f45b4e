package dispatcher

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// Headroom is how far a job stays below what its topic takes, so that it also fits into the dead letters, whose limit is
// the same: all headers of a dead letter and what the bus adds to them.
const Headroom = maxHeaders + 4<<10

// maxHeaders bounds the headers of a record that we write, names and values together.
const maxHeaders = 4 << 10

// size is an upper bound of what m takes on the bus uncompressed: the lengths are varints of at most 5 bytes, and a batch
// of one record adds 61 bytes.
func size(m kafka.Message) int {
	const record, batch, perHeader = 36, 61, 10
	return record + batch + len(m.Key) + len(m.Value) + headerBytes(m.Headers) + perHeader*len(m.Headers)
}

func headerBytes(hs []kafka.Header) (n int) {
	for _, h := range hs {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func header(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
