package cmd

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/audit"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// records is two replicas of the API on one status store: one takes the load, either may be the one that records.
type records struct {
	*chaos
	dsn      string // empty: SQLite
	apis     [2]*child
	urls     [2]string
	database *database // nil: the store dies with the replicas that have it
}

// What the store says after its recorder, the API and the store itself were killed under load is what the topics say, and what
// a caller is told: of every notification, whichever replica is asked.
func TestChaosStatusStore(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { newRecords(t, "", nil).run(t) })
	t.Run("PostgreSQL", func(t *testing.T) {
		realKafka(t)
		d := newDatabase(t)
		newRecords(t, d.dsn, d).run(t)
	})
}

func newRecords(t *testing.T, dsn string, d *database) *records {
	c := newRun(t, badDay())
	c.broker = newVictim(t) // which nobody kills here
	c.fleet = c.newFleet(t)
	r := &records{chaos: c, dsn: dsn, database: d}
	for i := range r.apis {
		r.urls[i] = "http://" + freeAddress("127.0.0.1")
		r.start(i)
	}
	c.follow(r.urls[0])
	return r
}

func (r *records) start(i int) {
	r.apis[i] = r.serve(r.urls[i], "--set", "status.dsn="+r.dsn)
}

func (r *records) run(t *testing.T) {
	r.workers = r.fleet.workers("sms", 2)
	r.stop = r.load.background(t)
	require.Eventually(t, func() bool { return r.events.ended() >= postKeys }, 2*time.Minute, 20*time.Millisecond, "hardly anything is delivered")
	blows := []blow{
		{"the recorder killed", func(*chaos, *rand.Rand) { r.killRecorder() }},
		{"the API killed", func(*chaos, *rand.Rand) { r.killReplica(0) }}, // which takes the load
		{"the store killed", func(*chaos, *rand.Rand) { r.killStore() }},
	}
	kills := max(r.kills, len(blows))
	r.strikeAll(blows, kills, 0)
	r.settle()
	r.judged(fmt.Sprintf("%d kills", kills))
	r.requireNoDifference(t)
	r.requireEachIsRight(t, 1000)
	for _, api := range r.apis {
		api.term()
	}
}

// killRecorder kills the replica that fills the store just now.
func (r *records) killRecorder() {
	i := -1
	require.Eventually(r.t, func() bool {
		i = slices.IndexFunc(r.urls[:], func(url string) bool { return figure(url, "laudspeaker_recorder_active") == 1 })
		return i >= 0
	}, time.Minute, 20*time.Millisecond, "nobody records")
	r.killReplica(i)
}

func (r *records) killReplica(i int) {
	r.apis[i].kill()
	r.start(i)
}

// killStore kills what keeps the store: PostgreSQL, or both replicas at once, which have the file open.
func (r *records) killStore() {
	if r.database != nil {
		r.database.crash()
		during(2 * time.Second)
		r.database.start()
		return
	}
	for i := range r.apis {
		r.apis[i].kill()
	}
	for i := range r.apis {
		r.start(i)
	}
}

// requireNoDifference holds the topics against the store, as an operator would.
func (r *records) requireNoDifference(t *testing.T) {
	began := time.Now()
	a := auditOf(t, r.dir+"/laudspeaker.yaml", "--against-store", "--set", "status.dsn="+r.dsn)
	require.Zero(t, a.code, "%s %v", a.said, a.found[:min(len(a.found), 10)])
	require.Zero(t, a.Unaccounted)
	require.NotNil(t, a.Differences)
	require.Zero(t, *a.Differences)
	require.Empty(t, a.ids(audit.FoundUnaccounted))
	require.GreaterOrEqual(t, int(a.Notifications), r.load.count())
	t.Logf("the audit of %d notifications took %s: 0 differences, 0 unaccounted, %d sent again", a.Notifications, time.Since(began).Round(time.Millisecond), a.DuplicatesSent)
}

// requireEachIsRight asks either replica about so many letters: it says what status_topic says.
func (r *records) requireEachIsRight(t *testing.T, n int) {
	var acked []*letter
	for _, l := range r.load.letters {
		if !l.acked.IsZero() {
			acked = append(acked, l)
		}
	}
	slices.SortFunc(acked, func(a, b *letter) int { return a.number - b.number })
	random := rand.New(rand.NewPCG(r.seed, 1))
	random.Shuffle(len(acked), func(i, j int) { acked[i], acked[j] = acked[j], acked[i] })
	acked = acked[:min(n, len(acked))]
	states := map[notify.State]int{}
	for i, l := range acked {
		p := &program{t: t, API: r.urls[i%len(r.urls)]}
		var life notify.Life
		require.Equal(t, http.StatusOK, p.get("/v1/notifications/"+l.id, &life), "%d %s", l.number, l.id)
		require.Equal(t, []any{l.id, l.key, l.lane, strconv.Itoa(l.number)}, []any{life.ID, life.Recipient, life.Lane, life.Reference})
		ends := r.events.of(l.number)
		ended := slices.IndexFunc(ends, func(e ending) bool { return e.state == life.State })
		require.GreaterOrEqual(t, ended, 0, "%s is said to be %s, and has ended as %v", l.id, life.State, ends)
		require.True(t, slices.ContainsFunc(life.Timeline, func(e notify.Event) bool { return e.EventID == ends[ended].event }), "the timeline of %s lacks its end", l.id)
		states[life.State]++
	}
	require.NotEmpty(t, acked)
	t.Logf("GET was right for each of %d: %v", len(acked), states)
}

// database is a PostgreSQL of the test's own, there to be killed.
type database struct {
	t   *testing.T
	dsn string
	dir string
}

const databasePort = "19794"

func newDatabase(t *testing.T) *database {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) == 0 {
		t.Skip("PostgreSQL is missing (Debian: apt-get install postgresql)")
	}
	d := &database{t: t, dir: filepath.Join(os.TempDir(), "laudspeaker-chaos-postgres")} // which its own user can reach
	remove := func() {
		_, _ = d.script("stop")
		require.NoError(t, os.RemoveAll(d.dir))
	}
	remove() // what a run has left that was killed
	d.start()
	t.Cleanup(remove)
	return d
}

// script runs scripts/postgres.sh.
func (d *database) script(verb string) (out string, err error) {
	return script("postgres.sh", verb, "LAUDSPEAKER_POSTGRES_PORT="+databasePort, "LAUDSPEAKER_POSTGRES_HOME="+d.dir)
}

func (d *database) start() {
	out, err := d.script("start")
	require.NoError(d.t, err, out)
	_, d.dsn, _ = strings.Cut(out, "=")
}

// crash ends it at once: by SIGQUIT nothing is written any more, and what was not committed is undone when it starts again.
func (d *database) crash() {
	file, err := os.ReadFile(filepath.Join(d.dir, databasePort, "data", "postmaster.pid"))
	require.NoError(d.t, err)
	pid, err := strconv.Atoi(strings.SplitN(string(file), "\n", 2)[0])
	require.NoError(d.t, err)
	require.NoError(d.t, syscall.Kill(pid, syscall.SIGQUIT))
	require.Eventually(d.t, func() bool { return syscall.Kill(pid, 0) != nil }, time.Minute, 10*time.Millisecond, "PostgreSQL does not end")
}
