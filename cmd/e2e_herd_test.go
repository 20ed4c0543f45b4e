package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fromEnv returns a number from the environment; def when it is not set.
func fromEnv(t testing.TB, name string, def int) int {
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// TestLadder_ManyJobsDueAtOnce schedules bulk jobs for one moment while urgent jobs are tried again: none is early, none is
// lost, each is sent once. LAUDSPEAKER_TEST_DUE is their number, LAUDSPEAKER_TEST_DUE_IN the seconds until that moment. Times
// are only logged: they depend on the machine.
func TestLadder_ManyJobsDueAtOnce(t *testing.T) {
	onEachBus(t, func(t *testing.T, b *bus) {
		n, in := fromEnv(t, "LAUDSPEAKER_TEST_DUE", 600), time.Duration(fromEnv(t, "LAUDSPEAKER_TEST_DUE_IN", 8))*time.Second
		settings := "log: {level: info, recipients: none}\n" +
			yaml(b, map[string]string{"sim": "type: sim, latency: 0s"}, map[string]string{"sms": "gateways: [sim]"})
		boot(t, "work --channel sms", settings)

		begun := time.Now()
		due := begun.Add(in).Truncate(time.Millisecond)
		herd := make([]kafka.Message, n)
		for i := range herd {
			to := fmt.Sprintf("+1415%07d", i)
			herd[i] = kafka.Message{Topic: b.prefix + "sms_topic.bulk", Partition: kafka.Hashed, Key: []byte(to), Value: fmt.Appendf(nil,
				`{"channel":"sms","recipient":%q,"payload":{"body":"hello"},"send_at":%q}`, to, due.UTC().Format(time.RFC3339Nano))}
		}
		b.flood(herd)
		t.Logf("%d jobs written after %s", n, time.Since(begun).Round(time.Millisecond))
		reader, err := kafka.NewReader(kafka.Config{Brokers: b.brokers})
		require.NoError(t, err)
		defer reader.Close()
		length := func(topic string) (all int) {
			bounds, err := reader.Bounds(b.prefix + topic)
			if err != nil {
				return 0
			}
			for _, p := range bounds {
				all += int(p.Newest - p.Oldest)
			}
			return all
		}
		urgent, step, before := 0, 200*time.Millisecond, min(15*time.Second, in/2)
		tick := time.NewTicker(step)
		defer tick.Stop()
		for end := due.Add(10 * time.Minute); length("sms_topic.bulk") < 2*n; {
			now := <-tick.C
			require.True(t, now.Before(end), "all are back on the lane")
			if now.Before(due.Add(-before)) {
				continue
			}
			to := fmt.Sprintf("+15005551%03d", urgent%1000)
			b.publish(kafka.Message{Topic: b.prefix + "sms_topic.urgent", Partition: kafka.Hashed, Key: []byte(to), Value: fmt.Appendf(nil,
				`{"channel":"sms","recipient":%q,"payload":{"body":"code"}}`, to)})
			urgent++
		}
		t.Logf("all jobs were seen back on the lane %s after the due time", time.Since(due).Round(time.Millisecond))

		bulk, fast := map[string]int{}, map[string]time.Time{}
		var back, sent, late []time.Duration
		visit := func(topic string, f func(*kafka.Record)) {
			bounds, err := reader.Bounds(b.prefix + topic)
			require.NoError(t, err)
			require.NoError(t, reader.Scan(t.Context(), b.prefix+topic, bounds, func(r *kafka.Record) error { f(r); return nil }))
		}
		visit("sms_topic.bulk", func(r *kafka.Record) {
			if step, _ := r.Header(notify.HeaderStep); step == "1" {
				back = append(back, r.Timestamp.Sub(due))
			}
		})
		require.Eventually(t, func() bool {
			clear(bulk)
			clear(fast)
			sent, late = nil, nil
			done := 0
			visit("status_topic", func(r *kafka.Record) {
				var e notify.Event
				if json.Unmarshal(r.Value, &e) != nil {
					return
				}
				switch {
				case e.Lane == notify.LaneBulk && e.State == notify.StateSent:
					bulk[e.NotificationID]++
					sent = append(sent, e.At.Sub(due))
				case e.Lane == notify.LaneUrgent && e.State == notify.StateRetrying:
					fast[fmt.Sprint(e.NotificationID, e.Step)] = *e.NextAt
				}
			})
			visit("status_topic", func(r *kafka.Record) {
				var e notify.Event
				if json.Unmarshal(r.Value, &e) != nil || e.Lane != notify.LaneUrgent || e.Step == 0 {
					return
				}
				if promised, ok := fast[fmt.Sprint(e.NotificationID, e.Step-1)]; ok {
					late = append(late, e.At.Sub(promised))
				}
				if e.State == notify.StateSent {
					done++
				}
			})
			return len(bulk) >= n && done >= urgent
		}, 10*time.Minute, time.Second)
		for id, times := range bulk {
			require.Equal(t, 1, times, id)
		}
		require.Len(t, bulk, n)
		slices.Sort(back)
		slices.Sort(sent)
		slices.Sort(late)
		const clocks = 5 * time.Millisecond
		require.Greater(t, back[0], -clocks, "never early")
		require.Greater(t, sent[0], -clocks, "never early")
		require.Greater(t, late[0], -clocks, "never early")
		written := 0
		for _, tier := range []string{"5s", "30s", "3m", "20m"} {
			written += length("sms_topic.delay." + tier)
		}
		t.Logf("%d jobs: back on the lane %s to %s after the due time (p50 %s), sent %s to %s; written on the ladder %.2f times each",
			n, round(back[0]), round(back[len(back)-1]), round(back[len(back)/2]), round(sent[0]), round(sent[len(sent)-1]), float64(written)/float64(n))
		t.Logf("%d urgent jobs, %d retries: p50 %s, p99 %s, at most %s after the promised time", urgent, len(late),
			round(late[len(late)/2]), round(late[len(late)*99/100]), round(late[len(late)-1]))
	})
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
