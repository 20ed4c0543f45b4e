package cmd

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestClusterUncleanElection lets a node that lags behind become the leader of a job topic, under a live API and a live worker. The end of
// the log that only the former leader had is lost, and the log grows beyond it again. Each notification of the new log is sent once. The
// store had read those that were lost: each ends as lost unless a worker had sent it before, and the audit agrees with the store.
func TestClusterUncleanElection(t *testing.T) {
	if clusterForm(t) != "long" {
		t.Skip("only in the form long")
	}
	n := newNodes(t, clusterPort(), false)
	name := kafkatest.Name(t)
	b := &bus{t: t, brokers: n.brokers(), prefix: "unclean-" + name[len(name)-8:] + ".", logs: map[string]*topicLog{}}
	b.section = fmt.Sprintf("kafka: {%s, prefix: '%s', partitions: 3, session_timeout: 6s}\n", n.section(), b.prefix)
	b.connect()
	l := newLosing(t, b)
	worker := boot(t, "work --channel email", l.settings)
	topic := b.prefix + "email_topic"
	sent := l.fill("email_topic", "ada", 10)
	for _, id := range sent {
		l.outcome(id)
	}
	say := mustRun(t, l.file)
	say("pause", "--channel", "email")
	becomes(t, func() bool { return worker.sum("laudspeaker_lane_paused", `channel="email"`, `lane="normal"`) == 1 }, "paused")

	const leads, lags = 3, 1
	kafkatest.Set(t, b.brokers, topic, "min.insync.replicas", "1")
	kafkatest.Set(t, b.brokers, topic, "unclean.leader.election.enable", "true")
	n.assign(map[int][]int32{0: {leads, lags}, 1: {leads, lags}, 2: {leads, lags}}, topic)
	kept := l.fill("email_topic", "bob", 20)
	n.on("stop", lags)
	gone := l.fill("email_topic", "eve", 40)
	l.known(gone)
	n.on("kill", leads)
	n.on("start", lags)
	grown := l.fill("email_topic", "dan", 80) // waits for the new leader
	n.on("start", leads)
	n.awaitWhole(b.prefix)
	say("resume", "--channel", "email")
	for _, id := range append(kept, grown...) {
		require.Equal(t, notify.StateSent, b.outcome(id).State)
	}

	states := map[notify.State]int{}
	require.Eventually(t, func() bool {
		clear(states)
		for _, id := range gone {
			var life notify.Life
			l.api.get("/v1/notifications/"+id, &life)
			states[life.State]++
		}
		return states[notify.StateLost]+states[notify.StateSent] == len(gone)
	}, 2*time.Minute, 200*time.Millisecond, "%v", states)
	t.Logf("of %d notifications whose records were lost: %v", len(gone), states)
	require.Positive(t, states[notify.StateLost])
	require.Positive(t, l.api.sum("laudspeaker_recorder_void_positions_total")+worker.sum("laudspeaker_runner_truncated_logs_total"), "it is counted by whoever had read them")
	a := auditOf(t, l.file, "--against-store")
	require.Equal(t, 1, a.code)
	require.EqualValues(t, states[notify.StateLost], a.Lost, a.said)
	require.Zero(t, *a.Differences)
	require.Zero(t, a.Unaccounted, "%v", a.found)
	ends := b.ends()
	for _, id := range append(append(sent, kept...), grown...) {
		require.Equal(t, 1, ends[id])
	}
}
