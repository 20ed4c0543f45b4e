package kafka_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// TestMain checks that no goroutine is left behind, or lives as a worker or a broker when a test asks for one.
func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(beChild(spec))
	}
	if spec := os.Getenv(brokerEnv); spec != "" {
		os.Exit(beBroker(spec))
	}
	// The tests' own clients keep their metrics; the project's do not.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		// Sarama's circuit breaker, once open, sleeps ten seconds and cannot be woken.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"),
		// A cluster of kfake that is closed while a control sleeps may wait for its own lock for ever.
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*Cluster).beginSleptControl"))
}

func signalContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// testLog logs to the test, from warnings on.
func testLog(t testing.TB) *zap.Logger {
	return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
}

// quiet is for tests that make trouble on purpose.
func quiet() *zap.Logger { return zap.NewNop() }
