package cmd

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func mailTo(recipient string) string {
	return `{"channel":"email","recipient":"` + recipient + `","payload":{"subject":"Hello","text":"It works."}}`
}

// A transient answer puts the message off, each time as the next step of its run, until it is taken or its attempts are
// used up. Others do not wait for it.
func TestATransientAnswerIsTriedAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		r := newRelay(t)
		r.says(func(to string, try int, rcpt bool) error {
			if to == "never@example.com" || to == "soft@example.com" && try <= 2 {
				return reply(451, 4, 3, 0, "come back later, "+to)
			}
			return nil
		})
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail], " + soonAgain}))
		soft, never, other := p.post(mailTo("soft@example.com")), p.post(mailTo("never@example.com")), p.post(mailTo("ada@example.com"))

		o := b.outcome(other)
		require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event), "others do not wait")

		b.requireSteps(soft, notify.StateSent, 3)
		o = b.outcome(soft)
		b.requireOutcome(o, notify.StateSent, notify.ChannelEmail, b.step("email_topic", soft, 2))
		require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event))
		require.Equal(t, 3, o.Attempt)
		require.Len(t, r.taken("soft@example.com"), 1)

		b.requireSteps(never, notify.StateDead, 4)
		o = b.outcome(never)
		job := b.step("email_topic", never, 3)
		b.requireOutcome(o, notify.StateDead, notify.ChannelEmail, job)
		require.Equal(t, []notify.Verdict{notify.Transient}, verdicts(o.Event))
		require.Equal(t, []any{4, "451 4.3.0", "mail"}, []any{o.Attempt, o.Code, o.Gateway})
		require.True(t, strings.HasPrefix(o.Reason, notify.ReasonAttemptsUsedUp+": "), o.Reason)
		b.requireDeadLetter(b.deadLetter("email_topic", never), job, o, notify.ReasonAttemptsUsedUp)
		require.Empty(t, r.taken("never@example.com"))
		for _, o := range b.events(never) {
			require.NotContains(t, string(o.Value), "never@")
		}
	})
}

// requireSteps: a notification whose relay answered 451 was put off once after each attempt but the last, which ended it.
// It never came back early, and every step has the partition and the bytes of the first.
func (b *bus) requireSteps(id string, end notify.State, attempts int) {
	b.t.Helper()
	b.outcome(id)
	all, first := b.events(id), b.job("email_topic", id)
	require.Len(b.t, all, attempts, "an event for each attempt")
	for n, o := range all[:attempts-1] {
		job := first
		if n > 0 {
			job = b.step("email_topic", id, n)
		}
		b.requireOutcome(o, notify.StateRetrying, notify.ChannelEmail, job)
		require.Equal(b.t, []any{n + 1, "451 4.3.0"}, []any{o.Attempt, o.Code})
		require.Equal(b.t, []notify.Verdict{notify.Transient}, verdicts(o.Event))
		next := b.step("email_topic", id, n+1)
		require.NotNil(b.t, o.NextAt)
		require.False(b.t, all[n+1].At.Before(*o.NextAt), "never early")
		require.Equal(b.t, []any{first.Partition, first.Key, first.Value}, []any{next.Partition, next.Key, next.Value})
	}
	require.Equal(b.t, end, all[attempts-1].State)
}

// The provider says how long to wait, and is given that time; it costs no attempt.
func TestAThrottledJobWaitsForTheProvider(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		fake := twiliotest.New(t, false)
		fake.Fail(http.StatusTooManyRequests, 20429, http.Header{"Retry-After": {"2"}})
		p := boot(t, "all", yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"}))
		id := p.post(samples["sms"])
		require.Equal(t, "throttled", p.awaitLog("attempt")["verdict"])
		fake.Accept()
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateSent, notify.ChannelSMS, b.step("sms_topic", id, 1))
		require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event))
		require.Equal(t, 1, o.Attempt)
		all := b.events(id)
		require.Len(t, all, 2)
		b.requireOutcome(all[0], notify.StateRetrying, notify.ChannelSMS, b.job("sms_topic", id))
		require.Equal(t, []any{0, "20429"}, []any{all[0].Attempt, all[0].Code})
		require.Equal(t, []notify.Verdict{notify.Throttled}, verdicts(all[0].Event))
		require.GreaterOrEqual(t, o.At.Sub(b.job("sms_topic", id).Timestamp), 2*time.Second, "not before the provider's time")
		require.Len(t, fake.Accepted(), 1)
	})
}

// What expires while it waits comes back at that moment, and ends there.
func TestWhatIsTooOldIsNotSent(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		fake := fcmtest.New(t, false)
		fake.Fail(fcmtest.QuotaExceeded, nil) // which asks for a minute
		p := boot(t, "all", yaml(b, map[string]string{"pushes": pushes(fake)}, map[string]string{"push": "gateways: [pushes]"}))
		until := time.Now().Add(3 * time.Second).UTC().Truncate(time.Millisecond)
		id := p.post(strings.Replace(samples["push"], "{", `{"expires_at":"`+until.Format(time.RFC3339Nano)+`",`, 1))
		p.awaitLog("attempt")
		fake.Accept()
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateExpired, notify.ChannelPush, b.step("push_topic", id, 1))
		require.Empty(t, o.Tries)
		require.Equal(t, []any{0, notify.ReasonExpired}, []any{o.Attempt, o.Reason})
		require.False(t, o.At.Before(until))
		all := b.events(id)
		require.Len(t, all, 2)
		require.Equal(t, []notify.Verdict{notify.Throttled}, verdicts(all[0].Event))
		require.True(t, all[0].NextAt.Equal(until), "no wait lasts longer than the message is worth")
		require.Empty(t, fake.Accepted())
		b.noDeadLetters("push_topic")
	})
}

// While the relay refuses our password nothing is lost: what waits stays in Kafka and goes out once it is right again.
func TestAWrongPassword(t *testing.T) {
	t.Parallel()
	const mails = 300
	onEachBus(t, func(t *testing.T, b *bus) {
		t.Parallel() // ten seconds pass before the relay is asked again
		r := newRelay(t)
		r.want("another")
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		began := time.Now()
		ids := map[string]bool{p.post(mailTo("ada@example.com")): true}
		line := p.awaitLog("the gateway refuses us: without another one the backlog waits until it serves us again, and nothing is lost")
		require.Equal(t, []any{"error", "mail", "set gateways.mail.username and .password to what the relay accepts"}, []any{line["level"], line["gateway"], line["remedy"]})
		require.Contains(t, bodyOf(t, p.Admin+"/metrics"), `laudspeaker_circuit_state{gateway="mail"} 2`)
		for i := range mails {
			ids[p.post(mailTo(fmt.Sprintf("ada%d@example.com", i)))] = true
		}
		refused := r.want(relayPassword)
		require.LessOrEqual(t, refused, 1+int(time.Since(began)/(10*time.Second)), "fetching stops: the relay is asked once, and then every ten seconds")
		require.Equal(t, http.StatusOK, statusOf(p.API+"/livez"))

		p.awaitLog("the gateway serves us again")
		require.Eventually(t, func() bool { return r.total() == len(ids) }, patience, 50*time.Millisecond)
		for id := range ids {
			o := b.outcome(id)
			require.Equal(t, []any{notify.StateSent, 0}, []any{o.State, o.Step}, "it waited in its place")
			require.Equal(t, 1, o.Attempt, "what the relay refuses us for is no attempt")
		}
		require.Equal(t, len(ids), r.total())
		b.noDeadLetters("email_topic")
		require.Contains(t, bodyOf(t, p.Admin+"/metrics"), `laudspeaker_circuit_state{gateway="mail"} 0`)
		require.NotContains(t, p.Log.String(), relayPassword)
	})
}
