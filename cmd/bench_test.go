package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/bench"
)

// Each run in its short form, in processes of this program: all that is accepted is delivered, and nothing stays behind.
func TestBench_EachRunDeliversWhatItHasAccepted(t *testing.T) {
	t.Setenv(asProgramEnv, "1")
	for _, c := range []struct {
		args string
		rows []string
	}{
		{"ingest --connections 8", []string{"rate", "CPU of the API", "answer, p99"}},
		{"ingest --connections 4 --batch 50 --store sqlite --channel email", []string{"rate", "recorder caught up after"}},
		{"deliver --channel email --messages 300", []string{"rate", "CPU of the worker", "CPU of the sink"}},
		{"deliver --channel sms --messages 300 --sink-latency 1ms", []string{"rate", "CPU of Kafka"}},
		{"deliver --channel push --messages 300 --in-flight 16", []string{"rate", "peak RSS of the worker"}},
		{"latency --rate 50 --keys", []string{"accepted to sink, p50", "accepted to sink, p99.9", "all, goroutines", "status store"}},
		{"idle --for 500ms", []string{"all, RSS", "work, goroutines", "serve-api, RSS"}},
		{"store", []string{"CPU per lifecycle", "events", "status store"}},
	} {
		name, _, _ := strings.Cut(c.args, " --")
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			code, out, errs := run(t, append([]string{"bench"}, strings.Fields(c.args+" --short --json")...)...)
			require.Zero(t, code, errs)
			var r bench.Result
			require.NoError(t, json.Unmarshal([]byte(out), &r), out)
			require.Equal(t, name, r.Bench)
			require.False(t, r.Judged)
			if name != "idle" {
				require.Positive(t, r.Audit.Accepted)
			}
			// A busy machine may refuse requests, of which some are delivered all the same, and repeat messages.
			require.Zero(t, r.Audit.Lost)
			require.GreaterOrEqual(t, r.Audit.Delivered, r.Audit.Accepted)
			require.LessOrEqual(t, r.Audit.Delivered, r.Audit.Accepted+r.Audit.Refused)
			var rows []string
			for _, row := range r.Rows {
				rows = append(rows, row.Name)
				require.Nil(t, row.Met, row.Name)
			}
			require.Subset(t, rows, c.rows)
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "laudspeaker-bench-*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// Faults of the sink cost no message: what fails for now is sent again, and what is rejected is counted.
func TestBench_CountsWhatTheSinkRejects(t *testing.T) {
	t.Setenv(asProgramEnv, "1")
	code, out, errs := run(t, "bench", "deliver", "--channel", "sms", "--messages", "300", "--sink-fail", "transient=0.05,rejected=0.3", "--short", "--json")
	require.Zero(t, code, errs)
	var r bench.Result
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	require.Positive(t, r.Audit.Rejected)
	require.GreaterOrEqual(t, r.Audit.Delivered+r.Audit.Rejected, r.Audit.Accepted)
	require.Zero(t, r.Audit.Lost)
}

// watcher calls heard once, when the text has been written.
type watcher struct {
	text  string
	heard func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.heard()
	}
	return len(p), nil
}

// An interrupt in the middle of a run ends its processes and removes its directories.
func TestBench_InterruptLeavesNothing(t *testing.T) {
	t.Setenv(asProgramEnv, "1")
	t.Setenv("TMPDIR", t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	stderr := io.MultiWriter(&errs, &watcher{"messages are on the topic", interrupt})
	args := []string{"bench", "deliver", "--channel", "sms", "--messages", "2000", "--sink-latency", "20ms", "--legs", "1", "--json"}
	require.Equal(t, 1, Execute(ctx, args, &out, stderr))
	require.Empty(t, out.String())
	require.Contains(t, errs.String(), "laudspeaker: interrupted")
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "laudspeaker-bench-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestBench_TeachesItsRuns(t *testing.T) {
	code, out, _ := run(t, "bench")
	require.Zero(t, code)
	for _, name := range []string{"ingest", "deliver", "latency", "idle", "store"} {
		require.Contains(t, out, "laudspeaker bench "+name)
	}
	require.NotContains(t, out, "helper")
	code, _, errs := run(t, "bench", "deliver", "--sink-fail", "2")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--sink-fail")
	code, _, errs = run(t, "bench", "ingest", "--batch", "0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--batch: give 1 to 1000")
}
