package kafka

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// panicking panics for the values that are bad.
type panicking struct {
	mu    sync.Mutex
	bad   func(value string) bool
	calls map[string]int
}

func (p *panicking) Identify(r *Record) string { return string(r.Value) }

func (p *panicking) Handle(_ context.Context, a *Attempt) Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = map[string]int{}
	}
	p.calls[string(a.Value)]++
	if p.bad(string(a.Value)) {
		panic("secret of " + string(a.Value))
	}
	return Result{}
}

func (p *panicking) called(value string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[value]
}

// wait lets time pass under a lease.
func (st *stage) wait(d time.Duration) {
	for ; d > 0; d -= time.Second {
		time.Sleep(time.Second)
		st.commit()
		st.settle()
	}
}

func TestPanic_RecordBecomesADeadLetterAfterThreeTries(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	h := &panicking{bad: func(v string) bool { return v == "job1" }}
	buried := 0
	play(t, func(rc *RunnerConfig) {
		rc.Handler = h
		rc.Panicked = func(*Attempt) Result { buried++; return Result{} }
	}, func(st *stage) {
		st.r.log = zap.New(core)
		for range 3 {
			st.add("")
		}
		st.join()
		st.takeOver()
		st.fetch(3)
		require.Equal(t, []int{1, 1, 1}, []int{h.called("job0"), h.called("job1"), h.called("job2")})
		st.wait(25 * time.Second)
		require.Equal(t, 3, h.called("job1"))
		require.Equal(t, 1, buried)
		require.Equal(t, int64(3), st.c.low)
		require.EqualValues(t, 3, st.r.Stats().Panics)
		require.NoError(t, st.r.Ready())
	})
	for _, e := range logs.All() {
		require.NotContains(t, fmt.Sprint(e.Message, e.ContextMap()), "secret")
	}
}

func TestPanic_ManyRecordsStopTheRunnerAndNoneIsBuried(t *testing.T) {
	broken := true
	h := &panicking{bad: func(string) bool { return broken }}
	play(t, func(rc *RunnerConfig) {
		rc.Handler, rc.Concurrency = h, 1
		rc.Panicked = func(*Attempt) Result { t.Error("buried"); return Result{} }
	}, func(st *stage) {
		for range 20 {
			st.add("")
		}
		st.join()
		st.takeOver()
		st.fetch(20)
		require.EqualValues(t, mostPanicking+1, st.r.Stats().Panics, "the first that is too many stops it")
		require.ErrorContains(t, st.r.Ready(), "the handler panics for record after record")
		st.wait(firstPanicStop + time.Second)
		require.EqualValues(t, mostPanicking+2, st.r.Stats().Panics, "one try")
		require.Error(t, st.r.Ready())
		h.mu.Lock()
		broken = false
		h.mu.Unlock()
		st.wait(2*firstPanicStop + 20*time.Second)
		require.NoError(t, st.r.Ready())
		require.Equal(t, int64(20), st.c.low)
	})
}
