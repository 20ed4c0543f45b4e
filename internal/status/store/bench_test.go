package store

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// How many notifications a benchmark begins with: -rows 1000000 for the figures that count. The store is kept in -store, so that it
// is filled once.
var (
	rows  = flag.Int("rows", 20_000, "notifications in the store when a benchmark begins")
	where = flag.String("store", "", "a folder in which SQLite stores of benchmarks are kept; empty for none")
)

// traffic is the batch of 1,000 changes number n: 500 jobs, and the outcomes of the 500 of the batch before.
func traffic(n int) []status.Change {
	changes := make([]status.Change, 0, 1000)
	for i := range 500 {
		if n > 0 {
			changes = append(changes, status.Change{Event: outcomeOf(n-1, i)})
		}
		changes = append(changes, jobOf(n, i))
	}
	return changes
}

func jobOf(n, i int) status.Change {
	at := noon.Add(time.Duration(n*500+i) * time.Millisecond)
	k := n*500 + i
	e := notify.Event{
		NotificationID: idAt(at, k), State: notify.StateQueued, At: at, Tenant: "default",
		Channel: notify.Channels()[k%3], Lane: notify.Lanes()[k/3%3], Reference: fmt.Sprintf("order-%d", k),
	}
	e.Seal()
	expires := at.Add(time.Hour)
	address := fmt.Sprintf("user%d@example.com", k*7919%(*rows/4+1))
	place := status.RecordPlace{Log: status.Log{Topic: "email_topic", ID: status.TopicID{1}}, Partition: int32(k % 12), Offset: int64(k / 12)}
	return status.Change{Event: e, Place: place, Job: &status.Job{
		Recipient: address, Address: address, Metadata: map[string]string{"shop": "17"}, AcceptedAt: at, ExpiresAt: &expires,
		Payload: []byte(`{"subject":"Your order","text":"` + strings.Repeat("Thank you. ", 50) + `"}`),
	}}
}

// idAt gives a UUIDv7 of a time.
func idAt(at time.Time, k int) string {
	id := fmt.Sprintf("%012x", at.UnixMilli())
	return id[:8] + "-" + id[8:] + "-7" + notify.DerivedID(fmt.Sprint(k))[15:]
}

func outcomeOf(n, i int) notify.Event {
	e := jobOf(n, i).Event
	k := n*500 + i
	e.State, e.Attempt, e.Gateway, e.Reason, e.ProviderID = notify.StateSent, 1, "mail", "250 2.0.0 Ok: queued", notify.DerivedID("p", fmt.Sprint(k))
	if k%1000 == 0 {
		e.State, e.Gateway, e.Reason = notify.StateDead, "spare", "attempts used up"
	}
	e.Tries = []notify.Try{{Gateway: e.Gateway, Verdict: notify.Accepted, Reason: e.Reason, Millis: 12}}
	e.At = e.At.Add(time.Second)
	e.Seal()
	return e
}

// filled gives a store with *rows notifications, and the number of the next batch.
func filled(b *testing.B, postgres bool) (*Store, int) {
	c := Config{Dir: *where}
	switch {
	case postgres:
		c.DSN = schema(b)
	case *where == "":
		c.Dir = b.TempDir()
	}
	s := recording(b, c)
	var have int
	require.NoError(b, s.read.QueryRow("SELECT count(*) FROM notifications").Scan(&have))
	n := have / 500
	for ; n < *rows/500; n++ {
		take(b, s, traffic(n)...)
	}
	if postgres {
		_, err := s.write.Exec("ANALYZE")
		require.NoError(b, err)
	}
	return s, n
}

func onEachBench(b *testing.B, bench func(b *testing.B, s *Store, n int)) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			s, n := filled(b, name == "postgres")
			bench(b, s, n)
		})
	}
}

// One operation is a batch of 1,000 changes, half of them jobs. CPU is of this process: of PostgreSQL's there is nothing in it.
func BenchmarkRecord(b *testing.B) {
	onEachBench(b, func(b *testing.B, s *Store, n int) {
		batches := make([][]status.Change, b.N)
		for i := range batches {
			batches[i] = traffic(n + i)
		}
		before := cpu(b)
		b.ResetTimer()
		for _, changes := range batches {
			require.NoError(b, s.Record(context.Background(), "me", status.Batch{Changes: changes}))
		}
		b.StopTimer()
		events := float64(1000 * b.N)
		b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/events, "µs-CPU/event")
	})
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkGet(b *testing.B) {
	onEachBench(b, func(b *testing.B, s *Store, n int) {
		for i := 0; b.Loop(); i++ {
			_, err := s.Get(context.Background(), jobOf(i*7919%n, 3).Event.NotificationID)
			require.NoError(b, err)
		}
	})
}

// Pages of 50 from all over the store: one filter and a range of time, and filters that leave out most rows.
func BenchmarkList(b *testing.B) {
	all := map[string]notify.LifeFilter{
		"all": {}, "state": {States: []notify.State{notify.StateSent}}, "rare-state": {States: []notify.State{notify.StateDead}},
		"states":  {States: []notify.State{notify.StateDead, notify.StateSent, notify.StateQueued}},
		"channel": {Channel: notify.ChannelSMS}, "lane": {Lane: notify.LaneBulk}, "gateway": {Gateway: "mail"},
		"tenant": {Tenant: "default"}, "reference": {Reference: "order-77"}, "recipient": {Recipient: "user77@example.com"},
		"combined": {States: []notify.State{notify.StateSent}, Channel: notify.ChannelSMS, Lane: notify.LaneBulk, Gateway: "mail"},
		"nothing":  {States: []notify.State{notify.StateSent}, Gateway: "spare"},
	}
	onEachBench(b, func(b *testing.B, s *Store, n int) {
		for name, f := range all {
			b.Run(name, func(b *testing.B) { listAllOver(b, s, f, time.Duration(n*500)*time.Millisecond) })
		}
	})
}

func listAllOver(b *testing.B, s *Store, f notify.LifeFilter, span time.Duration) {
	var took []time.Duration
	before := cpu(b)
	for i := 0; b.Loop(); i++ {
		f.Since, f.Until = noon, noon.Add(span*time.Duration(1+i*37%100)/100)
		start := time.Now()
		_, err := s.List(context.Background(), f, "", 50)
		require.NoError(b, err)
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(len(took))/1000, "ms-CPU/page")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkSize tells what a notification with two events takes, and what each index costs of it.
func BenchmarkSize(b *testing.B) {
	s, n := filled(b, false)
	for b.Loop() {
	}
	_, err := s.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	require.NoError(b, err)
	sizes, err := s.read.Query("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")
	require.NoError(b, err)
	defer sizes.Close()
	for sizes.Next() {
		var name string
		var size int64
		require.NoError(b, sizes.Scan(&name, &size))
		fmt.Fprintf(os.Stderr, "%-40s %6.1f B/notification\n", name, float64(size)/float64(n*500))
	}
	require.NoError(b, sizes.Err())
}
