package cmd

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of these files judge the program as an operator would: real processes, a real Kafka, a provider that takes
// 50 ms, callers that never stop, and faults that strike busy workers. They ask what was delivered, never the logs.
// LAUDSPEAKER_TEST_BROKERS turns them on, LAUDSPEAKER_TEST_SCALE=7 gives the long form.

const gatewayDelay = 50 * time.Millisecond

// field is an API under load, workers that have begun, and a backlog.
type field struct {
	*fleet
	load    *load
	stop    func()
	api     *child
	workers []*child
}

func newField(t *testing.T, brokers string, workers int) *field {
	f := &field{fleet: newFleet(t, brokers, 12, newSink(gatewayDelay))}
	api, url := f.serveAnywhere()
	f.api, f.load = api, newLoad(f.sink, url, sms)
	f.stop = f.load.background(t)
	f.load.awaitBacklog(t, f.load.most/2)
	f.workers = f.fleet.workers("sms", workers)
	return f
}

func (f *field) finish(mayRepeat int) {
	f.t.Helper()
	f.fleet.finish(f.load, f.stop, mayRepeat, f.workers...)
	f.api.term()
}

// awaitProgress returns when much has been delivered since it was called and all workers are busy.
func (f *field) awaitProgress() {
	f.t.Helper()
	before, _ := f.sink.counts()
	require.Eventually(f.t, func() bool { n, _ := f.sink.counts(); return n > before+1000 }, patience, time.Millisecond, "nothing is delivered")
	f.awaitBusy(f.workers...)
}

// awaitAnswers returns when the API has acknowledged something to about every caller.
func (f *field) awaitAnswers() {
	f.t.Helper()
	before := f.load.count()
	require.Eventually(f.t, func() bool { return f.load.count() > before+callers }, patience, time.Millisecond, "the API takes nothing")
}

// Workers that come, go and are restarted one after another lose nothing, repeat nothing and keep the order.
func TestRollingRestartsUnderLoad(t *testing.T) {
	f := newField(t, realKafka(t), 3)
	for i := range 3 * scale() {
		f.awaitBusy(f.workers...)
		f.workers[i%3].term()
		f.workers[i%3] = f.work("sms")
		if i%3 == 2 { // one more comes, and goes
			f.awaitBusy(f.workers...)
			guest := f.work("sms")
			f.awaitBusy(append(f.workers, guest)...)
			guest.term()
		}
	}
	f.finish(0)
	require.Zero(t, f.load.broken)
	require.Empty(t, f.load.refused)
}

func TestKilledWorkersUnderLoad(t *testing.T) {
	f := newField(t, realKafka(t), 3)
	kills := 2 * scale()
	for i := range kills {
		f.awaitBusy(f.workers...)
		f.workers[i%3].kill()
		f.workers[i%3] = f.work("sms")
	}
	f.finish(kills * (slots + mostWaiting))
}

// A worker that is frozen for longer than its session is taken for dead; what it had in hand may arrive twice.
func TestFrozenWorkersUnderLoad(t *testing.T) {
	f := newField(t, realKafka(t), 3)
	for i := range scale() {
		f.awaitBusy(f.workers...)
		f.workers[i%3].signal(syscall.SIGSTOP)
		during(9 * time.Second)
		f.workers[i%3].signal(syscall.SIGCONT)
	}
	f.awaitBusy(f.workers...)
	f.finish(scale() * (slots + mostWaiting))
}

// What the API has acknowledged outlives it, whether it is killed or asked to end.
func TestARestartedAPIUnderLoad(t *testing.T) {
	f := newField(t, realKafka(t), 2)
	for i := range 2 * scale() {
		f.awaitProgress()
		f.awaitAnswers()
		end := (*child).kill
		if i%2 == 1 {
			end = (*child).term
		}
		end(f.api)
		f.api = f.serve(f.load.url)
	}
	f.finish(0)
}

// While Kafka is away the API says so in time, and all goes on by itself when it is back.
func TestKafkaFailsUnderLoad(t *testing.T) {
	for _, c := range []struct {
		name     string
		down, up func(v *victim)
	}{
		{"killed", (*victim).kill, (*victim).start},
		{"stopped for 8 s", func(v *victim) { v.script("stop"); during(8 * time.Second) }, (*victim).start},
		{"frozen for 12 s", func(v *victim) { v.signal(syscall.SIGSTOP); during(12 * time.Second) }, func(v *victim) { v.signal(syscall.SIGCONT) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVictim(t)
			f := newField(t, v.addr, 3)
			rounds := scale()
			var recovery time.Duration
			for range rounds {
				f.awaitProgress()
				c.down(v)
				c.up(v)
				back := time.Now()
				f.awaitAnswers()
				recovery = max(recovery, time.Since(back))
			}
			f.awaitBusy(f.workers...)
			f.finish(rounds * 3 * (slots + mostWaiting))
			t.Logf("the API took %s to recover; %s", recovery.Round(time.Millisecond), describe(f.load.refusals()))
			for _, r := range f.load.refusals() {
				require.Equal(t, 503, r.status)
				require.Equal(t, "application/problem+json", r.kind)
				require.Equal(t, "bus-unavailable", r.code)
				require.NotEmpty(t, r.retry)
				require.Less(t, r.took, 8*time.Second, "it is to be 5 s, here with room for a busy machine")
			}
			require.Zero(t, f.load.broken)
		})
	}
}

func describe(rs []refusal) string {
	var slowest time.Duration
	late := 0
	for _, r := range rs {
		slowest = max(slowest, r.took)
		if r.took > 5*time.Second {
			late++
		}
	}
	return fmt.Sprintf("%d times 503, the slowest after %s, %d after more than 5 s", len(rs), slowest.Round(time.Millisecond), late)
}
