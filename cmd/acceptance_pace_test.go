package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	paced   = 100 // messages a second
	settled = 3 * time.Second
)

// A rate is one for the whole cluster, though no process asks another: each takes the part that its partitions are. The
// provider is what judges, by when the messages came.
func TestPaceOfAllWorkersTogether(t *testing.T) {
	brokers := realKafka(t)
	window := 10 * time.Second
	if scale() > 1 {
		window = 30 * time.Second
	}
	for workers := 1; workers <= 3; workers++ {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			t.Parallel()
			gate := newTurnstile(t, "", nil)
			f := newFleet(t, brokers, 12, newSink(0))
			api, _ := f.serveAnywhere() // makes the topics
			api.term()
			const windows = 6 // a machine that stands still for a while has others to show its pace in
			enough := int((windows*window + 4*settled).Seconds()) * paced
			for _, lane := range notify.Lanes() {
				f.spread(laneTopic("sms_topic", lane), 12, enough, sms)
			}
			var ws []*child
			for n := range workers {
				ws = append(ws, f.behind(gate, fmt.Sprintf("w%d", n), "--set", fmt.Sprintf("gateways.texts.rate=%d/s", paced)))
			}
			began := gate.awaitAll(t, workers).Add(settled)
			rate := 0.0
			for n := 0; n < windows && rate < 0.9*paced; n++ {
				require.Eventually(t, func() bool { return time.Since(began) > window }, window+patience, 50*time.Millisecond)
				came, most := gate.within(began, began.Add(window))
				rate = float64(came) / window.Seconds()
				t.Logf("%.1f messages a second at %d/s; %d in the busiest second", rate, paced, most)
				require.LessOrEqual(t, rate, 1.1*paced)
				require.LessOrEqual(t, most, 2*paced, "the limit, and one second's worth")
				began = began.Add(window)
			}
			for _, w := range ws {
				w.term()
			}
			require.GreaterOrEqual(t, rate, 0.9*paced)
		})
	}
}

func laneTopic(topic string, lane notify.Lane) string {
	if lane == notify.LaneNormal {
		return topic
	}
	return topic + "." + string(lane)
}

// behind starts a worker of text messages that sends them to the gate instead of the fleet's sink.
func (f *fleet) behind(gate *turnstile, name string, args ...string) *child {
	return launch(f.t, f.dir, name, append([]string{
		"work", "--channel", "sms", "--config", f.dir + "/laudspeaker.yaml",
		"--set", "gateways.texts.auth_token=" + name, "--set", "gateways.texts.base_url=" + gate.URL,
	}, args...)...)
}

// spread writes n jobs straight to a topic, as many to each partition, and as many keys.
func (f *fleet) spread(topic string, partitions, n int, body func(key, number int) (string, string)) {
	f.t.Helper()
	f.publish(n, func(i int) kafka.Message {
		value, id := body(i%keys, 1+i/keys)
		key, _, _ := strings.Cut(id, "/")
		return kafka.Message{Topic: f.prefix + topic, Partition: int32(i % keys % partitions), Key: []byte(key), Value: []byte(value)}
	})
}

// awaitAll waits until so many workers have come, and says when that was.
func (s *turnstile) awaitAll(t *testing.T, workers int) (at time.Time) {
	t.Helper()
	require.Eventually(t, func() bool {
		seen := map[string]bool{}
		for _, a := range s.arrivals() {
			if seen[a.worker] = true; len(seen) == workers {
				at = a.at
				return true
			}
		}
		return false
	}, patience, 20*time.Millisecond, "not all workers deliver")
	return at
}

// within counts the arrivals of a time, and gives the most that came within any second of it.
func (s *turnstile) within(from, to time.Time) (n, most int) {
	var last []time.Time
	for _, a := range s.arrivals() {
		if a.at.Before(from) || !a.at.Before(to) {
			continue
		}
		n++
		last = append(last, a.at)
		for a.at.Sub(last[0]) >= time.Second {
			last = last[1:]
		}
		most = max(most, len(last))
	}
	return n, most
}
