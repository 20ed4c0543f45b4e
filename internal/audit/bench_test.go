package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// endless is a Kafka with n e-mails, each sent once. It generates the records while they are read.
type endless struct {
	n    int64
	job  func(i int64) kafka.Record
	sent func(i int64) kafka.Record
}

func newEndless(n int64) *endless {
	now := time.Now().Add(-time.Hour)
	name := func(i int64) string {
		var b [idBytes]byte
		binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16)
		binary.BigEndian.PutUint64(b[8:], uint64(i)*0x9e3779b97f4a7c15)
		b[6] = 0x70
		return formatID(b)
	}
	e := notify.Event{
		State: notify.StateSent, At: now, Tenant: "default", Channel: notify.ChannelEmail, Lane: notify.LaneNormal,
		Gateway: "mail", ProviderID: "<0190163d-8694-739b-aea5-966c26f8ad91@example.com>", Attempt: 1, Tries: []notify.Try{{Gateway: "mail", Verdict: notify.Accepted, Millis: 12}},
	}
	header := func(k, v string) kafka.Header { return kafka.Header{Key: k, Value: []byte(v)} }
	return &endless{
		n: n,
		job: func(i int64) kafka.Record {
			id := name(i)
			return kafka.Record{
				Topic: lane, Offset: i, Timestamp: now, Value: fmt.Appendf(nil,
					`{"id":"%s","tenant":"default","channel":"email","recipient":"ada@example.com","payload":{"subject":"Hello","text":"It works, and this is how long a short text is in such a message."},"expires_at":"2026-12-31T00:00:00Z"}`, id),
				Headers: []kafka.Header{header("ls-schema", "1"), header("ls-id", id), header("ls-lane", "normal"), header("ls-accepted-at", now.Format(time.RFC3339Nano))},
			}
		},
		sent: func(i int64) kafka.Record {
			e := e
			e.NotificationID, e.EventID = name(i), id
			e.Final = true
			value, _ := e.Encode()
			return kafka.Record{Topic: ledger, Offset: i, Timestamp: now, Value: value, Headers: []kafka.Header{
				header("ls-kind", "outcome"), header("ls-group", workers), header("ls-job-topic", lane), header("ls-job-partition", "0"),
				header("ls-job-offset", strconv.FormatInt(i, 10)), header("ls-id", e.NotificationID), header("ls-run", "0"), header("ls-step", "0"),
			}}
		},
	}
}

func (e *endless) Topics() ([]string, error) { return []string{lane, ledger}, nil }

func (e *endless) TopicIDs([]string) (map[string]kafka.TopicID, error) { return nil, nil }

func (e *endless) Bounds(string) ([]kafka.Bounds, error) { return []kafka.Bounds{{Newest: e.n}}, nil }

func (e *endless) Since(_ string, _ time.Time, b []kafka.Bounds) ([]kafka.Bounds, error) {
	return b, nil
}

func (e *endless) Positions(string, string) (map[int32]*kafka.Position, error) {
	return map[int32]*kafka.Position{0: kafka.ReadPosition(e.n, "")}, nil
}

func (e *endless) Scan(_ context.Context, topic string, bounds []kafka.Bounds, visit func(*kafka.Record) error) error {
	from := map[string]func(int64) kafka.Record{lane: e.job, ledger: e.sent}[topic]
	const block = 2000 // as a fetch brings them
	records := make([]kafka.Record, 0, block)
	for i := bounds[0].Oldest; i < bounds[0].Newest; i += int64(len(records)) {
		records = records[:0]
		for k := i; k < min(i+block, bounds[0].Newest); k++ {
			records = append(records, from(k))
		}
		for k := range records {
			if err := visit(&records[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// BenchmarkAudit accounts for a million e-mails. The time includes generating their records.
func BenchmarkAudit(b *testing.B) {
	for b.Loop() {
		r, err := Run(b.Context(), Config{Log: newEndless(1_000_000), Status: ledger, Topics: allTopics, Dir: b.TempDir()})
		require.NoError(b, err)
		require.EqualValues(b, 1_000_000, r.Ended[notify.StateSent])
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1e6, "µs/notification")
}

func BenchmarkRecords(b *testing.B) {
	e := newEndless(1_000_000)
	for b.Loop() {
		for _, topic := range []string{lane, ledger} {
			_ = e.Scan(b.Context(), topic, []kafka.Bounds{{Newest: 1_000_000}}, func(*kafka.Record) error { return nil })
		}
	}
}

// LAUDSPEAKER_TEST_AUDIT=10000000 measures an audit of that many notifications.
func TestAudit_MemoryIsBounded(t *testing.T) {
	n, _ := strconv.ParseInt(os.Getenv("LAUDSPEAKER_TEST_AUDIT"), 10, 64)
	if n == 0 {
		t.Skip("set LAUDSPEAKER_TEST_AUDIT to a number of notifications, such as 10000000")
	}
	began := time.Now()
	heaps := []uint64{}
	r, err := Run(t.Context(), Config{Log: newEndless(n), Status: ledger, Topics: allTopics, Dir: t.TempDir(), Progress: func(p Progress) {
		if p.Done%(1<<20) == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heaps = append(heaps, m.HeapInuse>>20)
		}
	}})
	require.NoError(t, err)
	require.Equal(t, n, r.Ended[notify.StateSent])
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d in %s; heap while reading at most %d MiB, from the system at most %d MiB", n, time.Since(began), slices.Max(heaps), m.Sys>>20)
}
