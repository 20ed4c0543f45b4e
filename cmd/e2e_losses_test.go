package cmd

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/audit"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// losing is an installation of which a test takes records away: an API, which keeps the status store, and workers.
type losing struct {
	*bus
	settings, file string
	api            *program
}

func newLosing(t *testing.T, b *bus) *losing {
	settings := drilled(b) + "data_dir: " + filepath.Join(t.TempDir(), "data") + "\nstatus: {stuck_after: 2s}\n"
	return &losing{bus: b, settings: settings, file: write(t, settings), api: boot(t, "serve-api", settings)}
}

// worked lets a worker send n mails, and stops it: so the groups have committed.
func (l *losing) worked(n int) (ids []string) {
	worker := boot(l.t, "work --channel email", l.settings)
	ids = l.fill("email_topic", "ada", n)
	for _, id := range ids {
		l.outcome(id)
	}
	require.Zero(l.t, worker.stop())
	return ids
}

// known waits until the status store knows of notifications.
func (l *losing) known(ids []string) {
	for _, id := range ids {
		var life notify.Life
		require.Equal(l.t, http.StatusOK, l.api.get("/v1/notifications/"+id, &life))
	}
}

// awaitLost waits until exactly these are lost, and no audit finds anything else of them.
func (l *losing) awaitLost(ids []string) audited {
	l.t.Helper()
	var a audited
	require.Eventually(l.t, func() bool {
		a = auditOf(l.t, l.file)
		return int(a.Lost) == len(ids)
	}, patience, 200*time.Millisecond, "%v", a.Report)
	require.ElementsMatch(l.t, ids, a.ids(audit.FoundLost))
	require.Equal(l.t, 1, a.code)
	life := l.api.awaitState(ids[0], notify.StateLost)
	require.False(l.t, life.Final)
	require.NotEmpty(l.t, life.Reason)
	require.EqualValues(l.t, len(ids), l.api.sum("laudspeaker_notifications_lost_total"))
	require.Contains(l.t, l.api.Log.String(), "notifications are lost")
	a = auditOf(l.t, l.file, "--against-store")
	require.Zero(l.t, *a.Differences)
	require.Zero(l.t, a.Unaccounted, "%v", a.found)
	return a
}

// Kafka deletes records before they are processed (retention.bytes, retention.ms, delete-records): each of them is found, by number
// at once, by id with the store, and as lost once the worker has published the gap.
func TestLosses_RecordsAreDeletedBeforeTheyAreProcessed(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		l := newLosing(t, b)
		sent := l.worked(10)
		gone := l.fill("email_topic", "eve", 40)
		l.known(gone)
		kafkatest.Delete(t, b.brokers, b.prefix+"email_topic")
		left := l.fill("email_topic", "bob", 5)

		a := auditOf(t, l.file)
		require.Equal(t, 1, a.code)
		require.EqualValues(t, 40, a.MissingRecords, a.said)
		require.Contains(t, a.said, "records deleted before they were processed: 40")
		a = auditOf(t, l.file, "--against-store")
		require.Equal(t, 1, a.code)
		require.ElementsMatch(t, gone, a.ids(audit.FoundUnaccounted))
		for _, f := range a.found {
			if f.What == audit.FoundUnaccounted {
				require.Equal(t, audit.InGap, f.Why)
				require.Equal(t, b.prefix+"email_topic", f.Where.Topic)
			}
		}

		boot(t, "work --channel email", l.settings)
		for _, id := range left {
			b.outcome(id)
		}
		a = auditOf(t, l.file)
		require.EqualValues(t, 40, a.MissingRecords, "the worker has published the gap: %s", a.said)
		for _, f := range a.found {
			if f.What == audit.FoundMissing {
				require.Equal(t, "published", f.Range.Cause)
			}
		}
		a = l.awaitLost(gone)
		require.EqualValues(t, len(sent)+len(left), a.Ended[notify.StateSent])

		late := notify.Event{ // a result that comes late
			NotificationID: gone[3], State: notify.StateSent, At: time.Now(), Tenant: notify.DefaultTenant, Channel: notify.ChannelEmail, Lane: notify.LaneNormal,
		}
		m, err := dispatcher.Desk{Topics: dispatcher.Topics{Prefix: b.prefix}}.Tell(late)
		require.NoError(t, err)
		b.publish(m)
		l.api.awaitState(gone[3], notify.StateSent)
		a = auditOf(t, l.file, "--against-store")
		require.EqualValues(t, 39, a.Lost)
		require.Zero(t, *a.Differences)
		code, out, _ := run(t, "status", "--state", "lost", "--server", l.api.API)
		require.Zero(t, code)
		require.Contains(t, out, gone[0])
	})
}

// A job topic is deleted and created again: what was in it and not processed is lost by id, since the store has read it; and every
// record of the new topic is delivered and in the store.
func TestLosses_AJobTopicIsCreatedAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		l := newLosing(t, b)
		l.worked(10)
		gone := l.fill("email_topic", "eve", 20)
		l.known(gone)
		kafkatest.Recreate(t, b.brokers, b.prefix+"email_topic", 3)
		fresh := l.fill("email_topic", "bob", 100) // more than were read of the old topic

		a := auditOf(t, l.file)
		require.EqualValues(t, 100, a.InFlight)
		require.Eventually(t, func() bool {
			a = auditOf(t, l.file, "--against-store")
			return a.Unaccounted+a.Lost == 20
		}, patience, 200*time.Millisecond)
		require.ElementsMatch(t, gone, append(a.ids(audit.FoundUnaccounted), a.ids(audit.FoundLost)...))
		boot(t, "work --channel email", l.settings)
		for _, id := range fresh {
			b.outcome(id)
		}
		l.known(fresh)
		a = l.awaitLost(gone)
		require.EqualValues(t, 110, a.Ended[notify.StateSent])
		require.Positive(t, l.api.sum("laudspeaker_recorder_void_positions_total", `cause="recreated"`))
	})
}

// The ledger is deleted and created again: the outcomes of what is done are gone, and the audit names each.
func TestLosses_TheLedgerIsCreatedAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		l := newLosing(t, b)
		sent := l.worked(20)
		l.api.awaitState(sent[19], notify.StateSent)
		require.Zero(t, auditOf(t, l.file, "--against-store").code)
		kafkatest.Recreate(t, b.brokers, b.prefix+"status_topic", 3)
		a := auditOf(t, l.file)
		require.Equal(t, 1, a.code)
		require.ElementsMatch(t, sent, a.ids(audit.FoundUnaccounted))
		l.api.awaitState(sent[0], notify.StateSent) // the store has it still
	})
}

// A tier of the ladder is deleted and created again: what waited in it is named.
func TestLosses_ATierIsCreatedAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		l := newLosing(t, b)
		worker := boot(t, "work --channel email", l.settings)
		var ids []string
		for range 12 {
			id := notify.NewID()
			ids = append(ids, id)
			b.publish(kafka.Message{Topic: b.prefix + "email_topic", Partition: kafka.Hashed, Value: []byte(`{"id":"` + id +
				`","recipient":"ada@example.com","send_at":"` + time.Now().Add(90*time.Minute).UTC().Format(time.RFC3339) + `","payload":{"subject":"s","text":"t"}}`)})
		}
		for _, id := range ids {
			b.event(id, func(e notify.Event) bool { return e.State == notify.StateScheduled })
		}
		require.Eventually(t, func() bool { return auditOf(t, l.file).Waiting == 12 }, patience, 100*time.Millisecond)
		tier := auditOf(t, l.file, "--open").Tiers[0].Topic
		require.Zero(t, worker.stop())
		kafkatest.Recreate(t, b.brokers, tier, 3, "message.timestamp.type", "LogAppendTime")
		a := auditOf(t, l.file)
		require.Equal(t, 1, a.code)
		require.ElementsMatch(t, ids, a.ids(audit.FoundUnaccounted))
	})
}

// The control topic holds no notification: without it all are accounted for.
func TestLosses_TheControlTopicIsCreatedAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		l := newLosing(t, b)
		l.worked(5)
		kafkatest.Recreate(t, b.brokers, b.prefix+"control_topic", 1, "cleanup.policy", "compact")
		waiting := l.fill("email_topic", "bob", 5)
		a := auditOf(t, l.file, "--against-store")
		require.Zero(t, a.code, a.said)
		require.EqualValues(t, len(waiting), a.InFlight)
	})
}

// A partition that was truncated and has grown again holds other records at offsets that its group has passed.
func TestLosses_OffsetsThatOtherRecordsHaveNow(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		l := newLosing(t, b)
		l.worked(10)
		reader, err := kafka.NewReader(kafka.Config{Brokers: b.brokers})
		require.NoError(t, err)
		defer reader.Close()
		skipped := l.fill("email_topic", "eve", 30)
		ends, err := reader.Ends([]string{b.prefix + "email_topic"})
		require.NoError(t, err)
		for i := range ends {
			ends[i].Offset += 7 // what the group had done of the log before it lost its end
		}
		require.NoError(t, reader.Commit(b.prefix+"laudspeaker.email.normal", ends))
		a := auditOf(t, l.file)
		require.Equal(t, 1, a.code)
		require.EqualValues(t, len(ends), a.VoidPositions)
		require.EqualValues(t, 30, a.InFlight, "what comes after a truncation is not done")
		for i := range ends {
			ends[i].Offset -= 7
		}
		require.NoError(t, reader.Commit(b.prefix+"laudspeaker.email.normal", ends)) // and now the log is as long again
		a = auditOf(t, l.file)
		require.ElementsMatch(t, skipped, a.ids(audit.FoundUnaccounted))
	})
}
