package smtp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/puddle/v2"
	"github.com/stretchr/testify/require"
	gomail "github.com/wneessen/go-mail"
	gosmtp "github.com/wneessen/go-mail/smtp"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	benchSenders     = 64
	benchConnections = 16
)

// BenchmarkSMTP compares this package with go-mail's own sending, over a pool of the same size, into the same sink. The sink is
// a server in this process, so its work is in both results.
func BenchmarkSMTP(b *testing.B) {
	b.Run("sender", func(b *testing.B) {
		sink := &backend{}
		addr := startServer(b, sink, nil).Addr().(*net.TCPAddr)
		s, err := New("mail", config.SMTP{Host: "127.0.0.1", Port: addr.Port, TLS: plain, Connections: benchConnections}, zap.NewNop())
		require.NoError(b, err)
		measure(b, sink, func(m *notify.Message) error {
			_, err := s.Send(context.Background(), m)
			return err
		})
		require.NoError(b, s.Close())
	})
	b.Run("direct go-mail pool", func(b *testing.B) {
		sink := &backend{}
		send, end := direct(b, startServer(b, sink, nil).Addr().(*net.TCPAddr).Port)
		measure(b, sink, send)
		end()
	})
}

// direct sends without this package: it ignores contexts and does not classify failures.
func direct(b *testing.B, port int) (send func(*notify.Message) error, end func()) {
	client, err := gomail.NewClient("127.0.0.1", gomail.WithPort(port), gomail.WithTLSPolicy(gomail.NoTLS),
		gomail.WithoutNoop(), gomail.WithoutRset(), gomail.WithoutSMTPUTF8())
	require.NoError(b, err)
	pool, err := puddle.NewPool(&puddle.Config[*gosmtp.Client]{
		MaxSize:     benchConnections,
		Constructor: client.DialToSMTPClientWithContext,
		Destructor:  func(c *gosmtp.Client) { _ = client.CloseWithSMTPClient(c) },
	})
	require.NoError(b, err)
	return func(m *notify.Message) error {
		msg := gomail.NewMsg()
		if err := msg.From(m.Email.From); err != nil {
			return err
		}
		if err := msg.To(m.Recipient); err != nil {
			return err
		}
		msg.Subject(m.Email.Subject)
		msg.SetBodyString(gomail.TypeTextPlain, m.Email.Text)
		pooled, err := pool.Acquire(context.Background())
		if err != nil {
			return err
		}
		defer pooled.Release()
		return client.SendWithSMTPClient(pooled.Value(), msg)
	}, pool.Close
}

func measure(b *testing.B, sink *backend, send func(*notify.Message) error) {
	for range benchConnections { // connect beforehand
		require.NoError(b, send(message("ada@example.com")))
	}
	cpu, start := cpuTime(b), time.Now()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range benchSenders {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := send(message("ada@example.com")); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/msg")
	require.Equal(b, b.N+benchConnections, sink.mails)
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
