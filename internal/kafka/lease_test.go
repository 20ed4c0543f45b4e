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
