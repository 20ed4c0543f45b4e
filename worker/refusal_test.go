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

// A gateway that refuses us is reported from its first refusal on until a probe is served, with the words of the last one.
func TestRefusal_LastsUntilAProbeIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := &notify.Failure{Verdict: notify.Unavailable, Code: "550", Reason: "the account of " + recipient + " is suspended, ask Support@relay.example"}
		var w *Worker
		o := outlet("mail", says(unavailable, blocked, nil))
		w = worker(nil, func(c *Config) { c.Route = &Route{Outlets: []*Outlet{o}} })
		_, ok := o.Refusal(time.Now())
		require.False(t, ok, "it was never called")

		began := time.Now()
		a := attempt(record(mail))
		res := w.Handle(t.Context(), a)
		require.False(t, res.Again.IsZero())
		r, ok := o.Refusal(time.Now())
		require.True(t, ok)
		require.Equal(t, Refusal{Circuit: gateway.BreakerOpen, Since: began, Code: "535", Reason: "authentication refused", Pace: math.Inf(1)}, r)

		again := func() {
			for { // it looks now and then whether a probe may go
				time.Sleep(time.Until(res.Again))
				before := o.Sender.(*answers)
				called := len(before.got)
				b := attempt(record(mail))
				b.Carry = res.Carry
				if res = w.Handle(t.Context(), b); len(before.got) > called {
					return
				}
			}
		}
		again()
		r, ok = o.Refusal(time.Now())
		require.True(t, ok)
		require.Equal(t, began, r.Since, "of the first refusal")
		require.Equal(t, "550", r.Code)
		require.Equal(t, "the account of *** is suspended, ask ***", r.Reason, "the recipient of one message is no business of others")
		again()
		_, ok = o.Refusal(time.Now())
		require.False(t, ok, "the gateway serves us again")
	})
}

func TestRefusal_WordsAreBounded(t *testing.T) {
	m := &notify.Message{Notification: notify.Notification{Recipient: "+491511234567"}, Address: "+491511234567"}
	for text, want := range map[string]string{
		"":                               "",
		"no credit for +491511234567":    "no credit for ***",
		"a\r\nb\x1b[31m\x00c":            "a b [31m c",
		strings.Repeat("é", 400):         strings.Repeat("é", 127),
		strings.Repeat("é ", 1<<20)[:]:   strings.Repeat("é ", 85),
		"mailto:eve@test.example,please": "***",
	} {
		require.Equal(t, want, anonymous(text, m, refusalReason), text[:min(len(text), 40)])
	}
}
