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

func TestATransientAnswerIsTriedAgain(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := newRelay(t)
		r.says(func(to string, try int, rcpt bool) error {
			if to == "never@example.com" || to == "soft@example.com" && try <= 2 {
				return reply(451, 4, 3, 0, "come back later, "+to)
			}
			return nil
		})
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		soft, never, other := p.post(mailTo("soft@example.com")), p.post(mailTo("never@example.com")), p.post(mailTo("ada@example.com"))

		o := b.outcome(other)
		require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event), "others do not wait")

		o = b.outcome(soft)
		b.requireOutcome(o, notify.StateSent, notify.ChannelEmail, b.job("email_topic", soft))
		require.Equal(t, []notify.Verdict{notify.Transient, notify.Transient, notify.Accepted}, verdicts(o.Event))
		require.Equal(t, 3, o.Attempt)
		require.Equal(t, "451 4.3.0", o.Tries[0].Code)
		require.Len(t, r.taken("soft@example.com"), 1)

		o = b.outcome(never)
		job := b.job("email_topic", never)
		b.requireOutcome(o, notify.StateDead, notify.ChannelEmail, job)
		require.Equal(t, []notify.Verdict{notify.Transient, notify.Transient, notify.Transient, notify.Transient}, verdicts(o.Event))
		require.Equal(t, []any{4, "451 4.3.0", "mail"}, []any{o.Attempt, o.Code, o.Gateway})
		require.True(t, strings.HasPrefix(o.Reason, notify.ReasonAttemptsUsedUp+": "), o.Reason)
		b.requireDeadLetter(b.deadLetter("email_topic", never), job, o, notify.ReasonAttemptsUsedUp)
		require.NotContains(t, string(o.Value), "never@")
		require.Empty(t, r.taken("never@example.com"))
	})
}

// The provider says how long to wait, and is given that time; it costs no attempt.
func TestAThrottledJobWaitsForTheProvider(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		fake.Fail(http.StatusTooManyRequests, 20429, http.Header{"Retry-After": {"2"}})
		p := boot(t, "all", yaml(b, map[string]string{"texts": texts(fake.URL)}, map[string]string{"sms": "gateways: [texts]"}))
		id := p.post(samples["sms"])
		require.Equal(t, "throttled", p.awaitLog("attempt")["verdict"])
		fake.Accept()
		o, job := b.outcome(id), b.job("sms_topic", id)
		b.requireOutcome(o, notify.StateSent, notify.ChannelSMS, job)
		require.Equal(t, []notify.Verdict{notify.Throttled, notify.Accepted}, verdicts(o.Event))
		require.Equal(t, []any{1, "20429"}, []any{o.Attempt, o.Tries[0].Code})
		require.GreaterOrEqual(t, o.At.Sub(job.Timestamp), 2*time.Second, "not before the provider's time")
		require.Len(t, fake.Accepted(), 1)
	})
}

func TestWhatIsTooOldIsNotSent(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := fcmtest.New(t, false)
		fake.Fail(fcmtest.QuotaExceeded, nil) // which asks for a minute
		p := boot(t, "all", yaml(b, map[string]string{"pushes": pushes(fake)}, map[string]string{"push": "gateways: [pushes]"}))
		until := time.Now().Add(3 * time.Second).UTC().Truncate(time.Millisecond)
		id := p.post(strings.Replace(samples["push"], "{", `{"expires_at":"`+until.Format(time.RFC3339Nano)+`",`, 1))
		p.awaitLog("attempt")
		fake.Accept()
		o := b.outcome(id)
		b.requireOutcome(o, notify.StateExpired, notify.ChannelPush, b.job("push_topic", id))
		require.Equal(t, []notify.Verdict{notify.Throttled}, verdicts(o.Event))
		require.Equal(t, []any{0, notify.ReasonExpired}, []any{o.Attempt, o.Reason})
		require.False(t, o.At.Before(until))
		require.Empty(t, fake.Accepted())
		b.noDeadLetters("push_topic")
	})
}

// While the relay refuses our password nothing is lost: what waits stays in Kafka and goes out once it is right again.
func TestAWrongPassword(t *testing.T) {
	t.Parallel()
	const mails = 300
	onEachBus(t, func(t *testing.T, b *bus) {
		t.Parallel() // half a minute passes before the relay is asked again
		r := newRelay(t)
		r.want("another")
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		ids := map[string]bool{p.post(mailTo("ada@example.com")): true}
		line := p.awaitLog("the gateway refuses us: fetching stops until it serves us again, nothing is lost")
		require.Equal(t, []any{"error", "mail", "set gateways.mail.username and .password to what the relay accepts"}, []any{line["level"], line["gateway"], line["remedy"]})
		require.Contains(t, bodyOf(t, p.Admin+"/metrics"), `laudspeaker_gateway_unavailable{channel="email",gateway="mail"} 1`)
		for i := range mails {
			ids[p.post(mailTo(fmt.Sprintf("ada%d@example.com", i)))] = true
		}
		require.Equal(t, 1, r.want(relayPassword), "fetching stops: the relay was asked once")
		require.Equal(t, http.StatusOK, statusOf(p.API+"/livez"))

		p.awaitLog("the gateway serves us again: fetching goes on")
		require.Eventually(t, func() bool { return r.total() == len(ids) }, time.Minute, 50*time.Millisecond)
		for id := range ids {
			require.Equal(t, notify.StateSent, b.outcome(id).State)
		}
		require.Equal(t, len(ids), r.total())
		b.noDeadLetters("email_topic")
		require.Contains(t, bodyOf(t, p.Admin+"/metrics"), `laudspeaker_gateway_unavailable{channel="email",gateway="mail"} 0`)
		require.NotContains(t, p.Log.String(), relayPassword)
	})
}
