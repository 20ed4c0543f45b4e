package cmd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/worker"
)

var (
	channelTopics = []string{"email_topic", "sms_topic", "push_topic"}
	laneTopics    = withEach(channelTopics, "", ".urgent", ".bulk")
)

func withEach(topics []string, ends ...string) (all []string) {
	for _, topic := range topics {
		for _, end := range ends {
			all = append(all, topic+end)
		}
	}
	return all
}

// simulated is all channels with a gateway that takes no time.
func simulated(b *bus) string {
	return yaml(b, map[string]string{"sim": "type: sim, latency: 0s"}, map[string]string{"email": "gateways: [sim]", "sms": "gateways: [sim]", "push": "gateways: [sim]"})
}

// flood writes records as fast as they are taken, and waits until all are on the log.
func (b *bus) flood(records []kafka.Message) {
	b.t.Helper()
	var failed atomic.Int64
	var all sync.WaitGroup
	for _, m := range records {
		all.Add(1)
		done := func(err error) {
			if err != nil {
				failed.Add(1)
			}
			all.Done()
		}
		if b.send(m, done) != nil { // not connected yet, or too much at once
			b.publish(m)
			all.Done()
		}
	}
	all.Wait()
	require.Zero(b.t, failed.Load())
}

func TestHostileRecords(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		p := boot(t, "work --channel email,sms --channel push", simulated(b))
		a := newAttacker(t, 2)
		records, jobs := make([]kafka.Message, hostile), 0
		for i := range records {
			records[i] = a.record(b.prefix)
			if !strings.Contains(records[i].Topic, ".delay.") || !waits(records[i]) {
				jobs++
			}
		}
		b.flood(records)
		b.awaitOutcomes(p, jobs, jobs)
		states := b.requireAccounts()
		t.Log(states)
		unreadable := b.requireDeadLetters()
		for _, n := range []int{unreadable, states[notify.StateSent], states[notify.StateRejected] - unreadable} {
			require.Greater(t, n, hostile/50, "the attack is too one-sided: %v", states)
		}
		require.Less(t, jobs, hostile, "nothing was to wait")
		require.Positive(t, states[notify.StateScheduled], "the attack is too one-sided: %v", states)
		require.True(t, p.running())
		require.NotContains(t, p.Log.String(), planted)
		require.NotContains(t, p.Log.String(), "panic")
	})
}

// waits reports whether a record on the delay ladder is to stay there for longer than a test.
func waits(m kafka.Message) bool {
	return time.Until(dispatcher.NotBefore(&kafka.Record{Headers: m.Headers})) > time.Hour
}

// outcomes are what the ledger holds, by the places of the jobs.
func (b *bus) outcomes() map[notify.Origin]outcome {
	b.t.Helper()
	ends := map[notify.Origin]outcome{}
	for _, r := range b.records("status_topic") {
		h := headersOf(r)
		if h[kafka.HeaderKind] != kafka.KindOutcome { // an intent
			continue
		}
		if eventOf(b.t, r).Note == notify.NoteDuplicate { // another notification under a known id: counted as dropped
			continue
		}
		at := place(b.t, h["ls-job-topic"], h["ls-job-partition"], h["ls-job-offset"])
		_, twice := ends[at]
		require.False(b.t, twice, "one outcome a record")
		ends[at] = outcome{eventOf(b.t, r), r}
	}
	return ends
}

func place(t *testing.T, topic, partition, offset string) notify.Origin {
	at := notify.Origin{Topic: topic}
	_, err := fmt.Sscan(partition+" "+offset, &at.Partition, &at.Offset)
	require.NoError(t, err)
	return at
}

// awaitOutcomes waits until so many jobs on the topics of all lanes have left their places: with an outcome, or dropped as
// the second copy of another. There may be more, up to most.
func (b *bus) awaitOutcomes(p *program, jobs, most int) {
	b.t.Helper()
	left := func() (n int) {
		for _, r := range b.records("status_topic") {
			if isEvent(r) && eventOf(b.t, r).Note != notify.NoteDuplicate {
				n++
			}
		}
		return n + int(p.sum("laudspeaker_duplicates_dropped_total"))
	}
	eventually(3*time.Minute, func() bool { return left() >= jobs })
	ended := len(b.outcomes()) + int(p.sum("laudspeaker_duplicates_dropped_total"))
	require.GreaterOrEqual(b.t, ended, jobs, "all have ended")
	require.LessOrEqual(b.t, ended, most, "and no other")
}

// requireAccounts: what is on the topics of the lanes has one outcome each, but for second copies of what has one; and what
// was put off is on the delay ladder. It gives how often each state came about.
func (b *bus) requireAccounts() map[notify.State]int {
	b.t.Helper()
	identify := worker.New(worker.Config{Route: &worker.Route{}}).Identify
	ends, states, known := b.outcomes(), map[notify.State]int{}, map[string]bool{}
	of := func(at notify.Origin, id string) string { return fmt.Sprint(at.Topic, at.Partition, id) }
	for at, o := range ends {
		known[of(at, o.NotificationID)] = true
		states[o.State]++
	}
	for _, topic := range laneTopics {
		for _, r := range b.all(topic) {
			at := notify.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
			if _, ended := ends[at]; !ended {
				require.True(b.t, known[of(at, identify(r))], "neither ended nor a second copy: %q %v", r.Value, headersOf(r))
			}
		}
	}
	waiting := map[string]bool{}
	for _, topic := range withEach(channelTopics, ".delay.5s", ".delay.30s", ".delay.3m", ".delay.20m", ".delay.2h", ".delay.12h", ".delay.72h", ".urgent.delay.5s", ".urgent.delay.30s") {
		for _, r := range b.all(topic) {
			waiting[headersOf(r)[notify.HeaderID]+string(r.Value)] = true
		}
	}
	for at, o := range ends {
		require.Equal(b.t, o.State.Final(), o.Final)
		if !o.Final {
			require.Equal(b.t, notify.StateScheduled, o.State, "the simulated provider asks for nothing")
			require.True(b.t, waiting[o.NotificationID+string(b.at(strings.TrimPrefix(at.Topic, b.prefix), at.Partition, at.Offset).Value)])
		}
	}
	return states
}

// requireDeadLetters: what was refused is a dead letter, and nothing else; bytes untouched. It gives how many were no JSON
// object.
func (b *bus) requireDeadLetters() (unreadable int) {
	b.t.Helper()
	ends, dead := b.outcomes(), map[notify.Origin]*kafka.Record{}
	for _, topic := range channelTopics {
		for _, d := range b.all(topic + ".dlq") {
			h := headersOf(d)
			at := place(b.t, h[notify.HeaderOriginTopic], h[notify.HeaderOriginPartition], h[notify.HeaderOriginOffset])
			require.Nil(b.t, dead[at], "one dead letter a record")
			dead[at] = d
		}
	}
	for _, topic := range laneTopics {
		for _, m := range b.all(topic) {
			at := notify.Origin{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}
			o, ended := ends[at]
			if !ended {
				continue // a second copy of another
			}
			d := dead[at]
			require.Equal(b.t, o.Origin != nil, d != nil, "%+v", o.Event)
			require.Equal(b.t, o.State == notify.StateRejected, d != nil, "the simulated provider refuses nothing")
			var object map[string]json.RawMessage
			if json.Unmarshal(m.Value, &object) != nil || object == nil {
				unreadable++
				require.NotNil(b.t, d, "%q ended as %s", m.Value, o.State)
				require.True(b.t, slices.Contains([]string{notify.ReasonUndecodable, notify.ReasonSchemaUnknown}, headersOf(d)[notify.HeaderDeadReason]))
			}
			if d != nil {
				require.Equal(b.t, m.Value, d.Value, "bytes untouched")
				require.Equal(b.t, m.Key, d.Key)
				require.NotEmpty(b.t, headersOf(d)[notify.HeaderDeadReason])
				require.Equal(b.t, o.NotificationID, headersOf(d)[notify.HeaderID])
			}
		}
	}
	return unreadable
}
