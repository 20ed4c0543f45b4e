package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// The reference figures were measured on two quiet cores that ran the load, the sink, Apache Kafka 4.4.0 and Laudspeaker together.

// tolerance is how far a baseline leg may be below its reference: with less, something else uses the machine.
const tolerance = 0.9

// bareIngest is the rate of the bare server in notifications per second. Other settings have no reference.
func bareIngest(connections, batch int) float64 {
	switch {
	case batch == 1 && connections == 64:
		return 12_200
	case batch == 1 && connections == 256:
		return 21_100
	case batch == 500 && connections == 64:
		return 93_000
	}
	return 0
}

// directRate is the rate of a gateway's library with 64 messages in flight and a sink that answers at once, per second.
func directRate(channel string) float64 {
	return map[string]float64{"email": 14_400, "sms": 12_300, "push": 10_700}[channel]
}

// insertCPU is the CPU time of one row of the bare multi-row insert in microseconds, at most.
const insertCPU = 7

// Rows that have targets.
const (
	rowRate      = "rate"
	rowAPICPU    = "CPU of the API"
	rowSenderCPU = "CPU of the worker"
	rowKafkaCPU  = "CPU of Kafka"
	rowAPIPeak   = "peak RSS of the API"
	rowWorkPeak  = "peak RSS of the worker"
	rowP50       = "accepted to sink, p50"
	rowP99       = "accepted to sink, p99"
	rowOursCPU   = "CPU of API and worker"
	rowAllCore   = "all, CPU"
	rowAPICore   = "serve-api, CPU"
	rowWorkCore  = "work, CPU"
	rowAllRSS    = "all, RSS"
	rowPeakRSS   = "all, peak RSS"
	rowBytes     = "status store"
	rowLifecycle = "CPU per lifecycle"
)

// Target is what a figure of Laudspeaker should reach.
type Target struct {
	Of    Measure `json:"of"`
	Least float64 `json:"least,omitempty"`
	Most  float64 `json:"most,omitempty"`
}

// Measure says which of a row's figures a target is about.
type Measure string

// The measures.
const (
	ofRatio      Measure = "ratio"
	ofOurs       Measure = "laudspeaker"
	ofDifference Measure = "difference" // between Laudspeaker and the baseline
)

func (t Target) String() string {
	parts := []string{}
	if t.Least > 0 {
		parts = append(parts, "≥ "+plain(t.Least))
	}
	if t.Most > 0 {
		parts = append(parts, "≤ "+plain(t.Most))
	}
	limits := strings.Join(parts, ", ")
	switch t.Of {
	case ofRatio:
		return "ratio " + limits
	case ofDifference:
		return "baseline + " + plain(t.Most) + " at most"
	case ofOurs:
	}
	return limits
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// met reports whether the median reaches the target; known is false where the row does not have the figure.
func (t Target) met(r *Row) (met, known bool) {
	var value float64
	switch {
	case t.Of == ofRatio && r.Ratio != nil:
		value = r.Ratio.Median
	case t.Of == ofOurs && r.Ours != nil:
		value = r.Ours.Median
	case t.Of == ofDifference && r.Ours != nil && r.Baseline != nil:
		value = r.Ours.Median - r.Baseline.Median
	default:
		return false, false
	}
	return (t.Least == 0 || value >= t.Least) && (t.Most == 0 || value <= t.Most), true
}

func ingestTargets(batch int, store string) map[string]Target {
	targets := map[string]Target{rowRate: {Of: ofRatio, Least: 0.85}, rowAPIPeak: {Of: ofOurs, Most: 200}}
	switch {
	case batch == 1 && store == storeOff:
		targets[rowAPICPU] = Target{Of: ofRatio, Most: 1.25}
	case batch == 1:
		targets[rowRate] = Target{Of: ofRatio, Least: 0.70}
	case store != storeOff:
		targets[rowRate] = Target{Of: ofRatio, Least: 0.60}
	}
	return targets
}

func deliverTargets(instant bool, inFlight int) map[string]Target {
	targets := map[string]Target{rowWorkPeak: {Of: ofOurs, Most: 120}}
	switch {
	case instant:
		targets[rowRate] = Target{Of: ofRatio, Least: 0.72}
		targets[rowSenderCPU] = Target{Of: ofDifference, Most: 30}
		targets[rowKafkaCPU] = Target{Of: ofOurs, Most: 30}
	case inFlight >= 256:
		targets[rowRate] = Target{Of: ofRatio, Least: 0.95}
	default:
		targets[rowRate] = Target{Of: ofRatio, Least: 0.98}
	}
	return targets
}

// latencyTargets: with Idempotency-Keys the targets are those of the long steady run.
func latencyTargets(embedded, keys bool) map[string]Target {
	switch {
	case !embedded:
		return map[string]Target{rowP50: {Of: ofOurs, Most: 3}, rowP99: {Of: ofOurs, Most: 15}, rowOursCPU: {Of: ofOurs, Most: 400}}
	case keys:
		return map[string]Target{rowAllCore: {Of: ofOurs, Most: 30}, rowPeakRSS: {Of: ofOurs, Most: 130}, rowBytes: {Of: ofOurs, Most: 1200}}
	}
	return map[string]Target{rowP50: {Of: ofOurs, Most: 2}, rowP99: {Of: ofOurs, Most: 20}, rowOursCPU: {Of: ofOurs, Most: 800}}
}

func idleTargets() map[string]Target {
	return map[string]Target{
		rowAllCore: {Of: ofOurs, Most: 2}, rowAPICore: {Of: ofOurs, Most: 1}, rowWorkCore: {Of: ofOurs, Most: 1}, rowAllRSS: {Of: ofOurs, Most: 70},
	}
}

func storeTargets() map[string]Target {
	return map[string]Target{rowLifecycle: {Of: ofOurs, Most: 50}, rowBytes: {Of: ofOurs, Most: 1200}}
}

// void says why a run counts for nothing, or "". legs are the rates of the baseline.
func void(legs []float64, reference float64) string {
	if s := spreadOf(legs); s != nil && reference > 0 && s.Min < tolerance*reference {
		return fmt.Sprintf("the machine was not quiet: a baseline leg reached %s per second, the reference is %s", number(s.Min), number(reference))
	}
	return ""
}
