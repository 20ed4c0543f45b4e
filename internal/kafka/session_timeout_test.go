package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// idleRunner is a runner of the topic that does nothing.
func idleRunner(t *testing.T, cfg Config, ledger *Ledger, group string, log *zap.Logger) *Runner {
	r, err := NewRunner(RunnerConfig{
		Kafka: cfg, Group: group, Topics: []string{"jobs"}, Handler: idle{}, Ledger: ledger, Publisher: NewPublisher(cfg, PublisherConfig{}),
		Log: log, AttemptTimeout: time.Second,
	})
	require.NoError(t, err)
	return r
}

type idle struct{}

func (idle) Identify(*Record) string                 { return "" }
func (idle) Handle(context.Context, *Attempt) Result { return Result{} }

// Where the brokers refuse the default session timeout a longer one is used, and said once for all runners of the process. A
// timeout that is configured stays as it is, and the error says what to set.
func TestRunner_SessionTimeoutThatBrokersRefuse(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(8*time.Second), kfake.SeedTopics(2, "jobs"), kfake.SeedTopics(1, "ledger"))
	require.NoError(t, err)
	defer c.Close()
	cfg := Config{Brokers: c.ListenAddrs()}
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(core)
	ledger, err := NewLedger(cfg, "ledger", log)
	require.NoError(t, err)
	defer ledger.conn.close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 4)
	go func() { ended <- ledger.Run(ctx) }()
	a, b := idleRunner(t, cfg, ledger, "a", log), idleRunner(t, cfg, ledger, "b", log)
	cfg.Group.SessionTimeout = 6 * time.Second
	set := idleRunner(t, cfg, ledger, "c", log)
	for _, r := range []*Runner{a, b, set} {
		go func() { ended <- r.Run(ctx) }()
	}
	require.Eventually(t, func() bool { return a.Ready() == nil && b.Ready() == nil }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 1, logs.FilterMessageSnippet("refuse the default session timeout").Len())
	require.Eventually(t, func() bool {
		return logs.FilterMessageSnippet("no group session").FilterFieldKey("error").Len() > 0
	}, time.Minute, 10*time.Millisecond)
	require.ErrorContains(t, set.Ready(), "set kafka.session_timeout between")
	cancel()
	for range 4 {
		require.NoError(t, <-ended)
	}
}

func TestConfig_SessionAndHeartbeat(t *testing.T) {
	c := Config{Brokers: []string{"a:1"}}.withDefaults()
	require.Equal(t, []time.Duration{6 * time.Second, time.Second}, []time.Duration{c.Group.SessionTimeout, c.Group.HeartbeatInterval})
	require.Less(t, RunnerConfig{}.withDefaults().Lease, c.Group.SessionTimeout, "whoever loses its session has long stopped to start anything")
}
