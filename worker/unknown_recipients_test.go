package worker

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestUnknownRecipients_MisconfiguredGatewayMakesDeadLetters: a gateway that has never known a device may be for another
// environment or app. Its refusals become dead letters, and a series of them logs one error with the remedy.
func TestUnknownRecipients_MisconfiguredGatewayMakesDeadLetters(t *testing.T) {
	var answer error
	core, logs := observer.New(zap.ErrorLevel)
	w := newWorker(sendFunc(func(context.Context, *notify.Message) (notify.Receipt, error) { return notify.Receipt{}, answer }), func(c *Config) {
		c.Channel, c.Log = notify.ChannelPush, zap.New(core)
	})
	sent := 0
	letters := func(n int, failure error) (kept int) {
		answer = failure
		for range n {
			sent++
			r := record(strings.Replace(push, someID, notify.DerivedID("devices", string(rune('a'+sent))), 1))
			r.Offset = int64(sent)
			res := w.Handle(t.Context(), newAttempt(r))
			res.Ended(res.Outcome)
			if failure != nil {
				require.Equal(t, notify.StateRejected, eventOf(t, res).State)
			}
			if deadLetters(res) > 0 {
				require.Equal(t, notify.ReasonBadRecipient, deadReason(res))
				kept++
			}
		}
		return kept
	}
	unknown := &notify.Failure{
		Verdict: notify.Permanent, Gone: true, Next: true, Code: "BadDeviceToken", Reason: notify.ReasonBadRecipient, Remedy: "check environment and topic",
	}
	gone := &notify.Failure{Verdict: notify.Permanent, Gone: true, Reason: notify.ReasonRecipientGone}

	require.Equal(t, misconfiguredAfter+5, letters(misconfiguredAfter+5, unknown), "it has never accepted a push")
	require.Equal(t, 1, logs.Len())
	require.Equal(t, "check environment and topic", logs.All()[0].ContextMap()["remedy"])
	require.Zero(t, letters(1, gone), "the provider knows this device")
	require.Zero(t, letters(1, nil))
	require.Zero(t, letters(misconfiguredAfter-1, unknown), "a gateway that works may meet bad tokens")
	require.Equal(t, 1, letters(1, unknown))
	require.Equal(t, 2, logs.Len())
	require.Zero(t, letters(1, nil))
	require.Zero(t, letters(1, unknown))
	require.Equal(t, 2, logs.Len())
}

func deadLetters(res kafka.Result) int {
	var n int
	for _, m := range res.Follow {
		if strings.HasSuffix(m.Topic, ".dlq") {
			n++
		}
	}
	return n
}

// TestUnknownRecipients_OtherEnvironmentDecides: in a route of two environments, a gateway that does not know a device never
// rejects the push while the other gateway is not available.
func TestUnknownRecipients_OtherEnvironmentDecides(t *testing.T) {
	unknown := &notify.Failure{Verdict: notify.Permanent, Gone: true, Next: true, Code: "BadDeviceToken", Reason: notify.ReasonBadRecipient}
	refuses := &notify.Failure{Verdict: notify.Unavailable, Code: "InvalidProviderToken", Reason: "no", Remedy: "check key_id"}
	for name, c := range map[string]struct {
		production, sandbox error
		want                notify.State
	}{
		"a device of production":                     {nil, unknown, notify.StateSent},
		"a device of the sandbox":                    {unknown, nil, notify.StateSent},
		"a device of neither":                        {unknown, unknown, notify.StateRejected},
		"production refuses us":                      {refuses, unknown, notify.StateRetrying},
		"the sandbox refuses us":                     {unknown, refuses, notify.StateRetrying},
		"production refuses us, one for the sandbox": {refuses, nil, notify.StateSent},
	} {
		w := newWorker(nil, func(cfg *Config) {
			cfg.Channel = notify.ChannelPush
			cfg.Route = &Route{Outlets: []*Outlet{outlet("production", scripted(c.production)), outlet("sandbox", scripted(c.sandbox))}}
		})
		require.Equal(t, c.want, eventOf(t, w.Handle(t.Context(), newAttempt(record(push)))).State, name)
	}
}
