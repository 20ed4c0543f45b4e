package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestWhatEndsAJobBeforeItsGatewayIsCalled, and in which order it is asked.
func TestWhatEndsAJobBeforeItsGatewayIsCalled(t *testing.T) {
	byID := map[string]bool{someID: true}
	byAddress := map[string]bool{recipient: true}
	for name, c := range map[string]struct {
		value string
		told  told
		state notify.State
	}{
		"cancelled":                        {mail, told{cancelled: byID}, notify.StateCancelled},
		"suppressed":                       {mail, told{suppressed: byAddress}, notify.StateSuppressed},
		"suppressed in another spelling":   {strings.Replace(mail, `"bob@customer.example"`, `"Bob <bob@CUSTOMER.example>"`, 1), told{suppressed: byAddress}, notify.StateSuppressed},
		"expired":                          {with(`"expires_at":"2000-01-01T00:00:00Z"`), told{}, notify.StateExpired},
		"cancelled before it was to begin": {with(`"send_at":"2000-01-02T00:00:00Z"`), told{cancelled: byID}, notify.StateCancelled},
		"cancelled while the lane rests":   {mail, told{paused: time.Now().Add(time.Hour), cancelled: byID}, notify.StateCancelled},
		"delivered already":                {mail, told{settled: map[string]int{someID: 0}, cancelled: byID}, notify.StateDelivered},
		"delivered already, but expired":   {with(`"expires_at":"2000-01-01T00:00:00Z"`), told{settled: map[string]int{someID: 0}}, notify.StateDelivered},
		"delivered already, and held back": {with(`"on_ambiguous":"hold"`), told{settled: map[string]int{someID: 0}}, notify.StateDelivered},
		"another run was delivered":        {mail, told{settled: map[string]int{someID: 1}, cancelled: byID}, notify.StateCancelled},
		"cancelled before suppressed":      {mail, told{cancelled: byID, suppressed: byAddress}, notify.StateCancelled},
		"cancelled before expired":         {with(`"expires_at":"2000-01-01T00:00:00Z"`), told{cancelled: byID}, notify.StateCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := says(nil)
				res := worker(s, func(cfg *Config) { cfg.Control = &c.told }).Handle(t.Context(), attempt(record(c.value)))
				e := eventOf(t, res)
				require.Equal(t, c.state, e.State)
				if c.state == notify.StateDelivered {
					require.Equal(t, notify.ReasonReceipt, e.Reason)
				} else {
					require.Equal(t, string(c.state), e.Reason)
				}
				require.Empty(t, s.got)
				require.Empty(t, res.Follow)
				require.Zero(t, e.Attempt)
			})
		})
	}
}

func TestAPausedLaneCallsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, s := time.Now(), says(nil)
		c := &told{paused: began.Add(10*time.Second + time.Millisecond)}
		e, _ := finish(t, worker(s, func(cfg *Config) { cfg.Control = c }), attempt(record(mail)))
		require.Equal(t, notify.StateSent, e.State)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, 11*time.Second, time.Since(began))
	})
}

func TestAPausedGatewayIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := &told{gateways: map[string]time.Time{"a": began.Add(time.Minute + time.Millisecond)}}
		w := through(func(cfg *Config) { cfg.Control = c }, says(nil), says(nil))
		e := eventOf(t, w.Handle(t.Context(), attempt(record(mail))))
		require.Equal(t, "b", asked(e))

		c.gateways["b"] = began.Add(time.Hour)
		l := newLane(backlog(20, 2))
		require.True(t, l.run(w))
		require.Equal(t, 2, l.most, "the others are not fetched")
		require.Equal(t, 61*time.Second, time.Since(began))
		for _, res := range l.ended {
			require.Equal(t, "a", asked(eventOf(t, res)))
		}
	})
}

func TestSuppressionOfWhoIsGone(t *testing.T) {
	record1 := kafka.Message{Topic: "control_topic", Key: []byte("k")}
	for name, c := range map[string]struct {
		says   error
		letter bool // rejected recipients become dead letters
		follow []string
	}{
		"gone":                          {gone, false, []string{"control_topic"}},
		"gone, and kept":                {gone, true, []string{"control_topic", "email_topic.dlq"}},
		"about the message":             {permanent, false, []string{"email_topic.dlq"}},
		"nobody asks whether it exists": {transient, false, []string{"email_topic.delay.5s"}},
	} {
		t.Run(name, func(t *testing.T) {
			var of []*notify.Message
			w := worker(says(c.says), func(cfg *Config) {
				cfg.DeadLetterRejected = c.letter
				cfg.Retries = Retries{Attempts: 3, First: time.Second, Longest: time.Second}
				cfg.Suppress = func(m *notify.Message, _, _ string, _ *notify.Failure) []kafka.Message {
					of = append(of, m)
					return []kafka.Message{record1}
				}
			})
			res := w.Handle(t.Context(), attempt(record(mail)))
			var topics []string
			for _, m := range res.Follow {
				topics = append(topics, m.Topic)
			}
			require.Equal(t, c.follow, topics)
			if c.letter {
				require.Equal(t, notify.ReasonRecipientGone, deadReason(res))
			}
			if errors.Is(c.says, gone) {
				require.Equal(t, recipient, of[0].Address)
				require.Equal(t, notify.DefaultTenant, of[0].Tenant)
			} else {
				require.Empty(t, of)
			}
		})
	}
}

// A bad device token may be one of another app: it proves nothing about its device.
func TestABadTokenIsNotSuppressed(t *testing.T) {
	for reason, suppressed := range map[string]bool{notify.ReasonRecipientGone: true, notify.ReasonBadRecipient: false} {
		w := worker(says(&notify.Failure{Verdict: notify.Permanent, Reason: reason, Gone: true}), func(c *Config) {
			c.Channel = notify.ChannelPush
			c.Suppress = func(*notify.Message, string, string, *notify.Failure) []kafka.Message {
				return []kafka.Message{{Topic: "control_topic"}}
			}
		})
		res := w.Handle(t.Context(), attempt(record(push)))
		require.Equal(t, notify.StateRejected, eventOf(t, res).State)
		require.Equal(t, suppressed, len(res.Follow) == 1, reason)
	}
}

func TestTheGatewayGetsWhatItNeeds(t *testing.T) {
	s := says(nil)
	r := record(strings.Replace(mail, `"id":"`+someID+`",`, "", 1), "ls-run", "2", "ls-step", "1", "ls-attempt", "3")
	w := worker(s, nil)
	e := eventOf(t, w.Handle(t.Context(), attempt(r)))
	m := s.got[0]
	require.Equal(t, w.Identify(r), m.ID)
	require.Equal(t, recipient, m.Address)
	require.Equal(t, "Hi", m.Email.Subject)
	require.WithinDuration(t, r.Timestamp.Add(24*time.Hour), *m.ExpiresAt, 0)
	require.Equal(t, 2, m.Run, "of which a receipt is then")
	require.Equal(t, []int{2, 1, 4}, []int{e.Run, e.Step, e.Attempt})
	require.Equal(t, "p-1", e.ProviderID)
}

// What is sent has ended for the engine, whether its provider will say more or not: a second copy is not sent.
func TestAnAwaitedReceiptEndsTheRunAsWell(t *testing.T) {
	calls := 0
	w := worker(sendFunc(func(context.Context, *notify.Message) (notify.Receipt, error) {
		calls++
		return notify.Receipt{Awaited: true}, nil
	}), nil)
	r := record(mail)
	res := w.Handle(t.Context(), attempt(r))
	require.Contains(t, string(res.Outcome.Value), `"state":"sent","final":false`)
	res.Ended(res.Outcome)
	later := record(mail, "ls-step", "3")
	later.Offset = r.Offset + 1
	require.Nil(t, w.Handle(t.Context(), attempt(later)).Outcome, "it is dropped")
	require.Equal(t, 1, calls)
}
