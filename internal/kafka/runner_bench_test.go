package kafka_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// paced plays a gateway inside the process: each message takes its time, and it is over when n have been taken.
type paced struct {
	time  time.Duration
	left  atomic.Int64
	first atomic.Int64 // when the first was taken: joining the group is not delivery
	over  chan struct{}
}

func newPaced(d time.Duration, n int) *paced {
	p := &paced{time: d, over: make(chan struct{})}
	p.left.Store(int64(n))
	return p
}

func (p *paced) Identify(r *kafka.Record) string { return string(r.Value) }

func (p *paced) Handle(ctx context.Context, a *kafka.Attempt) kafka.Result {
	p.first.CompareAndSwap(0, time.Now().UnixNano())
	if p.time > 0 {
		select {
		case <-time.After(p.time):
		case <-ctx.Done():
		}
	}
	if p.left.Add(-1) == 0 {
		close(p.over)
	}
	return kafka.Result{Outcome: &kafka.Outcome{ID: string(a.Value), Key: a.Value, Value: []byte(`{"state":"sent"}`)}}
}

// deliver fills a topic and measures how long its delivery takes from the first message on, and the CPU it costs.
func deliver(b *testing.B, partitions, n int, p *paced) (took, cpu time.Duration) {
	f := newField(b, partitions, 0)
	f.fill(n, 1000)
	node, err := newNode(kafka.Config{Brokers: f.brokers}, f.group, []string{f.topic}, f.ledger, p, zap.NewNop(), nil)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	used := cpuTime()
	go func() { done <- node.run(ctx) }()
	<-p.over
	took = time.Since(time.Unix(0, p.first.Load()))
	cpu = cpuTime() - used
	cancel()
	require.NoError(b, <-done)
	return took, cpu
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSlowGateway: 64 in flight on a gateway of 50 ms, one partition. of-ideal is the share of 64/0.05 a second.
func BenchmarkSlowGateway(b *testing.B) {
	const n = 26_000 // 20 s
	for b.Loop() {
		took, cpu := deliver(b, 1, n, newPaced(50*time.Millisecond, n))
		b.ReportMetric(n/took.Seconds()/(64/0.05), "of-ideal")
		b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/msg")
		b.ReportMetric(n/took.Seconds(), "msg/s")
	}
}

// BenchmarkNoGateway: what the runner itself costs, its ledger included. With the embedded broker its CPU is counted too.
func BenchmarkNoGateway(b *testing.B) {
	const n = 200_000
	for b.Loop() {
		took, cpu := deliver(b, 4, n, newPaced(0, n))
		b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/msg")
		b.ReportMetric(n/took.Seconds(), "msg/s")
	}
}
