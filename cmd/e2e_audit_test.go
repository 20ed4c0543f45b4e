package cmd

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/audit"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// audited is what laudspeaker audit --json says.
type audited struct {
	audit.Report
	found []audit.Finding
	code  int
	said  string
}

func (a audited) ids(what audit.FindingKind) (ids []string) {
	for _, f := range a.found {
		if f.What == what {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// auditOf runs an audit, again if the store has stood still for longer than an audit waits: on a busy machine it may.
func auditOf(t *testing.T, file string, args ...string) (a audited) {
	t.Helper()
	var out string
	for began := time.Now(); ; {
		a.code, out, a.said = run(t, append([]string{"audit", "--json", "--config", file}, args...)...)
		if !strings.Contains(a.said, "behind the topics and reads none") || time.Since(began) > patience {
			break
		}
	}
	for line := range strings.Lines(out) {
		var f audit.Finding
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		if f.What != audit.FoundSummary {
			a.found = append(a.found, f)
			continue
		}
		require.NoError(t, json.Unmarshal([]byte(line), &a.Report))
	}
	require.Equal(t, audit.FoundSummary, a.What, a.said)
	return a
}

func drilled(b *bus) string {
	return yaml(b, map[string]string{"drill": "type: sim, latency: 2ms"}, map[string]string{"email": "gateways: [drill], " + soonAgain})
}

// fill publishes n mails and gives their ids.
func (b *bus) fill(topic, to string, n int) (ids []string) {
	for i := range n {
		id := notify.NewID()
		ids = append(ids, id)
		b.publish(kafka.Message{Topic: b.prefix + topic, Partition: kafka.Hashed, Key: fmt.Append(nil, i), Value: fmt.Appendf(nil,
			`{"id":"%s","recipient":"%s+%d@example.com","payload":{"subject":"Hello","text":"It works."}}`, id, to, i)})
	}
	return ids
}

// An offset that somebody moves forward by hand takes jobs away without a trace: the audit names each of them.
func TestAnAuditNamesWhatAnOffsetHasSkipped(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		settings := drilled(b)
		file := write(t, settings)
		worker := boot(t, "work --channel email", settings)
		sent := append(b.fill("email_topic", "ada", 50), b.fill("email_topic.bulk", "hard", 5)...)
		for _, id := range sent {
			b.outcome(id)
		}
		a := auditOf(t, file)
		require.Zero(t, a.code, a.said)
		require.Equal(t, map[notify.State]int64{notify.StateSent: 50, notify.StateRejected: 5}, a.Ended)
		require.EqualValues(t, 55, a.Notifications)

		require.Zero(t, worker.stop())
		skipped := b.fill("email_topic", "eve", 100)
		a = auditOf(t, file, "--open")
		require.Zero(t, a.code, "they wait for a worker")
		require.ElementsMatch(t, skipped, a.ids(audit.FoundInFlight))
		require.Equal(t, skipped[0], a.Lanes[0].Oldest.ID)

		reader, err := kafka.NewReader(kafka.Config{Brokers: b.brokers})
		require.NoError(t, err)
		defer reader.Close()
		ends, err := reader.Ends([]string{b.prefix + "email_topic"})
		require.NoError(t, err)
		require.NoError(t, reader.Commit(b.prefix+"laudspeaker.email.normal", ends))
		a = auditOf(t, file)
		require.Equal(t, 1, a.code)
		require.Equal(t, "laudspeaker: unaccounted for: 100\n", a.said)
		require.ElementsMatch(t, skipped, a.ids(audit.FoundUnaccounted))
		require.Equal(t, map[notify.State]int64{notify.StateSent: 50, notify.StateRejected: 5}, a.Ended)

		a = auditOf(t, file, "--since", "1h")
		require.EqualValues(t, 100, a.Unaccounted)
		a = auditOf(t, file, "--since", "2040-01-01T00:00:00Z")
		require.Zero(t, a.code)
		require.Zero(t, a.Notifications)

		code, out, _ := run(t, "audit", "--config", file)
		require.Equal(t, 1, code)
		require.Regexp(t, `(?m)^unaccounted  `+skipped[7]+`  run 0, step 0, \S*email_topic/\d at \d+: its job is done, and no outcome tells what became of it$`, out)
		require.Regexp(t, `(?m)^155 notifications, as of .*\n  rejected     5 *\n  sent         50 *\n  unaccounted  100  as listed above\nsent again: 0, unaccounted for: 100$`, out)
	})
}

// While everything runs, no audit ever finds a hole that is none; and when it has come to rest, all is there, and the status
// store agrees.
func TestAuditsUnderLoad(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		settings := drilled(b) + "data_dir: " + filepath.Join(t.TempDir(), "data") + "\n"
		file := write(t, settings)
		boot(t, "serve-api", settings)
		boot(t, "work --channel email", settings)
		second := boot(t, "work --channel email", settings)
		began, audits := time.Now(), 0
		var accepted atomic.Int64
		var loading sync.WaitGroup
		stop := make(chan struct{})
		for i := range 8 {
			loading.Go(func() {
				for n := i; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					to := []string{"ada", "soft-2x", "ada", "hard", "throttle-1s"}[n%5]
					topic := []string{"email_topic", "email_topic.urgent", "email_topic.bulk"}[n%3]
					accepted.Add(int64(len(b.fill(topic, to, 20))))
				}
			})
		}
		for time.Since(began) < 15*time.Second || audits < 4 {
			a := auditOf(t, file)
			require.Zero(t, a.code, "%s%v", a.said, a.found)
			if a = auditOf(t, file, "--since", "3s"); a.code != 0 {
				require.Failf(t, "since", "%s%v", a.said, a.found)
			}
			if audits += 2; audits == 4 {
				second.stop() // its partitions go to the other
			}
		}
		close(stop)
		loading.Wait()
		var a audited
		require.Eventually(t, func() bool {
			a = auditOf(t, file)
			return a.InFlight+a.Waiting == 0
		}, patience, 100*time.Millisecond)
		require.Equal(t, accepted.Load(), a.Notifications)
		require.Zero(t, a.DuplicatesSent)
		a = auditOf(t, file, "--against-store")
		require.Zero(t, a.code, "%s%v", a.said, a.found)
		require.NotNil(t, a.Differences)
		t.Logf("%d audits beside %d notifications", audits, accepted.Load())
	})
}
