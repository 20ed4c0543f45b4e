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

// TestPreflight_EndsJobWithoutCall also shows the precedence of the cases.
func TestPreflight_EndsJobWithoutCall(t *testing.T) {
	byID := map[string]bool{someID: true}
	byAddress := map[string]bool{recipient: true}
	for name, c := range map[string]struct {
		value   string
		control fakeControl
		state   notify.State
	}{
		"cancelled":                        {mail, fakeControl{cancelled: byID}, notify.StateCancelled},
		"suppressed":                       {mail, fakeControl{suppressed: byAddress}, notify.StateSuppressed},
		"suppressed in another spelling":   {strings.Replace(mail, `"bob@customer.example"`, `"Bob <bob@CUSTOMER.example>"`, 1), fakeControl{suppressed: byAddress}, notify.StateSuppressed},
		"expired":                          {mailWith(`"expires_at":"2000-01-01T00:00:00Z"`), fakeControl{}, notify.StateExpired},
		"cancelled before it was to begin": {mailWith(`"send_at":"2000-01-02T00:00:00Z"`), fakeControl{cancelled: byID}, notify.StateCancelled},
		"cancelled while the lane rests":   {mail, fakeControl{paused: time.Now().Add(time.Hour), cancelled: byID}, notify.StateCancelled},
		"delivered already":                {mail, fakeControl{settled: map[string]int{someID: 0}, cancelled: byID}, notify.StateDelivered},
		"delivered already, but expired":   {mailWith(`"expires_at":"2000-01-01T00:00:00Z"`), fakeControl{settled: map[string]int{someID: 0}}, notify.StateDelivered},
		"delivered already, and held back": {mailWith(`"on_ambiguous":"hold"`), fakeControl{settled: map[string]int{someID: 0}}, notify.StateDelivered},
		"another run was delivered":        {mail, fakeControl{settled: map[string]int{someID: 1}, cancelled: byID}, notify.StateCancelled},
		"cancelled before suppressed":      {mail, fakeControl{cancelled: byID, suppressed: byAddress}, notify.StateCancelled},
		"cancelled before expired":         {mailWith(`"expires_at":"2000-01-01T00:00:00Z"`), fakeControl{cancelled: byID}, notify.StateCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := scripted(nil)
				res := newWorker(s, func(cfg *Config) { cfg.Control = &c.control }).Handle(t.Context(), newAttempt(record(c.value)))
				e := eventOf(t, res)
				require.Equal(t, c.state, e.State)
				if c.state == notify.StateDelivered {
					require.Equal(t, notify.ReasonReceipt, e.Reason)
				} else {
					require.Equal(t, string(c.state), e.Reason)
				}
				require.Empty(t, s.received)
				require.Empty(t, res.Follow)
				require.Zero(t, e.Attempt)
			})
		})
	}
}

func TestPreflight_PausedLaneMakesNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, s := time.Now(), scripted(nil)
		c := &fakeControl{paused: began.Add(10*time.Second + time.Millisecond)}
		e, _ := handleToEnd(t, newWorker(s, func(cfg *Config) { cfg.Control = c }), newAttempt(record(mail)))
		require.Equal(t, notify.StateSent, e.State)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, 11*time.Second, time.Since(began))
	})
}

func TestRoute_PausedGatewayIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := &fakeControl{gateways: map[string]time.Time{"a": began.Add(time.Minute + time.Millisecond)}}
		w := newRouteWorker(func(cfg *Config) { cfg.Control = c }, scripted(nil), scripted(nil))
		e := eventOf(t, w.Handle(t.Context(), newAttempt(record(mail))))
		require.Equal(t, "b", gatewaysOf(e))

		c.gateways["b"] = began.Add(time.Hour)
		l := newLane(backlog(20, 2))
		require.True(t, l.run(w))
		require.Equal(t, 2, l.most, "the others are not fetched")
		require.Equal(t, 61*time.Second, time.Since(began))
		for _, res := range l.ended {
			require.Equal(t, "a", gatewaysOf(eventOf(t, res)))
		}
	})
}

func TestOutcome_GoneRecipientIsSuppressed(t *testing.T) {
	record1 := kafka.Message{Topic: "control_topic", Key: []byte("k")}
	for name, c := range map[string]struct {
		answers error
		letter  bool // rejected recipients become dead letters
		follow  []string
	}{
		"gone":                          {gone, false, []string{"control_topic"}},
		"gone, and kept":                {gone, true, []string{"control_topic", "email_topic.dlq"}},
		"about the message":             {permanent, false, []string{"email_topic.dlq"}},
		"nobody asks whether it exists": {transient, false, []string{"email_topic.delay.5s"}},
	} {
		t.Run(name, func(t *testing.T) {
			var of []*notify.Message
			w := newWorker(scripted(c.answers), func(cfg *Config) {
				cfg.DeadLetterRejected = c.letter
				cfg.Retries = RetryPolicy{MaxAttempts: 3, InitialBackoff: time.Second, MaxBackoff: time.Second}
				cfg.Suppress = func(m *notify.Message, _, _ string, _ *notify.Failure) []kafka.Message {
					of = append(of, m)
					return []kafka.Message{record1}
				}
			})
			res := w.Handle(t.Context(), newAttempt(record(mail)))
			var topics []string
			for _, m := range res.Follow {
				topics = append(topics, m.Topic)
			}
			require.Equal(t, c.follow, topics)
			if c.letter {
				require.Equal(t, notify.ReasonRecipientGone, deadReason(res))
			}
			if errors.Is(c.answers, gone) {
				require.Equal(t, recipient, of[0].Address)
				require.Equal(t, notify.DefaultTenant, of[0].Tenant)
			} else {
				require.Empty(t, of)
			}
		})
	}
}

// A bad device token may belong to another app, so it proves nothing about the device.
func TestOutcome_BadTokenIsNotSuppressed(t *testing.T) {
	for reason, suppressed := range map[string]bool{notify.ReasonRecipientGone: true, notify.ReasonBadRecipient: false} {
		w := newWorker(scripted(&notify.Failure{Verdict: notify.Permanent, Reason: reason, Gone: true}), func(c *Config) {
			c.Channel = notify.ChannelPush
			c.Suppress = func(*notify.Message, string, string, *notify.Failure) []kafka.Message {
				return []kafka.Message{{Topic: "control_topic"}}
			}
		})
		res := w.Handle(t.Context(), newAttempt(record(push)))
		require.Equal(t, notify.StateRejected, eventOf(t, res).State)
		require.Equal(t, suppressed, len(res.Follow) == 1, reason)
	}
}

func TestWorker_MessageHasAllFields(t *testing.T) {
	s := scripted(nil)
	r := record(strings.Replace(mail, `"id":"`+someID+`",`, "", 1), "ls-run", "2", "ls-step", "1", "ls-attempt", "3")
	w := newWorker(s, nil)
	e := eventOf(t, w.Handle(t.Context(), newAttempt(r)))
	m := s.received[0]
	require.Equal(t, w.Identify(r), m.ID)
	require.Equal(t, recipient, m.Address)
	require.Equal(t, "Hi", m.Email.Subject)
	require.WithinDuration(t, r.Timestamp.Add(24*time.Hour), *m.ExpiresAt, 0)
	require.Equal(t, 2, m.Run, "of which a receipt is then")
	require.Equal(t, []int{2, 1, 4}, []int{e.Run, e.Step, e.Attempt})
	require.Equal(t, "p-1", e.ProviderID)
}

// A sent job has ended for the duplicate check, also while its receipt is awaited: a second copy is not sent.
func TestDedup_AwaitedReceiptEndsRun(t *testing.T) {
	calls := 0
	w := newWorker(sendFunc(func(context.Context, *notify.Message) (notify.Receipt, error) {
		calls++
		return notify.Receipt{Awaited: true}, nil
	}), nil)
	r := record(mail)
	res := w.Handle(t.Context(), newAttempt(r))
	require.Contains(t, string(res.Outcome.Value), `"state":"sent","final":false`)
	res.Ended(res.Outcome)
	later := record(mail, "ls-step", "3")
	later.Offset = r.Offset + 1
	require.Nil(t, w.Handle(t.Context(), newAttempt(later)).Outcome, "it is dropped")
	require.Equal(t, 1, calls)
}
