package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSpread(t *testing.T) {
	require.Nil(t, spreadOf(nil))
	require.Nil(t, spreadOf([]float64{math.NaN()}))
	legs := []float64{9, 1, 5}
	require.Equal(t, &Spread{Median: 5, Min: 1, Max: 9, Legs: legs}, spreadOf(legs))
	require.Equal(t, []float64{9, 1, 5}, legs, "the order of the legs stays")
	require.InDelta(t, 3, spreadOf([]float64{1, 4, math.NaN(), 2, 9}).Median, 1e-9)
}

func TestRatiosArePairwise(t *testing.T) {
	ratios := ratiosOf([]float64{1, 6, 5}, []float64{2, 3, 0, 7})
	require.InDelta(t, 0.5, ratios[0], 1e-9)
	require.InDelta(t, 2, ratios[1], 1e-9)
	require.True(t, math.IsNaN(ratios[2]))
	require.Len(t, ratios, 3)
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	require.True(t, math.IsNaN(quantile(nil, 0.5)))
	var sorted []time.Duration
	for i := range 1000 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		require.InDelta(t, want, quantile(sorted, q), 1e-9, "%g", q)
	}
	require.InDelta(t, 1, quantile(sorted[:1], 0.99), 1e-9)
}

func TestPerMessage(t *testing.T) {
	require.InDelta(t, 250, perMessage(time.Second, 4000), 1e-9)
	require.True(t, math.IsNaN(perMessage(-1, 4000)), "the CPU time is not known")
	require.True(t, math.IsNaN(perMessage(time.Second, 0)))
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.853: "0.85", 12.34: "12.3", 123.6: "124", 12345.6: "12,346", 1234567: "1,234,567", -1234: "-1,234",
	} {
		require.Equal(t, want, number(v))
	}
}

// sampleResult has each kind of row: several legs, one leg, a side that is missing, targets of each kind.
func sampleResult(judge bool) *Result {
	f := newFigures()
	for i, bare := range []float64{12_000, 12_400, 12_200} {
		f.add(baseline, rowRate, "/s", bare)
		f.add(ours, rowRate, "/s", bare*[]float64{0.80, 0.90, 0.70}[i])
		f.add(baseline, rowSenderCPU, "µs", 68)
		f.add(ours, rowSenderCPU, "µs", 90+float64(i))
	}
	f.add(ours, rowAPIPeak, "MB", 180)
	f.add(ours, "unknown", "µs", math.NaN())
	r := &Result{
		Bench: "ingest", Settings: "64 connections", Machine: "linux/amd64, 2 cores", Version: "laudspeaker dev", Baseline: "bare", Judged: judge,
		Audit: Audit{Accepted: 1_234_567, Delivered: 1_234_566, Rejected: 1}, Notes: []string{"an example"},
	}
	r.Rows = f.rows(map[string]Target{
		rowRate: {Of: ofRatio, Least: 0.85}, rowSenderCPU: {Of: ofDifference, Most: 30}, rowAPIPeak: {Of: ofOurs, Most: 200},
	}, judge)
	return r
}

func TestResult_Table(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sampleResult(true).Print(&out))
	voided := sampleResult(false)
	voided.Void = void([]float64{12_000, 10_979}, bareIngest(64, 1))
	voided.Baseline = ""
	require.NoError(t, voided.Print(&out))
	const file = "testdata/table.golden"
	if *update {
		require.NoError(t, os.WriteFile(file, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "rewrite it with -update")
}

func TestResult_JSON(t *testing.T) {
	text, err := json.Marshal(sampleResult(true))
	require.NoError(t, err)
	var back Result
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, sampleResult(true), &back)
}

func TestVoid(t *testing.T) {
	require.Empty(t, void([]float64{11_000, 15_000}, 12_200))
	require.Empty(t, void([]float64{1}, 0), "without a reference")
	require.Empty(t, void(nil, 12_200))
	require.Contains(t, void([]float64{13_000, 10_900}, 12_200), "the machine was not quiet: a baseline leg reached 10,900 per second")
	require.Empty(t, voidInsert([]float64{5, 7.5}))
	require.Contains(t, voidInsert([]float64{5, 9}), "not quiet")
}

func TestFinish_JudgesNoShortRunAndFailsOnALoss(t *testing.T) {
	for _, c := range []struct {
		name          string
		short, any    bool
		void          string
		judged, voids bool
	}{
		{"quiet", false, false, "", true, false},
		{"not quiet", false, false, "because", false, true},
		{"any machine", false, true, "because", true, false},
		{"short", true, false, "because", false, false},
	} {
		o := Options{Short: c.short, AnyMachine: c.any}
		r := o.result("ingest", "", "bare")
		f := newFigures()
		f.add(ours, rowAPIPeak, "MB", 300)
		require.NoError(t, o.finish(r, f, ingestTargets(1, storeOff), c.void), c.name)
		require.Equal(t, c.judged, r.Judged, c.name)
		require.Equal(t, c.voids, r.Void != "", c.name)
		require.Equal(t, c.judged, r.Rows[0].Met != nil, c.name)
	}
	o := Options{}
	r := o.result("ingest", "", "bare")
	r.Audit.Lost = 2
	require.EqualError(t, o.finish(r, newFigures(), nil, ""), "2 accepted messages did not arrive")
}

func TestArguments(t *testing.T) {
	good := Options{Leg: time.Second, Legs: 1}
	ingest := func(change func(*Ingest)) error {
		r := Ingest{Options: good, Channel: "sms", Connections: 64, Batch: 1, Store: storeOff, Size: 100}
		change(&r)
		return r.Check()
	}
	deliver := func(change func(*Deliver)) error {
		r := Deliver{Options: good, Channel: "sms", InFlight: 64, Size: 100}
		change(&r)
		return r.Check()
	}
	require.NoError(t, ingest(func(*Ingest) {}))
	require.NoError(t, deliver(func(*Deliver) {}))
	for want, err := range map[string]error{
		"--leg: give at least 100ms":         ingest(func(r *Ingest) { r.Leg = 0 }),
		"--legs: give at least 1":            ingest(func(r *Ingest) { r.Legs = 0 }),
		"--set needs key=value":              ingest(func(r *Ingest) { r.Set = []string{"log"} }),
		"log.level and log.format stay":      ingest(func(r *Ingest) { r.Set = []string{"log.level=warn"} }),
		"--partitions":                       ingest(func(r *Ingest) { r.Partitions = -1 }),
		"--connections: give at least 1":     ingest(func(r *Ingest) { r.Connections = 0 }),
		"--batch: give 1 to 1000":            ingest(func(r *Ingest) { r.Batch = 1001 }),
		"--store knows off and sqlite":       ingest(func(r *Ingest) { r.Store = "postgres" }),
		"--channel knows email, sms":         ingest(func(r *Ingest) { r.Channel = "fax" }),
		"--size: give 1 to 1500":             ingest(func(r *Ingest) { r.Size = 0 }),
		"--in-flight: give at least 1":       deliver(func(r *Deliver) { r.InFlight = 0 }),
		"--connections and --messages":       deliver(func(r *Deliver) { r.Messages = -1 }),
		"--sink-latency: give 0s or more":    deliver(func(r *Deliver) { r.Profile.Latency = -1 }),
		"--rate: give 1 to 100000":           (&Latency{Options: good, Channel: "sms", Size: 1}).Check(),
		"--rows: give 0 or more":             (&Store{Options: good, Rows: -1, Lifecycles: chunk}).Check(),
		"--lifecycles: give at least 500":    (&Store{Options: good}).Check(),
		"bench store starts no role":         (&Store{Options: Options{Leg: time.Second, Legs: 1, Brokers: []string{"a:1"}}, Lifecycles: chunk}).Check(),
		`"x" is no share`:                    fault("transient=x"),
		`"1" is no share`:                    fault("1"),
		"the shares together":                fault("transient=0.6,rejected=0.6"),
		`"slow" is none of them`:             fault("slow=0.1"),
		`bench has no helper "printer"`:      Helper(t.Context(), "printer", "{}", bytes.NewReader(nil), nil),
		"settings of a helper: invalid char": Helper(t.Context(), brokerHelper, "x", bytes.NewReader(nil), nil),
	} {
		require.ErrorContains(t, err, want)
	}
	f, err := ParseFaults("0.25")
	require.NoError(t, err)
	require.Equal(t, Faults{Transient: 0.25}, f)
	f, err = ParseFaults("transient=0.1,throttled=0.2,rejected=0.3")
	require.NoError(t, err)
	require.Equal(t, Faults{0.1, 0.2, 0.3}, f)
}

func fault(text string) error {
	_, err := ParseFaults(text)
	return err
}

// A leg of deliver lasts as long as --leg says on the direct side, whatever the latency of the sink.
func TestDeliver_LegsFollowTheSink(t *testing.T) {
	for _, c := range []struct {
		channel     string
		latency     time.Duration
		connections int
		messages    int
	}{
		{"email", 0, 16, 144_000},
		{"sms", 50 * time.Millisecond, 64, 12_800},
		{"email", 50 * time.Millisecond, 64, 12_800},
		{"push", time.Nanosecond, 64, 107_000},
	} {
		r := Deliver{Options: Options{Leg: 10 * time.Second, Legs: 1}, Channel: c.channel, InFlight: 64, Size: 1, Profile: Profile{Latency: c.latency}}
		require.NoError(t, r.Check())
		require.Equal(t, c.connections, r.Connections, c)
		require.Equal(t, c.messages, r.Messages, c)
	}
}

func TestMessage_NumberComesBack(t *testing.T) {
	for _, channel := range []string{"email", "sms", "push"} {
		for _, n := range []int{0, 7, 123_456_789} {
			m := message{channel, n, 100}
			body := m.append(nil)
			require.True(t, json.Valid(body), "%s", body)
			require.Equal(t, n, numberIn(body))
		}
		var all struct{ Notifications []json.RawMessage }
		require.NoError(t, json.Unmarshal(message{channel, 5, 10}.appendBatch(nil, 3), &all))
		require.Len(t, all.Notifications, 3)
		require.Equal(t, 7, numberIn(all.Notifications[2]))
	}
	for _, text := range []string{"", "bench", "bench-", "bench-x", "bench-1234567890"} {
		require.Equal(t, -1, numberIn([]byte(text)), text)
	}
}

func TestAcceptedOf(t *testing.T) {
	require.Equal(t, []bool{true}, acceptedOf(202, nil, 1))
	require.Equal(t, []bool{false}, acceptedOf(503, nil, 1))
	require.Equal(t, []bool{true, true}, acceptedOf(200, []byte(`{"results":[{"status":202},{"status":202}]}`), 2))
	require.Equal(t, []bool{true, false, true}, acceptedOf(200, []byte(`{"results":[{"status":202},{"status":429},{"status":202}]}`), 3))
}

func TestJudge(t *testing.T) {
	taken := Taken{}
	taken.grow(5)
	copy(taken.Times, []uint8{1, 3, 0, 0, 0})
	taken.Rejected[2] = true
	// 0 arrived, 1 arrived three times, 2 was rejected, 3 is lost, 4 was never accepted.
	require.Equal(t, Audit{Accepted: 4, Delivered: 2, Rejected: 1, Lost: 1, Duplicated: 2}, taken.judge([]int64{1, 1, 1, 1, 0}))
	require.Equal(t, Audit{Accepted: 1, Lost: 1}, (&Taken{}).judge([]int64{1}), "the sink got nothing")
}

func TestUsage(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	u := usageOf(os.Getpid())
	require.GreaterOrEqual(t, u.cpu, time.Duration(0))
	require.Greater(t, u.rss, 1.0)
	require.GreaterOrEqual(t, u.peak, u.rss)
	gone := usageOf(1 << 30)
	require.Equal(t, time.Duration(-1), gone.cpu)
	m := newMeter()
	m.watch("self", os.Getpid())
	m.watch("none", 0)
	m.watch("gone", 1<<30)
	m.start()
	r := m.read()
	require.Equal(t, []string{"self", "gone"}, m.names)
	require.GreaterOrEqual(t, r.core("self"), 0.0)
	require.InDelta(t, -1, r.core("gone"), 1e-9)
}

func TestEnvironmentHasNoSettings(t *testing.T) {
	t.Setenv("LAUDSPEAKER_KAFKA_BROKERS", "production:9092")
	t.Setenv("BENCH_OTHER", "stays")
	env := environment()
	require.Contains(t, env, "BENCH_OTHER=stays")
	require.False(t, slices.ContainsFunc(env, func(v string) bool { return v == "LAUDSPEAKER_KAFKA_BROKERS=production:9092" }))
}
