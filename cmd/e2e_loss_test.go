package cmd

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// bounds gives what a topic holds.
func (b *bus) bounds(topic string) []kafka.Bounds {
	b.t.Helper()
	reader, err := kafka.NewReader(kafka.Config{Brokers: b.brokers})
	require.NoError(b.t, err)
	defer reader.Close()
	bounds, err := reader.Bounds(b.prefix + topic)
	require.NoError(b.t, err)
	return bounds
}

// remove deletes all that a topic holds, as an operator does with kafka-delete-records.sh. It gives how many records that was.
func (b *bus) remove(topic string) (n int) {
	b.t.Helper()
	sc := sarama.NewConfig()
	sc.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(b.brokers, sc)
	require.NoError(b.t, err)
	defer admin.Close()
	to := map[int32]int64{}
	for _, p := range b.bounds(topic) {
		to[p.Partition] = p.Newest
		n += int(p.Newest - p.Oldest)
	}
	require.NoError(b.t, admin.DeleteRecords(b.prefix+topic, to))
	return n
}

// ends counts the outcomes of each notification.
func (b *bus) ends() map[string]int {
	n := map[string]int{}
	for _, r := range b.records("status_topic") {
		if h := headersOf(r); h[kafka.HeaderKind] == kafka.KindOutcome {
			n[h[kafka.HeaderJobID]]++
		}
	}
	return n
}

// A job topic is deleted and created again under a live process: each of its new records is delivered, once. Then records are
// removed before they are processed: as many as were not sent are counted, and the gap is on the status topic.
func TestLoss_OfTheJobTopicUnderALiveProcess(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		yaml := simulated(b)
		p := boot(t, "all", yaml)
		file := write(t, yaml)
		say := mustRun(t, file)
		send := func(n int) (ids []string) {
			for i := range n {
				ids = append(ids, p.post(smsTo(fmt.Sprintf("+1415555%04d", i), "hello")))
			}
			return ids
		}
		for _, id := range send(20) {
			require.Equal(t, notify.StateSent, b.outcome(id).State)
		}
		kafkatest.Recreate(t, b.brokers, b.prefix+"sms_topic", len(b.bounds("sms_topic")))
		ids := send(30)
		for _, id := range ids {
			require.Equal(t, notify.StateSent, b.outcome(id).State)
		}
		for _, id := range ids {
			require.Equal(t, 1, b.ends()[id])
		}
		recreated := func() float64 {
			return p.sum("laudspeaker_runner_recreated_topics_total", `channel="sms"`, `lane="normal"`)
		}
		require.Eventually(t, func() bool { return recreated() == 1 }, patience, 100*time.Millisecond, "it is counted")

		lost := func() float64 {
			return p.sum("laudspeaker_runner_lost_records_total", `channel="sms"`, `lane="normal"`)
		}
		require.Zero(t, lost())
		say("pause", "--channel", "sms")
		becomes(t, func() bool { return p.sum("laudspeaker_lane_paused", `channel="sms"`, `lane="normal"`) == 1 }, "paused")
		ids = send(30)
		b.remove("sms_topic")
		say("resume", "--channel", "sms")
		last := send(10)
		for _, id := range last {
			require.Equal(t, notify.StateSent, b.outcome(id).State)
		}
		require.Eventually(t, func() bool {
			n, ends := 0, b.ends()
			for _, id := range ids {
				n += ends[id]
			}
			return lost() > 0 && n+int(lost()) == len(ids)
		}, patience, 100*time.Millisecond, "each was sent or is counted as lost")
		b.await("status_topic", func(r *kafka.Record) bool {
			kind, _ := r.Header(kafka.HeaderKind)
			return kind == kafka.KindGap && len(r.Value) == 0
		})
	})
}
