package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// beside gives the stage's session a second partition, which has been taken over.
func (st *stage) beside() *claim {
	c := &claim{
		r: st.r, session: st.s, topicPartition: topicPartition{"jobs", 1}, progress: newProgress(100), taken: true,
		items: map[int64]*item{}, lines: lines{}, kick: make(chan struct{}, 1), claimed: st.r.life, unclaim: func() {},
	}
	st.r.mu.Lock()
	defer st.r.mu.Unlock()
	st.s.claims = append(st.s.claims, c)
	return c
}

// arrive hands a record at that offset to c.
func (st *stage) arrive(c *claim, o int64) {
	c.arrived([]*Record{{Topic: c.topic, Partition: c.partition, Offset: o, Value: fmt.Append(nil, "job", o)}}, nil, o+1)
	st.settle()
}

// begin has n jobs without a key, a session and its take-over.
func (st *stage) start(n int) {
	for range n {
		st.add("")
	}
	st.join()
	st.takeOver()
	st.fetch(n)
}

func (st *stage) answers(o int64) { st.answer(st.running(o), Result{Outcome: &Outcome{}}) }

func TestSlot_IsFreeOnceTheHandlerHasAnswered(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency = 1 }, func(st *stage) {
		st.add("a")
		st.add("a")
		st.add("b")
		st.join()
		st.takeOver()
		st.fetch(3)
		require.Nil(t, st.running(2), "there is one slot")
		st.answers(0)
		require.NotNil(t, st.running(2))
		require.Nil(t, st.running(1), "the key is held until the outcome is acknowledged")
		require.Equal(t, 2, st.r.InFlight())
		require.Equal(t, map[int64]int64{0: 0}, st.c.pins, "L stays before the outcome that waits")
		st.answers(2)
		st.acknowledge(0, true)
		require.NotNil(t, st.running(1))
		st.ends(1)
		st.acknowledge(0, true)
		require.Zero(t, st.r.InFlight())
	})
}

func TestWaitingOutcomes_AreBounded(t *testing.T) {
	const slots, most = 6, 4
	play(t, func(c *RunnerConfig) { c.Concurrency, c.MaxWaiting = slots, most }, func(st *stage) {
		st.start(20)
		for o := range int64(slots) {
			st.answers(o)
		}
		calls, sends := st.waiting()
		require.Empty(t, calls, "nothing more starts")
		require.Len(t, sends, slots)
		require.Equal(t, most, st.r.room.count)
		require.Equal(t, slots-most, st.r.busy, "those that found no room keep their slots")
		require.Equal(t, slots, st.r.InFlight())

		st.acknowledge(0, true)
		require.Equal(t, most, st.r.room.count, "one of the two moves up")
		st.acknowledge(4, true) // the one that keeps its slot
		require.Zero(t, st.r.busy)
		st.acknowledge(0, true)
		require.Nil(t, st.running(6), "three wait, and there is room for one")
		st.acknowledge(0, true)
		st.acknowledge(0, true)
		require.NotNil(t, st.running(6))
	})
}

func TestWaitingOutcomes_AreBoundedInBytes(t *testing.T) {
	large := Result{Outcome: &Outcome{Value: make([]byte, 5000)}}
	play(t, func(c *RunnerConfig) { c.Concurrency, c.MaxWaitingBytes = 3, 12_000 }, func(st *stage) {
		st.start(10)
		healthy := st.beside()
		st.arrive(healthy, 100)
		for o := range int64(3) {
			st.answer(st.running(o), large)
		}
		require.Equal(t, 2, st.r.room.count)
		require.LessOrEqual(t, st.r.room.bytes, int64(12_000))
		require.Equal(t, 2, st.r.busy, "the third keeps its slot, and the other partition's job has one")
		require.Nil(t, st.running(3), "the claim takes more of the room than is left")
		st.answers(100)
		require.Equal(t, 3, st.r.room.count, "what is too large keeps nobody out")
		_, sends := st.waiting()
		st.acknowledge(len(sends)-1, true)
		for range 3 {
			st.acknowledge(0, true)
		}
		require.Zero(t, st.r.room.bytes)
		require.NotNil(t, st.running(5))
		st.answer(st.running(3), Result{Outcome: &Outcome{Value: make([]byte, 50_000)}}) // never finds room
		require.Zero(t, st.r.room.count)
		require.Equal(t, 3, st.r.InFlight())
		st.acknowledge(0, true)
		require.NotNil(t, st.running(6))
	})
}

// However fast its jobs are, a partition whose outcomes nobody acknowledges leaves the others room.
func TestWaitingOutcomes_OfFastJobsLeaveTheOthersRoom(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency, c.MaxWaiting = 2, 16 }, func(st *stage) {
		st.start(100)
		healthy := st.beside()
		for o := int64(0); st.running(o) != nil; o++ {
			st.answers(o)
		}
		require.Less(t, st.r.room.count, 12)
		for o := int64(100); o < 200; o++ {
			st.arrive(healthy, o)
			st.answers(o)
			_, sends := st.waiting()
			st.acknowledge(len(sends)-1, true)
		}
	})
}

func TestWaitingOutcomes_OfOnePartitionDoNotStopTheOthers(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency = 2 }, func(st *stage) {
		st.start(10)
		healthy := st.beside()
		for o := range int64(6) { // its ledger partition takes nothing
			st.answers(o)
		}
		time.Sleep(outcomePatience + time.Millisecond)
		st.answers(6)
		st.answers(7)
		require.Nil(t, st.running(8), "the oldest outcome has waited too long")
		for o := int64(100); o < 200; o++ {
			st.arrive(healthy, o)
			st.answers(o)
			_, sends := st.waiting()
			st.acknowledge(len(sends)-1, true)
		}
		require.True(t, st.c.wantPause(), "nothing more is fetched of what starts nothing")
		require.False(t, healthy.wantPause())
		waiting, stalled := st.r.Waiting()
		require.Equal(t, 8, waiting)
		require.Equal(t, 1, stalled)
		require.NoError(t, st.r.Ready())

		for range 8 {
			st.acknowledge(0, true)
		}
		require.NotNil(t, st.running(8), "acknowledged, it goes on")
		require.False(t, st.c.wantPause())
	})
}

// A mover writes to many partitions: one that cannot be written does not stop what is for the others.
func TestWaitingOutcomes_WithoutALedgerDoNotStall(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency, c.NoLedger = 2, true }, func(st *stage) {
		st.start(3)
		follow := Result{Follow: []Message{{Topic: "lane", Value: []byte("job")}}}
		st.answer(st.running(0), follow)
		time.Sleep(time.Minute)
		st.commit()
		st.answer(st.running(1), follow)
		require.NotNil(t, st.running(2))
	})
}

// The oldest outcome counts, also one that an earlier session has left.
func TestWaitingOutcomes_OfAnEarlierSessionHoldTheNextClaim(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.start(2)
		st.answers(0)
		st.answers(1)
		time.Sleep(time.Minute)
		st.leave()
		st.add("")
		st.join()
		st.takeOver()
		st.fetch(3)
		require.Nil(t, st.running(2))
		st.acknowledge(0, true)
		require.Nil(t, st.running(2), "one still waits")
		st.acknowledge(0, true)
		require.NotNil(t, st.running(2))
		st.ends(2)
		require.EqualValues(t, 3, st.c.low)
	})
}

// A job that must not be sent twice keeps its slot until its outcome is acknowledged.
func TestSlot_IsKeptByAJobWithAnIntent(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency = 1 }, func(st *stage) {
		st.start(2)
		a := st.running(0).a
		written := make(chan error, 1)
		go func() { written <- a.Intent(t.Context()) }()
		st.settle()
		st.mu.Lock()
		d := st.sends[0]
		st.sends = nil
		st.mu.Unlock()
		d.ack <- 0
		require.NoError(t, <-written)
		st.settle()
		st.answers(0)
		require.Nil(t, st.running(1))
		require.Equal(t, 1, st.r.InFlight())
		st.acknowledge(0, true)
		require.NotNil(t, st.running(1))
	})
}

// drains tells how long the claim's drain takes.
func (st *stage) drains() time.Duration {
	st.c.taken = false // without a last commit
	began := time.Now()
	st.c.drain()
	return time.Since(began)
}

func TestDrain_WaitsForCallsAndNotForAKafkaThatIsAway(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.start(3)
		st.answers(0)
		time.Sleep(time.Second)
		st.answers(1)
		require.Equal(t, 10*time.Second, st.drains(), "a call runs")
		st.answers(2)
		require.Zero(t, st.drains(), "no outcome has been acknowledged for long")
	})
	play(t, nil, func(st *stage) {
		st.start(2)
		st.answers(0)
		st.answers(1)
		go func() {
			time.Sleep(1500 * time.Millisecond)
			st.mu.Lock()
			d := st.sends[0]
			st.append(d)
			st.mu.Unlock()
			d.ack <- d.on.at
		}()
		require.Equal(t, 1500*time.Millisecond+drainSilence, st.drains(), "an acknowledgement gives hope for the next")
	})
	play(t, nil, func(st *stage) {
		st.start(1)
		go func() {
			time.Sleep(time.Second)
			st.running(0).answer <- Result{}
		}()
		require.Equal(t, time.Second, st.drains(), "nothing is left")
	})
}
