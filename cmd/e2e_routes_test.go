package cmd

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// While the first gateway is of no use the second one sends, in the same attempt; and the first one has its work back when
// it is well again.
func TestFailoverAndBack(t *testing.T) {
	t.Parallel()
	for name, ill := range map[string]struct {
		fall    func(f *twiliotest.Server)
		verdict notify.Verdict
	}{
		"refuses us": {(*twiliotest.Server).Refuse, notify.Unavailable},
		"fails":      {func(f *twiliotest.Server) { f.Fail(http.StatusServiceUnavailable, 20503, nil) }, notify.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachBus(t, func(t *testing.T, b *bus) {
				first, second := twiliotest.New(t, false), twiliotest.New(t, false)
				p := boot(t, "all", yaml(b, map[string]string{"first": texts(first.URL), "second": texts(second.URL)}, map[string]string{"sms": "gateways: [first, second]"}))
				send := func() (o outcome) {
					becomes(t, func() bool { // a machine that is slow beyond the attempt's time needs a second attempt
						o = b.outcome(p.post(samples["sms"]))
						require.Equal(t, notify.StateSent, o.State)
						return o.Step == 0 && o.Attempt == 1
					}, "sent by the first attempt")
					return o
				}
				require.Equal(t, "first", send().Gateway)
				ill.fall(first)
				o := send()
				require.Equal(t, "second", o.Gateway)
				require.Equal(t, []notify.Verdict{ill.verdict, notify.Accepted}, verdicts(o.Event))
				require.Equal(t, "first", o.Tries[0].Gateway)
				alone := 0
				for range 20 { // it takes fifteen failures to be left alone, and one refusal
					if o = send(); len(o.Tries) == 1 {
						alone++
					}
					require.Equal(t, "second", o.Gateway)
				}
				require.Positive(t, alone, "a gateway that is out of order is not asked by each in turn")
				require.Positive(t, p.sum("laudspeaker_circuit_state", `gateway="first"`))
				require.Zero(t, p.sum("laudspeaker_circuit_state", `gateway="second"`))

				first.Accept()
				require.Eventually(t, func() bool { return send().Gateway == "first" }, patience, 100*time.Millisecond)
				require.Zero(t, p.sum("laudspeaker_circuit_state"))
				require.Equal(t, "first", send().Gateway)
				b.noDeadLetters("sms_topic")
			})
		})
	}
}

// With weights, an attempt begins at a gateway that is drawn by them; the other one is there when it fails.
func TestAWeightedRoute(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		const n = 200
		large, small := twiliotest.New(t, false), twiliotest.New(t, false)
		p := boot(t, "all", yaml(b, map[string]string{"large": texts(large.URL), "small": texts(small.URL)}, map[string]string{"sms": "gateways: [large=70, small=30]"}))
		var ids []string
		for i := range n {
			ids = append(ids, p.post(smsTo(fmt.Sprintf("+1415555%04d", i), "hi")))
		}
		by := map[string]int{}
		for _, id := range ids {
			o := b.outcome(id)
			require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event))
			by[o.Gateway]++
		}
		require.Equal(t, map[string]int{"large": len(large.Accepted()), "small": len(small.Accepted())}, by)
		require.InDelta(t, n*70/100, by["large"], 33, "five times the standard deviation")

		small.Refuse()
		for i := range 20 {
			o := b.outcome(p.post(smsTo(fmt.Sprintf("+1415556%04d", i), "hi")))
			require.Equal(t, []any{notify.StateSent, "large"}, []any{o.State, o.Gateway})
		}
	})
}
