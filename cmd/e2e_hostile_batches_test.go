package cmd

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Every kind of batch that cannot be decoded, in every codec, between notifications on the job topics, on the control topic and
// on the ledger: no partition stops, and nothing else is lost. LAUDSPEAKER_TEST_HOSTILE_BATCHES is the number of batches; by
// default each kind comes once, on one of the topics.
func TestHostileBatches(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		config := simulated(b)
		w := boot(t, "work --channel email,sms,push", config)
		api := boot(t, "serve-api", config)
		api.awaitReady()
		w.awaitReady()

		kinds := batchtest.HostileBatches()
		n := len(kinds)
		if s := os.Getenv("LAUDSPEAKER_TEST_HOSTILE_BATCHES"); s != "" {
			var err error
			n, err = strconv.Atoi(s)
			require.NoError(t, err)
		}
		targets := append(slices.Clone(laneTopics), "control_topic", "status_topic")
		accepted, refused := map[string]int{}, map[string]int{}
		onJobs := map[notify.Origin]int64{} // the last offset of each hostile batch on a job topic
		var ids []string
		for i := range n {
			h := kinds[i%len(kinds)]
			topic := b.prefix + targets[(i+i/len(kinds))%len(targets)]
			code, base := kafkatest.ProduceRawAt(t, b.brokers[0], topic, 0, h.Raw)
			name := fmt.Sprintf("%s (%s)", h.Kind, h.Codec)
			if code != 0 {
				refused[name]++
			} else {
				accepted[name]++
				if slices.Contains(laneTopics, topic[len(b.prefix):]) {
					batch, err := recordbatch.Next(h.Raw)
					require.NoError(t, err)
					if batch.Each(func(*recordbatch.Record) {}) != nil { // only a broker that checks for more refuses the others
						onJobs[notify.Origin{Topic: topic, Offset: base}] = base + int64(batch.Count) - 1
					}
				}
			}
			if i%4 == 0 {
				channel := []string{"email", "sms", "push"}[i/4%3]
				ids = append(ids, api.post(samples[channel]))
			}
		}
		t.Logf("%d batches, %d notifications between them", n, len(ids))
		for _, name := range slices.Sorted(maps.Keys(accepted)) {
			t.Logf("accepted by the broker: %4d × %s", accepted[name], name)
		}
		for _, name := range slices.Sorted(maps.Keys(refused)) {
			t.Logf("refused by the broker:  %4d × %s", refused[name], name)
		}

		for _, id := range ids {
			api.awaitState(id, notify.StateSent)
		}
		eventually(time.Minute+time.Duration(n)*30*time.Millisecond, func() bool { return len(b.undecodableLetters()) >= len(onJobs) })
		require.Equal(t, len(onJobs), len(b.undecodableLetters()), "one dead letter for each batch on a job topic")
		for at := range onJobs {
			require.True(t, b.undecodableLetters()[at], "no dead letter of %+v", at)
		}

		// The control topic and the ledger are still followed.
		code, _, errs := run(t, "suppress", "--channel", "email", "eve@test.example", "--config", write(t, config))
		require.Zero(t, code, errs)
		api.awaitState(api.post(`{"channel":"email","recipient":"eve@test.example","payload":{"subject":"s","text":"t"}}`), notify.StateSuppressed)
		require.True(t, w.running() && api.running())
		require.NotContains(t, w.Log.String()+api.Log.String(), "panic")
		t.Logf("peak memory of the process, both roles and the test: %d MiB", peakMemory(t)>>20)
	})
}

// peakMemory is the most resident memory that this process has had, in bytes (Linux: KiB in getrusage(2)).
func peakMemory(t testing.TB) int64 {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Maxrss << 10
}

// undecodableLetters returns the origins of the dead letters of batches that could not be decoded.
func (b *bus) undecodableLetters() map[notify.Origin]bool {
	b.t.Helper()
	found := map[notify.Origin]bool{}
	for _, topic := range channelTopics {
		for _, r := range b.records(topic + ".dlq") {
			h := headersOf(r)
			if h[notify.HeaderDeadReason] == "undecodable_batch" {
				found[place(b.t, h[notify.HeaderOriginTopic], h[notify.HeaderOriginPartition], h[notify.HeaderOriginOffset])] = true
			}
		}
	}
	return found
}
