package audit

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// engine simulates all of Laudspeaker: it accepts, works, moves, redrives, commits, crashes and deletes, one acknowledgement at
// a time and in any order.
type engine struct {
	*fixture
	r        *rand.Rand
	done     map[string]map[int64]bool // by topic and partition: the records that the group has processed, committed or not
	ended    map[string][]stage        // by notification: its outcomes so far
	over     map[string]map[uint32]bool
	open     []func() bool // operations in progress: each call makes one acknowledgement, and returns false after the last one
	accepted []string
	skipped  map[string]bool // notifications that an operator has taken away
}

func newEngine(seed uint64) *engine {
	e := &engine{
		fixture: newFixture(2), r: rand.New(rand.NewPCG(seed, 1)), done: map[string]map[int64]bool{}, ended: map[string][]stage{},
		over: map[string]map[uint32]bool{}, skipped: map[string]bool{},
	}
	for topic := range e.logs {
		for p := range e.logs[topic] {
			e.done[at(topic, int32(p))] = map[int64]bool{}
		}
	}
	return e
}

// step does one operation.
func (e *engine) step() {
	e.now = e.now.Add(time.Duration(e.r.IntN(240)) * time.Second)
	switch n := e.r.IntN(100); {
	case n < 15:
		id := e.mint()
		e.accepted = append(e.accepted, id)
		e.job(lane, e.partition(), id, start)
	case n < 40:
		e.begin()
	case n < 80 && len(e.open) > 0:
		i := e.r.IntN(len(e.open))
		if !e.open[i]() {
			e.open = slices.Delete(e.open, i, i+1)
		}
	case n < 83 && len(e.open) > 0: // a crash
		i := e.r.IntN(len(e.open))
		e.open = slices.Delete(e.open, i, i+1)
	case n < 95:
		e.commit()
	case n < 97:
		e.redrive()
	default:
		e.retain()
	}
}

// mint returns a UUIDv7 with the engine's time.
func (e *engine) mint() string {
	var b [idBytes]byte
	binary.BigEndian.PutUint64(b[:], uint64(e.now.UnixMilli())<<16)
	binary.BigEndian.PutUint64(b[8:], e.r.Uint64())
	b[6] = 0x70
	return formatID(b)
}

func (e *engine) partition() int32 { return int32(e.r.IntN(2)) }

// begin starts processing a record that is not done.
func (e *engine) begin() {
	topic, p := []string{lane, short, long}[e.r.IntN(3)], e.partition()
	var left []*kafka.Record
	for _, r := range e.logs[topic][p].records {
		if !e.done[at(topic, p)][r.Offset] {
			left = append(left, r)
		}
	}
	if len(left) == 0 {
		return
	}
	r := left[e.r.IntN(len(left))]
	if topic == lane {
		e.open = append(e.open, e.work(r))
	} else {
		e.open = append(e.open, e.move(r))
	}
}

// work is one attempt: it publishes the records that follow, then the outcome, and then marks the job as done.
func (e *engine) work(r *kafka.Record) func() bool {
	id, s := about(r)
	finish := func() { e.done[at(r.Topic, r.Partition)][r.Offset] = true }
	if slices.ContainsFunc(e.ended[id], func(was stage) bool { return !was.before(s) || was.run == s.run && e.over[id][s.run] }) {
		return func() bool { finish(); return false }
	}
	state := []notify.State{notify.StateSent, notify.StateRetrying, notify.StateRetrying, notify.StateScheduled, notify.StateDead, notify.StateHeld, notify.StateExpired}[e.r.IntN(7)]
	acks := []func(){func() {
		e.outcome(r.Partition, id, s, state)
		e.ended[id] = append(e.ended[id], s)
		if e.over[id] == nil {
			e.over[id] = map[uint32]bool{}
		}
		e.over[id][s.run] = e.over[id][s.run] || state.Final()
	}, finish}
	switch state {
	case notify.StateRetrying, notify.StateScheduled:
		acks = slices.Insert(acks, 0, func() { e.job([]string{short, long}[e.r.IntN(2)], r.Partition, id, stage{s.run, s.step + 1}) })
	case notify.StateDead, notify.StateHeld:
		acks = slices.Insert(acks, 0, func() { e.job(letters, r.Partition, id, s) })
	}
	return oneByOne(acks)
}

// move returns a record of a tier to its lane, or moves it to the next tier.
func (e *engine) move(r *kafka.Record) func() bool {
	id, s := about(r)
	to := []string{lane, lane, short}[e.r.IntN(3)]
	return oneByOne([]func(){
		func() { e.job(to, r.Partition, id, s) },
		func() { e.done[at(r.Topic, r.Partition)][r.Offset] = true },
	})
}

// redrive redrives a letter: it publishes the job and then the event.
func (e *engine) redrive() {
	p := e.partition()
	all := e.logs[letters][p].records
	if len(all) == 0 {
		return
	}
	id, s := about(all[e.r.IntN(len(all))])
	e.open = append(e.open, oneByOne([]func(){
		func() { e.job(lane, p, id, stage{s.run + 1, 0}) },
		func() { e.write(ledger, e.partition(), e.event(id, s, notify.StateDead, notify.NoteRedriven)) },
	}))
}

func oneByOne(acks []func()) func() bool {
	return func() bool {
		acks[0]()
		acks = acks[1:]
		return len(acks) > 0
	}
}

// commit commits the progress of one partition: a watermark and the done records above it.
func (e *engine) commit() {
	topic, p := []string{lane, short, long}[e.r.IntN(3)], e.partition()
	part, done := e.logs[topic][p], e.done[at(topic, p)]
	low := part.oldest
	end := part.oldest + int64(len(part.records))
	for low < end && done[low] {
		low++
	}
	var above []int64
	for o := low; o < end; o++ {
		if done[o] {
			above = append(above, o)
		}
	}
	e.fixture.done(topic, p, low, above...)
}

// retain deletes old records that are done.
func (e *engine) retain() {
	topic, p := []string{lane, short, long, ledger, ledger, letters}[e.r.IntN(6)], e.partition()
	part := e.logs[topic][p]
	old := e.now.Add(-time.Duration(12+e.r.IntN(12)) * time.Hour)
	n := 0
	for n < len(part.records) && part.records[n].Timestamp.Before(old) {
		r := part.records[n]
		if done := e.done[at(topic, p)]; topic != ledger && topic != letters && !done[r.Offset] {
			break
		}
		n++
	}
	e.forget(topic, p, n)
}

// about parses a record that job has written.
func about(r *kafka.Record) (id string, s stage) {
	var n struct{ ID string }
	_ = json.Unmarshal(r.Value, &n)
	run, _ := r.Header("ls-run")
	step, _ := r.Header("ls-step")
	a, _ := strconv.Atoi(run)
	b, _ := strconv.Atoi(step)
	return n.ID, stage{uint32(a), uint32(b)}
}

// Whatever operations are in progress, and continue during the audit, no notification is reported as unaccounted for.
func TestAudit_RunningEngineHasNothingMissing(t *testing.T) {
	for seed := range uint64(100) {
		e := newEngine(seed)
		for range 200 + e.r.IntN(1500) {
			e.step()
		}
		e.before = func(string, string) {
			for range e.r.IntN(20) {
				e.step()
			}
		}
		a := e.audit(t, func(c *Config) { c.MaxInMemory = 100 })
		require.Empty(t, a.unaccounted(), "seed %d", seed)
		require.NotZero(t, a.Notifications)
		e.before = nil
		since := e.now.Add(-time.Duration(e.r.IntN(20)) * time.Hour)
		require.Empty(t, e.audit(t, func(c *Config) { c.Since = since }).unaccounted(), "seed %d", seed)
	}
}

// When somebody moves an offset forward, jobs are skipped. The audit reports exactly these jobs.
func TestAudit_NamesWhatAnOperatorDeletes(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		e := newEngine(seed)
		for range 200 + e.r.IntN(800) {
			e.step()
		}
		e.open = nil // all crash, so that the audit tells all there is
		lost := map[string]bool{}
		p := e.partition()
		part := e.logs[lane][p]
		before := e.audit(t)
		open := map[string]bool{}
		for _, f := range before.found {
			if f.What == FoundInFlight && f.Where.Topic == lane && f.Where.Partition == p {
				open[f.ID] = true
			}
		}
		end := part.oldest + int64(len(part.records))
		for _, r := range part.records {
			if id, _ := about(r); open[id] {
				lost[id] = true
			}
		}
		e.fixture.done(lane, p, end)
		unaccounted := e.audit(t).unaccounted()
		for id := range unaccounted {
			require.True(t, lost[id], "seed %d: %s was not taken away", seed, id)
		}
		for id := range lost {
			if _, named := unaccounted[id]; !named {
				require.True(t, e.elsewhere(id, p), "seed %d: %s is not named", seed, id)
			}
		}
		found += len(unaccounted)
	}
	require.Greater(t, found, 300)
}

// elsewhere reports whether another copy of a notification exists, or its outcome may have been deleted.
func (e *engine) elsewhere(id string, p int32) bool {
	compacted, _ := packID(id)
	if part := e.logs[ledger][p]; part.oldest > 0 && (len(part.records) == 0 || mintedAt(compacted, e.now).Before(part.records[0].Timestamp.Add(clocksApart))) {
		return true
	}
	for _, topic := range []string{lane, short, long} {
		for q, part := range e.logs[topic] {
			for _, r := range part.records {
				if got, _ := about(r); got == id && (topic != lane || int32(q) != p) {
					return true
				}
			}
		}
	}
	return false
}
