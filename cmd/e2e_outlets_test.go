package cmd

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A provider that is not there for a while costs nobody a message: those who find out use a few attempts, the others wait
// in Kafka, and all go out when it is back, without anybody's help.
func TestAGatewayThatIsAway(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		const each = 60
		address := freeAddress("127.0.0.1")
		p := boot(t, "all", yaml(b, map[string]string{"texts": texts("http://" + address)}, map[string]string{"sms": "gateways: [texts], " + soonAgain}))
		var ids []string
		post := func(body string, members ...string) {
			for i := range each {
				ids = append(ids, p.post(smsTo(fmt.Sprintf("+1415555%04d", i), body, members...)))
			}
		}
		post("first")
		p.awaitLog("the gateway fails: it is left alone but for a probe now and then; without another one the backlog waits, and nothing is lost")
		post("second")
		post("urgent", `"lane":"urgent"`)
		require.Positive(t, p.sum("laudspeaker_circuit_state", `gateway="texts"`))
		require.Eventually(t, func() bool { return p.sum("laudspeaker_backlog") >= 2*each }, patience, 20*time.Millisecond, "what waits is seen")
		require.Equal(t, http.StatusOK, statusOf(p.Admin+"/readyz"), "it is the provider's fault, and no restart would help")
		b.noDeadLetters("sms_topic")

		s := newTurnstile(t, address, nil)
		p.awaitLog("the gateway serves us again")
		attempts := 0
		for _, id := range ids {
			o := b.outcome(id)
			require.Equal(t, notify.StateSent, o.State)
			attempts += o.Attempt
		}
		require.LessOrEqual(t, attempts-len(ids), 15, "attempts that were used up")
		require.Len(t, s.arrivals(), len(ids))
		require.Zero(t, p.sum("laudspeaker_circuit_state"))
		require.Zero(t, p.sum("laudspeaker_dead_letters_total"))
		require.Eventually(t, func() bool { return p.sum("laudspeaker_backlog")+p.sum("laudspeaker_waiting") == 0 }, patience, 20*time.Millisecond)
		b.noDeadLetters("sms_topic")
	})
}

// What an operator has paused waits, and goes on at a word.
func TestAPausedGatewayAndAPausedLane(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		s := newTurnstile(t, "", nil)
		settings := yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"})
		p, file := boot(t, "all", settings), write(t, settings)
		say := func(args ...string) {
			t.Helper()
			code, _, errs := run(t, append(args, "--config", file)...)
			require.Zero(t, code, errs)
		}
		for what, target := range map[string][]string{"gateway": {"--gateway", "texts"}, "lane": {"--channel", "sms", "--lane", "normal"}} {
			say(append([]string{"pause"}, target...)...)
			during(3 * time.Second) // the command promises one second; a busy machine takes longer
			before := len(s.arrivals())
			ids := []string{p.post(smsTo("+14155550100", what)), p.post(smsTo("+14155550101", what))}
			require.Eventually(t, func() bool { return p.sum("laudspeaker_backlog", `lane="normal"`) == 2 }, patience, 20*time.Millisecond)
			if what == "lane" {
				require.Equal(t, notify.StateSent, b.outcome(p.post(smsTo("+14155550102", what, `"lane":"urgent"`))).State, "the others go on")
				before++
			}
			require.Len(t, s.arrivals(), before)
			say(append([]string{"resume"}, target...)...)
			for _, id := range ids {
				o := b.outcome(id)
				require.Equal(t, []any{notify.StateSent, 0, 1}, []any{o.State, o.Step, o.Attempt})
			}
		}
	})
}
