package kafka

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// A broker that takes connections and never answers must not keep anybody from ending.
func TestASilentBrokerIsLeftAtOnce(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	cfg := Config{Brokers: []string{silent.Addr().String()}}
	for name, ask := range map[string]func(context.Context) error{
		"topics":    func(ctx context.Context) error { _, err := Ensure(ctx, cfg, nil, true); return err },
		"publisher": func(ctx context.Context) error { return NewPublisher(cfg, PublisherConfig{Persistent: true}).Run(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- ask(ctx) }()
			conn, err := silent.Accept()
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Read(make([]byte, 1)) // it has asked, and waits
			require.NoError(t, err)
			cancel()
			select {
			case <-ended:
			case <-time.After(3 * time.Second): // less than any read timeout
				require.Fail(t, "it waits for an answer")
			}
		})
	}
}

// silentHandler gets no records.
type silentHandler struct{}

func (silentHandler) Identify(*Record) string                 { return "" }
func (silentHandler) Handle(context.Context, *Attempt) Result { return Result{} }

// A broker that froze while a runner was its member is not asked for leave for longer than the runner may live.
func TestAFrozenBrokerIsLeft(t *testing.T) {
	f, cfg := frozenCluster(t)
	ledger, err := NewLedger(cfg, "t", zap.NewNop())
	require.NoError(t, err)
	defer ledger.conn.close()
	r, err := NewRunner(RunnerConfig{
		Kafka: cfg, Group: "g", Topics: []string{"t"}, Handler: silentHandler{}, Ledger: ledger, Publisher: NewPublisher(cfg, PublisherConfig{}), Log: zap.NewNop(),
	})
	require.NoError(t, err)
	defer r.offsets.conn.close()
	var end context.CancelFunc
	r.life, end = context.WithCancel(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	t.Cleanup(r.reader.close)
	go func() { ended <- r.join(ctx) }()
	require.Eventually(t, func() bool { return r.Ready() == nil }, time.Minute, 10*time.Millisecond)
	f.freeze()
	stop()
	end()
	select {
	case <-ended:
	case <-time.After(20 * time.Second): // less than the 45 s for which an answer is waited for
		require.Fail(t, "it waits for an answer")
	}
}
