package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// left is what the desk makes of a job that another worker has seen to the end that it gives, as a take-over finds it.
func left(t *testing.T, verdict error, ended func(*Config)) *kafka.Record {
	res := worker(says(verdict), ended).Handle(t.Context(), attempt(record(mail)))
	require.Len(t, res.Follow, 1)
	return &kafka.Record{Topic: res.Follow[0].Topic, Headers: res.Follow[0].Headers}
}

// TestAdopt_OutcomeThatIsMissing: the event is what the earlier owner would have published, and nothing is sent.
func TestAdopt_OutcomeThatIsMissing(t *testing.T) {
	last := func(c *Config) { c.Retries = Retries{Attempts: 1} }
	for _, c := range []struct {
		name   string
		says   error
		ended  func(*Config)
		state  notify.State
		reason string
	}{
		{"put off", transient, nil, notify.StateRetrying, ""},
		{"used up", transient, last, notify.StateDead, notify.ReasonAttemptsUsedUp},
		{"rejected", permanent, nil, notify.StateRejected, "policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				was := left(t, c.says, c.ended)
				s := says(nil)
				w := worker(s, nil)
				a := attempt(record(mail))
				a.Played = &kafka.Played{Left: func() *kafka.Record { return was }}
				res := w.Handle(t.Context(), a)
				require.Empty(t, s.got, "nothing is sent")
				require.Empty(t, res.Follow, "it is there already")
				e := eventOf(t, res)
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.reason, e.Reason)
				require.Equal(t, 1, e.Attempt)
				require.Equal(t, someID, e.NotificationID)
				if c.state == notify.StateRetrying {
					require.True(t, e.NextAt.After(time.Now()))
					return
				}
				require.NotNil(t, e.Origin)
				require.True(t, e.Final)
			})
		})
	}
}

// What is of another step, or says nothing that can be read, is none of this one's.
func TestAdopt_RecordOfAnotherStepIsNoOutcome(t *testing.T) {
	for name, r := range map[string]*kafka.Record{
		"an earlier step": {Headers: []kafka.Header{{Key: notify.HeaderStep, Value: []byte("7")}}},
		"another run":     {Headers: []kafka.Header{{Key: notify.HeaderStep, Value: []byte("1")}, {Key: notify.HeaderRun, Value: []byte("2")}}},
		"no headers":      {},
	} {
		t.Run(name, func(t *testing.T) {
			s := says(nil)
			a := attempt(record(mail))
			a.Played = &kafka.Played{Left: func() *kafka.Record { return r }}
			res := worker(s, nil).Handle(t.Context(), a)
			require.Len(t, s.got, 1)
			require.Equal(t, notify.StateSent, eventOf(t, res).State)
		})
	}
}
