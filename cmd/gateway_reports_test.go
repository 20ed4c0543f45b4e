package cmd

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

// outOfOrder is a gateway that is left alone since a time; zero: it is used.
type outOfOrder struct {
	mu     *sync.Mutex
	since  time.Time
	reason string
}

func (r *outOfOrder) OpenCircuit(time.Time) (worker.OpenCircuit, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return worker.OpenCircuit{State: gateway.BreakerOpen, Since: r.since, Code: "535", Reason: r.reason, Rate: math.Inf(1)}, !r.since.IsZero()
}

// topicOf feeds what is published to a state, as the topic does.
type topicOf struct {
	mu      *sync.Mutex
	state   *control.State
	records int
	err     error
}

func (p *topicOf) Publish(_ context.Context, m kafka.Message) (int32, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, 0, p.err
	}
	p.records++
	p.state.Apply(m.Key, m.Value, time.Now())
	return 0, int64(p.records), nil
}

func TestGatewayReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of all that the test changes
		set := func(change func()) {
			mu.Lock()
			defer mu.Unlock()
			change()
		}
		mail, partitions := &outOfOrder{mu: &mu}, []int32{0, 1}
		topic := &topicOf{mu: &mu, state: control.New()}
		records := func() (n int) { set(func() { n = topic.records }); return n }
		for _, process := range []string{"host:1", "host:2"} { // both were killed
			for _, name := range []string{"mail", "removed"} {
				r := control.ReportGateway(name, process, time.Now(), control.GatewayState{Circuit: "open", Since: time.Now()}).Record()
				topic.state.Apply(r.Key, r.Value, time.Now())
			}
		}
		g := &gatewayReports{
			process: "host:1", topic: "control_topic", outlets: map[string]refuser{"mail": mail}, state: topic.state, publisher: topic, log: zap.NewNop(),
			lanes: func(string) []control.LanePartitions {
				mu.Lock()
				defer mu.Unlock()
				if len(partitions) == 0 {
					return nil
				}
				return []control.LanePartitions{{Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Partitions: control.NewPartitions(partitions), Of: 4}}
			},
		}
		seen := records()
		written := func(d time.Duration) int { // how many records since it was last asked, and then in that time
			time.Sleep(d)
			synctest.Wait()
			before := seen
			seen = records()
			return seen - before
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		reported := func() (mine []control.Entry) {
			for _, e := range topic.state.Reports(time.Now()) {
				if e.Process == "host:1" {
					mine = append(mine, e)
				}
			}
			return mine
		}
		require.Equal(t, 2, written(500*time.Millisecond), "what it had left under this name is taken back")
		require.Empty(t, reported())
		require.Len(t, topic.state.Reports(time.Now()), 2, "those of the other stay")
		require.Zero(t, written(time.Minute), "nothing to report")

		set(func() { mail.since = time.Now() })
		require.Equal(t, 1, written(2*time.Second), "at once")
		require.Len(t, reported(), 1)
		require.Equal(t, 10, written(5*time.Minute), "renewed every 30 s")
		for range 600 {
			set(func() { mail.reason += "x" })
			if written(100 * time.Millisecond); len(reported()) != 1 {
				t.Fatal("it lapsed")
			}
		}
		before := records()
		for range 600 { // it opens and closes all the time
			set(func() { mail.since = time.Now() })
			written(50 * time.Millisecond)
			set(func() { mail.since = time.Time{} })
			written(50 * time.Millisecond)
		}
		require.LessOrEqual(t, records()-before, 13, "a minute at one in 5 s")
		set(func() { mail.since = time.Now() })
		written(10 * time.Second)
		set(func() { partitions = []int32{3} })
		require.Equal(t, 1, written(6*time.Second), "a rebalance")
		require.True(t, reported()[0].State.Lanes[0].Partitions.Has(3))
		set(func() { partitions = nil })
		require.Equal(t, 1, written(6*time.Second), "it works on nothing any more")
		require.Empty(t, reported())
		set(func() { partitions = []int32{1} })
		require.Equal(t, 1, written(6*time.Second))

		set(func() { topic.err = errors.New("no Kafka") })
		require.Zero(t, written(2*time.Minute))
		require.Empty(t, reported(), "what cannot be renewed expires")
		set(func() { topic.err = nil })
		written(31 * time.Second)
		require.Len(t, reported(), 1)
		cancel()
		require.NoError(t, <-ended)
		require.Empty(t, reported(), "a process that ends takes its reports back")
	})
}
