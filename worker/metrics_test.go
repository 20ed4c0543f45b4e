package worker

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestLog_OneLinePerCall(t *testing.T) {
	for mode, shown := range map[string]any{
		"": "b***@customer.example", notify.RecipientsMasked: "b***@customer.example", notify.RecipientsFull: recipient, notify.RecipientsNone: nil, "odd": "b***@customer.example",
	} {
		core, lines := observer.New(zapcore.DebugLevel)
		w := newWorker(scripted(nil), func(c *Config) { c.Log, c.Recipients = zap.New(core), mode })
		w.Handle(t.Context(), newAttempt(record(mail)))
		require.Equal(t, 1, lines.Len())
		got := lines.All()[0].ContextMap()
		require.Equal(t, shown, got["recipient"], mode)
		delete(got, "recipient")
		require.Equal(t, map[string]any{
			"channel": "email", "gateway": "mail", "id": someID, "verdict": "accepted", "try": int64(1), "ms": int64(0),
			"partition": int32(3), "offset": int64(42), "lane": "normal",
		}, got)
	}
}

func TestLog_HasNoPayloadOrRecipient(t *testing.T) {
	core, lines := observer.New(zapcore.DebugLevel)
	panics := sendFunc(func(_ context.Context, m *notify.Message) (notify.Receipt, error) {
		panic("cannot send " + m.Email.Text + " to " + m.Address)
	})
	w := newWorker(panics, func(c *Config) { c.Log = zap.New(core) })
	e := eventOf(t, w.Handle(t.Context(), newAttempt(record(mail))))
	require.Equal(t, notify.StateRetrying, e.State, "a panic is transient")
	require.Equal(t, "the gateway panicked", e.Tries[0].Reason)

	for _, value := range []string{strings.Replace(mail, "Hi", `Hi\u0000`, 1), `{"recipient":"` + recipient + `","payload":"secret words"}`, mail[:len(mail)-1]} {
		w.Handle(t.Context(), newAttempt(record(value)))
	}
	require.Equal(t, 6, lines.Len()) // one more says that its id came with another content
	stack := false
	for _, line := range lines.All() {
		text, err := json.Marshal(line.ContextMap())
		require.NoError(t, err)
		require.NotContains(t, string(text), "secret")
		require.NotContains(t, string(text), recipient)
		stack = stack || strings.Contains(string(text), "metrics_test.go")
	}
	require.True(t, stack, "the stack of the panic")
}

func TestMetrics_CountEachOutcome(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := newWorker(scripted(transient, nil), func(c *Config) { c.Metrics = NewMetrics(reg) })
	res := w.Handle(t.Context(), newAttempt(record(mail)))
	eventOf(t, res)
	retry := nextRecord(t, record(mail), res)
	for i := len(retry.Headers) - 1; i >= 0; i-- { // due at once
		if retry.Headers[i].Key == notify.HeaderNotBefore {
			retry.Headers[i].Value = nil
		}
	}
	eventOf(t, w.Handle(t.Context(), newAttempt(retry)))
	w.Handle(t.Context(), newAttempt(record(mail)))
	eventOf(t, w.Handle(t.Context(), newAttempt(record("{"))))
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP laudspeaker_attempts_total Calls of a gateway, by its verdict.
# TYPE laudspeaker_attempts_total counter
laudspeaker_attempts_total{channel="email",gateway="mail",verdict="accepted"} 1
laudspeaker_attempts_total{channel="email",gateway="mail",verdict="ambiguous"} 0
laudspeaker_attempts_total{channel="email",gateway="mail",verdict="permanent"} 0
laudspeaker_attempts_total{channel="email",gateway="mail",verdict="throttled"} 0
laudspeaker_attempts_total{channel="email",gateway="mail",verdict="transient"} 1
laudspeaker_attempts_total{channel="email",gateway="mail",verdict="unavailable"} 0
# HELP laudspeaker_dead_letters_total Jobs that became a dead letter.
# TYPE laudspeaker_dead_letters_total counter
laudspeaker_dead_letters_total{channel="email",lane="normal"} 1
# HELP laudspeaker_duplicates_dropped_total Second copies of jobs that were not sent.
# TYPE laudspeaker_duplicates_dropped_total counter
laudspeaker_duplicates_dropped_total{channel="email",lane="normal"} 1
# HELP laudspeaker_jobs_ended_total Steps of jobs that ended, by the state that they ended in.
# TYPE laudspeaker_jobs_ended_total counter
laudspeaker_jobs_ended_total{channel="email",state="cancelled"} 0
laudspeaker_jobs_ended_total{channel="email",state="dead"} 0
laudspeaker_jobs_ended_total{channel="email",state="delivered"} 0
laudspeaker_jobs_ended_total{channel="email",state="expired"} 0
laudspeaker_jobs_ended_total{channel="email",state="held"} 0
laudspeaker_jobs_ended_total{channel="email",state="rejected"} 1
laudspeaker_jobs_ended_total{channel="email",state="retrying"} 1
laudspeaker_jobs_ended_total{channel="email",state="scheduled"} 0
laudspeaker_jobs_ended_total{channel="email",state="sent"} 1
laudspeaker_jobs_ended_total{channel="email",state="suppressed"} 0
`), "laudspeaker_attempts_total", "laudspeaker_dead_letters_total", "laudspeaker_duplicates_dropped_total", "laudspeaker_jobs_ended_total"))
	require.Equal(t, 1, testutil.CollectAndCount(reg, "laudspeaker_attempt_seconds"))
	require.NotPanics(t, func() {
		newWorker(nil, func(c *Config) { c.Channel, c.Metrics = notify.ChannelSMS, w.cfg.Metrics })
	}, "one Metrics serves the workers of all channels")
}

// BenchmarkAttempt measures the cost of one message in the worker, without gateway and Kafka: about 10 µs of one core.
func BenchmarkAttempt(b *testing.B) {
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	noop := sendFunc(func(context.Context, *notify.Message) (notify.Receipt, error) { return notify.Receipt{}, nil })
	w := newWorker(noop, func(c *Config) { c.Log, c.Metrics = log, NewMetrics(prometheus.NewRegistry()) })
	accepted := time.Now().UTC().Format(time.RFC3339Nano)
	r := record(mail, "ls-schema", "1", "ls-id", someID, "ls-lane", "normal", "ls-accepted-at", accepted, "ls-run", "")
	b.ReportAllocs()
	for run := int64(0); b.Loop(); run++ { // else all but the first are copies
		r.Headers[len(r.Headers)-1].Value = strconv.AppendInt(nil, run, 10)
		res := w.Handle(b.Context(), newAttempt(r))
		if res.Outcome == nil {
			b.Fatal("no outcome")
		}
		res.Ended(res.Outcome)
	}
}
