package worker

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// An unavailable gateway is reported from its first refusal until a probe succeeds, with the text of the last refusal.
func TestOpenCircuit_LastsUntilProbeSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := &notify.Failure{Verdict: notify.Unavailable, Code: "550", Reason: "the account of " + recipient + " is suspended, ask Support@relay.example"}
		var w *Worker
		o := outlet("mail", scripted(unavailable, blocked, nil))
		w = newWorker(nil, func(c *Config) { c.Route = &Route{Outlets: []*Outlet{o}} })
		_, ok := o.OpenCircuit(time.Now())
		require.False(t, ok, "it was never called")

		began := time.Now()
		a := newAttempt(record(mail))
		res := w.Handle(t.Context(), a)
		require.False(t, res.Again.IsZero())
		r, ok := o.OpenCircuit(time.Now())
		require.True(t, ok)
		require.Equal(t, OpenCircuit{State: gateway.BreakerOpen, Since: began, Code: "535", Reason: "authentication refused", Rate: math.Inf(1)}, r)

		again := func() {
			for { // it looks now and then whether a probe may go
				time.Sleep(time.Until(res.Again))
				before := o.Sender.(*scriptedGateway)
				called := len(before.received)
				b := newAttempt(record(mail))
				b.Carry = res.Carry
				res = w.Handle(t.Context(), b)
				if len(before.received) > called {
					return
				}
			}
		}
		again()
		r, ok = o.OpenCircuit(time.Now())
		require.True(t, ok)
		require.Equal(t, began, r.Since, "of the first refusal")
		require.Equal(t, "550", r.Code)
		require.Equal(t, "the account of *** is suspended, ask ***", r.Reason, "the recipient of one message is no business of others")
		again()
		_, ok = o.OpenCircuit(time.Now())
		require.False(t, ok, "the gateway serves us again")
	})
}

func TestOpenCircuit_TextsAreBounded(t *testing.T) {
	m := &notify.Message{Notification: notify.Notification{Recipient: "+491511234567"}, Address: "+491511234567"}
	for text, want := range map[string]string{
		"":                               "",
		"no credit for +491511234567":    "no credit for ***",
		"a\r\nb\x1b[31m\x00c":            "a b [31m c",
		strings.Repeat("é", 400):         strings.Repeat("é", 127),
		strings.Repeat("é ", 1<<20)[:]:   strings.Repeat("é ", 85),
		"mailto:eve@test.example,please": "***",
	} {
		require.Equal(t, want, anonymize(text, m, maxCircuitReason), text[:min(len(text), 40)])
	}
}
