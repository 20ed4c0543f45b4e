package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An attempt that nobody has made, or that a test plays in part, answers for a partition that stays ours.
func TestAnAttemptWithoutARunnerIsInert(t *testing.T) {
	for name, p := range map[string]*Played{"nothing is played": nil, "nothing of it": {}} {
		t.Run(name, func(t *testing.T) {
			a := &Attempt{Record: &Record{}, Played: p}
			require.NoError(t, a.Intent(t.Context()))
			require.NoError(t, a.Withdraw(t.Context()))
			require.True(t, a.MayStart())
			require.False(t, a.Blocks())
			require.False(t, a.MayRepeat())
			require.NoError(t, a.Claimed().Err())
			_, doubt := a.InDoubt()
			require.False(t, doubt)
			fate, err := a.Fate(t.Context())
			require.NoError(t, err)
			require.Equal(t, FateUnknown, fate)
			a.Pause().Resume()
			ctx, cancel := a.Timeout(t.Context())
			_, limited := ctx.Deadline()
			require.False(t, limited)
			cancel()
		})
	}
}

func TestAnAttemptAsATestPlaysIt(t *testing.T) {
	var seen []string
	away, over := errors.New("away"), true
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a := &Attempt{Record: &Record{}, Played: &Played{
		Timeout: time.Hour, Claimed: gone, MayStart: func() bool { return !over }, Blocks: func() bool { return over },
		Pause: func() { seen = append(seen, "pause") }, Resume: func() { seen = append(seen, "resume") },
		Record: func(kind string, headers []Header) error {
			seen = append(seen, kind+string(headers[0].Value))
			return nil
		},
		InDoubt: func() (time.Time, bool) { return time.Unix(1, 0), true },
		Fate:    func() (Fate, error) { return FateConcluded, away },

		MayRepeat: func() bool { return !over },
	}}
	require.ErrorIs(t, a.Intent(t.Context(), Header{Value: []byte("1")}), ErrLeaseLost)
	require.False(t, a.MayRepeat())
	over = false
	require.NoError(t, a.Intent(t.Context(), Header{Value: []byte("2")}))
	require.NoError(t, a.Withdraw(t.Context(), Header{Value: []byte("3")}))
	a.Pause().Resume()
	require.True(t, a.MayRepeat())
	require.Equal(t, []string{"intent1", "intent2", "progress3", "pause", "resume"}, seen)
	require.ErrorIs(t, a.Claimed().Err(), context.Canceled)
	require.False(t, a.Blocks())
	until, doubt := a.InDoubt()
	require.True(t, doubt)
	require.Equal(t, time.Unix(1, 0), until)
	_, err := a.Fate(t.Context())
	require.ErrorIs(t, err, away)
	ctx, end := a.Timeout(t.Context())
	defer end()
	_, limited := ctx.Deadline()
	require.True(t, limited)
}

// What an attempt tells its handler at its end comes after the acknowledgement and before the next of its key; and not at
// all when the process ends first.
func TestEnded(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(2)
		ended, late := 0, false
		res := Result{Outcome: &Outcome{}, Ended: func(*Outcome) { ended, late = ended+1, late || ended == 0 && st.running(1) != nil }}
		st.answer(st.running(0), res)
		require.Zero(t, ended)
		st.acknowledge(0, true)
		require.Equal(t, 1, ended)
		require.False(t, late, "the next of the key has begun")

		require.NotNil(t, st.running(1))
		st.answer(st.running(1), res)
		st.kill(func() bool { return false })
		require.Equal(t, 1, ended)

		st.join()
		st.takeOver()
		st.fetch(2)
		st.answer(st.running(1), Result{Again: time.Now(), Ended: res.Ended})
		require.Equal(t, 1, ended, "it has not ended")
		st.ends(1)
	})
}
