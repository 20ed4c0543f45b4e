package cmd

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mailAbout is a mail with that subject.
func mailAbout(recipient, subject string, fields ...string) string {
	return `{"channel":"email","recipient":"` + recipient + `","payload":{"subject":"` + subject + `","text":"t"}` + strings.Join(append([]string{""}, fields...), ",") + `}`
}

// slowDots makes r wait with its reply to mails that have the word. Each mail that waits is told on the channel, which has room
// for them.
func slowDots(r *smtptest.Relay, word string) (waiting chan string, goOn func()) {
	waiting, gate := make(chan string, 100), make(chan struct{})
	r.Pause(func(c smtptest.Command) <-chan struct{} {
		if c.Verb != smtptest.Dot || !strings.Contains(c.Mail, word) {
			return nil
		}
		waiting <- c.To[0]
		return gate
	})
	return waiting, func() { close(gate) }
}

func relaySection(r *smtptest.Relay, more string) string {
	return "type: smtp, host: 127.0.0.1, port: " + strconv.Itoa(r.Port) + ", tls: none, from: 'Acme <no-reply@acme.example>'" + more
}

// copiesOf counts the mails to an address that a relay has accepted.
func copiesOf(r *smtptest.Relay, address string) (n int) {
	for _, m := range r.Mails() {
		if m.To[0] == address {
			n++
		}
	}
	return n
}

// A relay takes longer for its final replies than the gateway's timeout. Each message is sent once, by its own relay; the other
// gateway and lane urgent go on meanwhile.
func TestEmailWait_OthersGoOn(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		first, second := smtptest.New(t), smtptest.New(t)
		waiting, goOn := slowDots(first, "Subject: slow")
		p := boot(t, "all", yaml(b, map[string]string{
			"mail": relaySection(first, ", connections: 4, concurrency: 4, timeout: 1s"), "backup": relaySection(second, ""),
		}, map[string]string{"email": "gateways: [mail, backup], concurrency: 3"}))
		slow := map[string]string{}
		for _, to := range []string{"a@example.com", "b@example.com", "c@example.com"} {
			slow[to] = p.post(mailAbout(to, "slow"))
		}
		for range slow {
			<-waiting
		}
		for i := range 12 { // more than the lane has slots
			to := "u" + strconv.Itoa(i) + "@example.com"
			life := p.awaitState(p.post(mailAbout(to, "quick")), notify.StateSent)
			require.Equal(t, "backup", life.Gateway, "the fourth connection is lane urgent's")
		}
		life := p.awaitState(p.post(mailAbout("code@example.com", "code", `"lane":"urgent"`)), notify.StateSent)
		require.Equal(t, "mail", life.Gateway)
		require.Len(t, second.Mails(), 12)
		require.Len(t, first.Mails(), 1)
		goOn()
		for to, id := range slow {
			require.Equal(t, "mail", p.awaitState(id, notify.StateSent).Gateway)
			require.Equal(t, 1, copiesOf(first, to))
		}
		require.Len(t, second.Mails(), 12)
	})
}

// At a shutdown the wait is cut to the drain. Nobody knows then whether the relay has the message, and the message says what
// happens.
func TestEmailWait_ShutdownLeavesItInDoubt(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		relay := smtptest.New(t)
		waiting, goOn := slowDots(relay, "Subject: slow")
		settings := yaml(b, map[string]string{"mail": relaySection(relay, ", connections: 4, timeout: 1s")}, map[string]string{"email": "gateways: [mail]"})
		api := boot(t, "serve-api", settings)
		worker := boot(t, "work --channel email", settings)
		again := api.post(mailAbout("again@example.com", "slow"))
		held := api.post(mailAbout("held@example.com", "slow", `"on_ambiguous":"hold"`))
		<-waiting
		<-waiting
		require.Zero(t, worker.stop())
		ends := map[notify.State]bool{}
		for _, id := range []string{again, held} {
			o := b.event(id, func(e notify.Event) bool { return len(e.Tries) > 0 })
			require.Equal(t, notify.Ambiguous, o.Event.Tries[0].Verdict)
			ends[o.Event.State] = true
		}
		require.Equal(t, map[notify.State]bool{notify.StateRetrying: true, notify.StateHeld: true}, ends)
		goOn()
		require.Eventually(t, func() bool { return len(relay.Mails()) == 2 }, time.Minute, time.Millisecond, "the relay had both")
		boot(t, "work --channel email", settings)
		api.awaitState(again, notify.StateSent)
		api.awaitState(held, notify.StateHeld)
		require.Equal(t, 2, copiesOf(relay, "again@example.com"), "on_ambiguous: resend")
		require.Equal(t, 1, copiesOf(relay, "held@example.com"))
	})
}
