package cmd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/puddle/v2"
	"github.com/stretchr/testify/require"
	gomail "github.com/wneessen/go-mail"
	gosmtp "github.com/wneessen/go-mail/smtp"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// fill writes n jobs straight to a topic, spread over the keys.
func (f *fleet) fill(topic string, n int, body func(key, number int) (string, string)) {
	f.publish(n, func(i int) kafka.Message {
		value, id := body(i%keys, 1+i/keys)
		key, _, _ := strings.Cut(id, "/")
		return kafka.Message{Topic: f.prefix + topic, Partition: kafka.Hashed, Key: []byte(key), Value: []byte(value)}
	})
}

// publish writes n records, and returns when all are on the log.
func (f *fleet) publish(n int, message func(i int) kafka.Message) {
	p := kafka.NewPublisher(kafka.Config{Brokers: strings.Split(f.brokers, ",")}, kafka.PublisherConfig{Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	require.Eventually(f.t, func() bool { return p.Ready() == nil }, time.Minute, 10*time.Millisecond)
	var acked sync.WaitGroup
	room := make(chan struct{}, 5000)
	for i := range n {
		room <- struct{}{}
		acked.Add(1)
		err := p.Send(message(i), func(_ int32, _ int64, err error) {
			if err != nil {
				f.t.Error(err)
			}
			<-room
			acked.Done()
		})
		require.NoError(f.t, err)
	}
	acked.Wait()
	cancel()
	require.NoError(f.t, <-done)
}

// deliver measures a worker process at n jobs that wait for it, from the first that it delivers, and the CPU it takes.
func (f *fleet) deliver(channel string, n int, body func(key, number int) (string, string)) (took, cpu time.Duration) {
	api, _ := f.serveAnywhere() // makes the topics
	api.term()
	f.fill(channel+"_topic", n, body)
	w := f.work(channel)
	require.Eventually(f.t, func() bool { got, _ := f.sink.counts(); return got == n }, 5*time.Minute, 2*time.Millisecond)
	took = time.Since(f.sink.first)
	w.term()
	_, repeated := f.sink.counts()
	require.Zero(f.t, repeated)
	return took, w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
}

// BenchmarkWorkerOnASlowGateway: the role work with 64 in flight on a gateway of 50 ms, from one partition of a real
// Kafka, for some 20 s. of-ideal is the share of 64/0.05 a second.
func BenchmarkWorkerOnASlowGateway(b *testing.B) {
	brokers := realKafka(b)
	const n = 27_000
	for b.Loop() {
		took, cpu := newFleet(b, brokers, 1, newSink(gatewayDelay)).deliver("sms", n, sms)
		b.ReportMetric(n/took.Seconds()/(slots/gatewayDelay.Seconds()), "of-ideal")
		b.ReportMetric(n/took.Seconds(), "msg/s")
		b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/msg")
	}
}

// BenchmarkWorkerOnASimulatedGateway: what a message costs the role work itself, all of it but the gateway: one process, a
// gateway of type sim that takes no time, and a log that says no more than it must. Its start counts, with some 2 µs.
func BenchmarkWorkerOnASimulatedGateway(b *testing.B) {
	brokers := realKafka(b)
	const n = 100_000
	for b.Loop() {
		f := newFleet(b, brokers, 12, newSink(0))
		api, _ := f.serveAnywhere() // makes the topics
		api.term()
		f.fill("sms_topic", n, sms)
		admin := freeAddress("127.0.0.1")
		w := launch(b, f.dir, "w1", "work", "--channel", "sms", "--config", f.dir+"/laudspeaker.yaml", "--log-level", "warn",
			"--set", "admin.listen="+admin, "--set", "gateways.none.type=sim", "--set", "gateways.none.latency=0s", "--set", "channels.sms.gateways=none")
		done := f.outcomes()
		require.Eventually(b, func() bool { return done() > 0 }, time.Minute, 10*time.Millisecond)
		first, began := done(), time.Now()
		require.Eventually(b, func() bool { return done() >= n }, 5*time.Minute, 20*time.Millisecond)
		took := time.Since(began)
		b.ReportMetric(figure("http://"+admin, "laudspeaker_attempts_total", `verdict="accepted"`)-n, "repeated")
		w.term()
		cpu := w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
		b.ReportMetric(float64(n-first)/took.Seconds(), "msg/s")
		b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/msg")
	}
}

// outcomes counts what is on the ledger. Kafka is asked: a worker that is asked for its metrics pays for the answers.
func (f *fleet) outcomes() func() int {
	reader, err := kafka.NewReader(kafka.Config{Brokers: strings.Split(f.brokers, ",")})
	require.NoError(f.t, err)
	f.t.Cleanup(reader.Close)
	return func() (n int) {
		ends, err := reader.Ends([]string{f.prefix + "status_topic"})
		if err != nil {
			f.t.Error(err)
		}
		for _, end := range ends {
			n += int(end.Offset)
		}
		return n
	}
}

// BenchmarkMail compares e-mail from Kafka to the relay with what sends alone can reach: go-mail on a pool of as many
// connections, called by as many goroutines as the worker has in flight, in this process, beside the relay.
func BenchmarkMail(b *testing.B) {
	brokers := realKafka(b)
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		n := 40_000
		if delay > 0 {
			n = int(20 * mailConnections / delay.Seconds())
		}
		b.Run(fmt.Sprintf("relay that takes %s", delay), func(b *testing.B) {
			for b.Loop() {
				alone := mailAlone(b, newSink(delay), n)
				took, cpu := newFleet(b, brokers, 12, newSink(delay)).deliver("email", n, email)
				b.ReportMetric(alone.Seconds()/took.Seconds(), "of-direct")
				b.ReportMetric(float64(n)/took.Seconds(), "msg/s")
				b.ReportMetric(float64(n)/alone.Seconds(), "direct-msg/s")
				b.ReportMetric(float64(cpu.Microseconds())/float64(n), "cpu-µs/msg")
			}
		})
	}
}

// mailAlone sends n messages with go-mail alone: no Kafka, no retries, no record of what happened.
func mailAlone(b *testing.B, s *sink, n int) time.Duration {
	client, err := gomail.NewClient("127.0.0.1", gomail.WithPort(s.relay(b)), gomail.WithTLSPolicy(gomail.NoTLS),
		gomail.WithoutNoop(), gomail.WithoutRset(), gomail.WithoutSMTPUTF8())
	require.NoError(b, err)
	pool, err := puddle.NewPool(&puddle.Config[*gosmtp.Client]{
		MaxSize:     mailConnections,
		Constructor: client.DialToSMTPClientWithContext,
		Destructor:  func(c *gosmtp.Client) { _ = client.CloseWithSMTPClient(c) },
	})
	require.NoError(b, err)
	defer pool.Close()
	var wg sync.WaitGroup
	for sender := range slots {
		wg.Go(func() {
			for i := sender; i < n; i += slots {
				if err := sendAlone(client, pool, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(s.first)
}

func sendAlone(client *gomail.Client, pool *puddle.Pool[*gosmtp.Client], i int) error {
	_, id := email(i%keys, 1+i/keys)
	to, number, _ := strings.Cut(id, "/")
	m := gomail.NewMsg()
	if err := m.From("a@example.com"); err != nil {
		return err
	}
	if err := m.To(to); err != nil {
		return err
	}
	m.Subject(number)
	m.SetBodyString(gomail.TypeTextPlain, "Hello")
	kept, err := pool.Acquire(context.Background())
	if err != nil {
		return err
	}
	defer kept.Release()
	return client.SendWithSMTPClient(kept.Value(), m)
}
