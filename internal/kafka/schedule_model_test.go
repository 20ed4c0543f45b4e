package kafka

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// player makes a stage do what nobody would think of.
type player struct {
	*stage
	rand  *rand.Rand
	phase int // of the take-over: 0 no session, 1 joined, 2 read, 3 restored, 4 complete
	was   start
	said  []entry
	holds map[int64]*Claim // by the offset of the job that asked for it
}

// n gives a number from 0 to most.
func (p *player) n(most int) int { return p.rand.IntN(most + 1) }

// step does one thing at random.
func (p *player) step() {
	switch p.n(18) {
	case 0, 1, 2:
		p.add([]string{"", "a", "a", "b", "c"}[p.n(4)])
	case 3:
		if p.n(3) == 0 {
			p.log = append(p.log, make([]*Record, p.n(20))...)
		}
	case 4, 5, 6:
		if p.phase == 4 && (!p.c.paused || p.n(3) == 0) { // a claim reads once it is taken over
			p.fetch(1 + p.n(2))
		}
	case 7, 8, 9:
		p.reply()
	case 10, 11:
		if _, sends := p.waiting(); len(sends) > 0 {
			p.acknowledge(p.n(len(sends)-1), p.n(4) > 0)
		}
	case 12:
		if p.phase == 4 {
			p.commit()
		}
	case 13:
		time.Sleep(time.Duration(p.n(4)) * time.Second) // beyond the lease, too
	case 14:
		p.turn()
	case 15:
		if p.n(9) == 0 {
			p.kill(func() bool { return p.n(1) == 0 })
			p.phase = 0
		}
	case 16:
		if _, sends := p.waiting(); len(sends) > 0 { // the broker has it, and its acknowledgement is on its way
			p.append(sends[p.n(len(sends)-1)])
		}
	case 17:
		if p.n(3) == 0 { // once a second the broker is asked
			p.r.cfg.Ledger.raise(0, int64(len(p.ledger))-1)
		}
	case 18:
		for _, h := range p.holds {
			h.Resume()
		}
	}
	p.settle()
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	require.LessOrEqual(p.t, p.r.busy, p.r.cfg.Concurrency)
	require.LessOrEqual(p.t, p.r.room.count, p.r.cfg.MaxWaiting)
	require.LessOrEqual(p.t, p.r.room.bytes, p.r.cfg.MaxWaitingBytes)
}

// reply answers a call that runs.
func (p *player) reply() {
	calls, _ := p.waiting()
	if len(calls) == 0 {
		return
	}
	c := calls[p.n(len(calls)-1)]
	again := Result{Again: time.Now().Add(time.Duration(p.n(3)) * time.Second)}
	if p.n(3) == 0 {
		c.a.FreeSlot()
		p.settle()
	}
	switch p.n(6) {
	case 5: // its call goes on
	case 0:
		p.answer(c, again)
	case 1:
		p.holds[c.a.Offset] = c.a.Pause()
		p.answer(c, again)
	case 2:
		p.end(c, Result{})
	default:
		p.end(c, Result{Outcome: &Outcome{Value: make([]byte, p.n(600))}})
	}
}

// end answers for good; who has paused the partition resumes it then.
func (p *player) end(c *call, res Result) {
	p.answer(c, res)
	if h := p.holds[c.a.Offset]; h != nil {
		h.Resume()
	}
}

// turn takes the group a step further.
func (p *player) turn() {
	switch p.phase {
	case 0:
		p.join()
	case 1:
		p.was, p.said = p.read()
	case 2:
		p.c.restored(p.was, logs{}, 0, learnt(p.was, p.said))
		p.commit()
	case 3:
		p.c.begin()
	case 4:
		if p.n(2) > 0 {
			p.commit()
		}
		p.leave()
	}
	p.phase = (p.phase + 1) % 5
}

// finish lets everything end well.
func (p *player) finish() {
	p.add("")
	for p.phase != 4 {
		p.turn()
	}
	for range 10 * len(p.log) {
		p.commit()
		p.settle()
		if !p.c.paused {
			p.fetch(5)
		}
		for calls, _ := p.waiting(); len(calls) > 0; calls, _ = p.waiting() {
			p.end(calls[0], Result{Outcome: &Outcome{}})
		}
		for _, sends := p.waiting(); len(sends) > 0; _, sends = p.waiting() {
			p.acknowledge(0, true)
		}
		if p.c.low == int64(len(p.log)) {
			break
		}
		time.Sleep(time.Second)
	}
}

// TestSchedulingForgetsNothing: whatever sessions, leases, pauses and acknowledgements do, every job is called, those of
// a key in order, none after its outcome, and nothing is left behind.
func TestSchedulingForgetsNothing(t *testing.T) {
	for seed := range uint64(500) {
		few := func(c *RunnerConfig) {
			c.Concurrency, c.MaxRecords, c.MaxSpan, c.MaxBytes = 3, 6, 8, 1500
			c.MaxWaiting, c.MaxWaitingBytes = 2, 700
		}
		play(t, few, func(st *stage) {
			p := &player{stage: st, holds: map[int64]*Claim{}, rand: rand.New(rand.NewPCG(seed, 0))}
			for range 100 + p.n(500) {
				p.step()
			}
			p.finish()
			p.judge()
		})
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func (p *player) judge() {
	t, c, r := p.t, p.c, p.r
	called := 0
	for key, offsets := range p.begun {
		called += len(offsets)
		require.True(t, key == "" || slices.IsSorted(offsets), "key %q: %v", key, offsets)
	}
	jobs := slices.DeleteFunc(slices.Clone(p.log), func(r *Record) bool { return r == nil })
	require.Equal(t, len(jobs), called, "jobs, and those that were called")
	require.EqualValues(t, len(p.log), c.low)
	require.Empty(t, c.items)
	require.Empty(t, c.lines)
	require.Empty(t, c.pins)
	require.Empty(t, c.unverified)
	require.True(t, c.called.empty() && c.queued.empty() && c.parked.empty())
	require.Empty(t, r.flights[p.tp])
	require.Zero(t, r.busy)
	require.Equal(t, room{queue: r.room.queue[:0]}, r.room)
	require.Zero(t, c.calling)
	require.Nil(t, c.waits().first)
	require.Nil(t, c.waits().last)
	require.Zero(t, r.bytes)
	require.False(t, c.paused)
}
