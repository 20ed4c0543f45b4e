package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheLeaseIsCheckedAgainOnceTheSlotIsTaken(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.join()
		st.takeOver()
		st.r.mu.Lock() // what is started now goes no further
		st.c.take(st.log[0])
		st.r.dispatch()
		require.Equal(t, 1, st.r.busy)
		st.s.leased = time.Time{} // as if it had slept for long
		st.r.mu.Unlock()
		st.settle()
		require.Nil(t, st.running(0))
		require.Zero(t, st.r.InFlight())
		st.commit()
		st.settle()
		require.NotNil(t, st.running(0))
	})
}

func TestAfterAnIntentTheLeaseIsCheckedAgain(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(1)
		failed := make(chan error, 1)
		go func() { failed <- st.running(0).a.Intent(t.Context()) }()
		st.settle()
		require.Equal(t, map[int64]int64{0: 0}, st.c.pins, "L stays before it")
		time.Sleep(4 * time.Second)
		st.acknowledge(0, true)
		require.ErrorIs(t, <-failed, ErrLeaseLost)
	})
}

// Who has had no confirmed commit for as long as a lease does not know whether a partition is still its own; one that drains it
// does, and one that was frozen until others have it hears so at its next commit.
func TestAPartitionIsOwnedAsLongAsCommitsAreConfirmed(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(1)
		a := st.running(0).a
		require.True(t, a.Owned())
		time.Sleep(4 * time.Second)
		require.False(t, a.Owned())
		st.commit()
		require.True(t, a.Owned())

		st.r.mu.Lock()
		st.s.over, st.c.draining = true, true
		st.r.mu.Unlock()
		require.True(t, a.Owned(), "it drains")
		st.r.mu.Lock()
		st.s.fenced = true
		st.r.mu.Unlock()
		require.False(t, a.Owned(), "the group knows us no more")
		st.r.mu.Lock()
		st.s.fenced = false
		st.r.mu.Unlock()
		st.leave()
		require.False(t, a.Owned(), "it has been left")

		st.join()
		st.takeOver()
		require.False(t, a.Owned(), "a later claim is another one, which this attempt does not know")
		st.fetch(1)
		require.Same(t, a, st.running(0).a, "and which waits for it")
		st.answer(st.running(0), Result{Again: time.Now(), Carry: "carried"})
		require.Equal(t, "carried", st.running(0).a.Carry)
		require.True(t, st.running(0).a.Owned())
		st.ends(0)
	})
}
