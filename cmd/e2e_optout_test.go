package cmd

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	sayAt       = "https://notify.example.com/hook/v1/inbound/"
	smsService  = "MG0123456789abcdef0123456789abcdef"
	optedPerson = "+14155550123"
)

// says forwards a text and returns the answer for the provider.
func (p *program) says(r *http.Request) (status int, answer string) {
	p.t.Helper()
	response := p.forward(r)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return response.StatusCode, string(body)
}

// fate is how a run has ended for its worker: a text that was sent, too, whose receipt is awaited.
func (b *bus) fate(id string) outcome {
	b.t.Helper()
	return b.event(id, func(e notify.Event) bool { return e.State.Final() && e.Note == "" })
}

// until asks on the test's own goroutine, again and again: the question fails the test if it cannot be answered. Each answer takes
// its time.
func until(t *testing.T, is func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); {
		require.True(t, time.Now().Before(end), what)
	}
}

// bySender returns what Twilio has accepted from a sender so far.
func bySender(f *twiliotest.Server, sender string) (n int) {
	for _, p := range f.Accepted() {
		if p.Get("From")+p.Get("MessagingServiceSid") == sender {
			n++
		}
	}
	return n
}

// optOutSettings are two gateways on one Twilio account: texts by a number, backup by a messaging service.
func optOutSettings(b *bus, base, more string) string {
	backup := strings.Replace(texts(base), "from: '+15005550006'", "messaging_service_sid: "+smsService, 1)
	return publicly + more + yaml(b, map[string]string{"texts": texts(base), "backup": backup}, map[string]string{"sms": "gateways: [texts, backup]"})
}

// TestOptOut_StopAndStart: a STOP to one sender leaves the other one working, in every lane. Of all senders it ends the texts. START
// takes back what STOP did, and no decision of a person.
func TestOptOut_StopAndStart(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := optOutSettings(b, fake.URL, "")
		api, _ := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		file := write(t, settings)
		sms := 0
		say := func(gateway, to, body string, change ...func(url.Values)) {
			t.Helper()
			sms++
			form := twiliotest.Text(twiliotest.SID(1000+sms), optedPerson, to, body)
			if gateway == "backup" {
				form.Set("MessagingServiceSid", smsService)
			}
			for _, c := range change {
				c(form)
			}
			status, answer := api.says(twiliotest.Signed(sayAt+gateway, form, twiliotest.AuthToken))
			require.Equal(t, 200, status, answer)
			require.Equal(t, `<?xml version="1.0" encoding="UTF-8"?><Response></Response>`, answer)
		}
		// goesBy sends until a text ends so: workers know of an opt-out within a second.
		goesBy := func(gateway string, members ...string) {
			t.Helper()
			until(t, func() bool {
				o := b.fate(api.post(smsTo(optedPerson, "code 1234", members...)))
				return o.State == notify.StateSent && o.Gateway == gateway || gateway == "" && o.State == notify.StateSuppressed
			}, "by "+gateway)
		}
		goesBy("texts")
		say("texts", "+15005550006", " stop\n")
		goesBy("backup")
		for _, lane := range notify.Lanes() {
			o := b.fate(api.post(smsTo(optedPerson, "code 1234", `"lane":"`+string(lane)+`"`)))
			require.Equal(t, []any{notify.StateSent, "backup"}, []any{o.State, o.Gateway}, lane)
		}
		o := b.fate(api.post(smsTo("+14155550124", "code 1234")))
		require.Equal(t, "texts", o.Gateway, "others are not blocked")
		o = b.fate(api.post(smsTo(optedPerson, "code 1234", `"tenant":"another"`)))
		require.Equal(t, "texts", o.Gateway, "other tenants are not, which have not sent texts to the number")

		say("backup", "+15550100777", "STOPALL")
		goesBy("")
		before := len(fake.Accepted())
		o = b.fate(api.post(smsTo(optedPerson, "code 1234", `"lane":"urgent"`)))
		require.Equal(t, []any{notify.StateSuppressed, notify.ReasonOptedOut}, []any{o.State, o.Reason})
		require.Empty(t, o.Tries)
		require.Len(t, fake.Accepted(), before)
		code, out, errs := run(t, "suppress", "--list", "--config", file)
		require.Zero(t, code, errs)
		require.Regexp(t, `(?m)^sms/\+14155550123  since \d{4}-.*, opted_out STOP, of sender \+15005550006, by gateway texts$`, out)
		require.Regexp(t, `(?m)^sms/\+14155550123  since \d{4}-.*, opted_out STOP, of sender MG0123456789abcdef0123456789abcdef, by gateway backup$`, out)
		_, out, _ = run(t, "suppress", "--list", "--json", "--config", file)
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(strings.SplitAfter(out, "\n")[0]), &line))
		require.NotEmpty(t, line["at"])
		require.Equal(t, []any{"suppression", "default", "sms", optedPerson, "opted_out", "sender", "+15005550006", "texts", "STOP"},
			[]any{line["kind"], line["tenant"], line["channel"], line["address"], line["reason"], line["scope"], line["sender"], line["gateway"], line["code"]})

		code, _, errs = run(t, "suppress", "--channel", "sms", optedPerson, "--config", file)
		require.Zero(t, code, errs)
		say("backup", "+15550100777", "no keyword", func(f url.Values) { f.Set("OptOutType", "START") })
		known := b.hear(file)
		becomes(t, func() bool { return !known.SenderBlocked("default", notify.ChannelSMS, optedPerson, smsService) }, "lifted")
		require.True(t, known.Suppressed("default", notify.ChannelSMS, optedPerson), "START is no decision of the person who suppressed")
		require.True(t, known.SenderBlocked("default", notify.ChannelSMS, optedPerson, "+15005550006"), "and only for its sender")
		code, out, errs = run(t, "unsuppress", "--channel", "sms", "--reason", "manual", optedPerson, "--config", file)
		require.Zero(t, code, errs)
		require.Contains(t, out, "no longer suppressed on channel sms: 1, ")
		goesBy("backup", `"lane":"urgent"`)
		say("texts", "+15005550006", "Unstop")
		goesBy("texts")

		_, out, _ = run(t, "suppress", "--list", "--config", file)
		require.Equal(t, "Nobody is suppressed.\n", out)
		require.Positive(t, bySender(fake, smsService))
	})
}

// TestOptOut_ByTheProvidersAnswer: a 21610 blocks the sender, and the text goes out by the next one.
func TestOptOut_ByTheProvidersAnswer(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		refusing, fake := twiliotest.New(t, false), twiliotest.New(t, false)
		refusing.Fail(http.StatusBadRequest, 21610, nil)
		backup := strings.Replace(texts(fake.URL), "+15005550006", "+15005550009", 1)
		settings := publicly + yaml(b, map[string]string{"texts": texts(refusing.URL), "backup": backup}, map[string]string{"sms": "gateways: [texts, backup]"})
		api, _ := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		o := b.fate(api.post(smsTo(optedPerson, "code 1234", `"lane":"urgent"`)))
		require.Equal(t, []any{notify.StateSent, "backup", 2}, []any{o.State, o.Gateway, len(o.Tries)})
		require.Equal(t, []any{"texts", "21610"}, []any{o.Tries[0].Gateway, o.Tries[0].Code})
		until(t, func() bool {
			o = b.fate(api.post(smsTo(optedPerson, "code 1234", `"lane":"urgent"`)))
			return len(o.Tries) == 1 && o.Gateway == "backup"
		}, "the first sender is not asked any more")

		// A receipt creates the same entry, for the sender of the text.
		status, result := api.bring(fake.Report(0, "failed", "21610"))
		require.Equal(t, []any{200, "recorded"}, []any{status, result})
		until(t, func() bool {
			o = b.fate(api.post(smsTo(optedPerson, "code 1234", `"lane":"urgent"`)))
			return o.State == notify.StateSuppressed && o.Reason == notify.ReasonOptedOut
		}, "by the receipt")
		known := b.hear(write(t, settings))
		for _, sender := range []string{"+15005550006", "+15005550009"} {
			require.True(t, known.SenderBlocked("default", notify.ChannelSMS, optedPerson, sender), sender)
		}
		require.False(t, known.Suppressed("default", notify.ChannelSMS, optedPerson))
	})
}

// TestOptOut_ScopeTenant: one STOP ends the texts of all senders, and one START to any of them lifts that; the sender that was told
// STOP stays blocked, as its provider has it.
func TestOptOut_ScopeTenant(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := optOutSettings(b, fake.URL, "sms: {opt_out_scope: tenant, stop_words: [basta]}\n")
		api, _ := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		b.fate(api.post(smsTo(optedPerson, "hi")))
		status, _ := api.says(twiliotest.Inbound(sayAt+"texts", twiliotest.SID(1001), optedPerson, "+15005550006", "Basta"))
		require.Equal(t, 200, status)
		until(t, func() bool { return b.fate(api.post(smsTo(optedPerson, "hi"))).State == notify.StateSuppressed }, "by all senders")
		form := twiliotest.Text(twiliotest.SID(1002), optedPerson, "+15550100777", "START")
		form.Set("MessagingServiceSid", smsService)
		status, _ = api.says(twiliotest.Signed(sayAt+"backup", form, twiliotest.AuthToken))
		require.Equal(t, 200, status)
		until(t, func() bool { return b.fate(api.post(smsTo(optedPerson, "hi"))).Gateway == "backup" }, "by the sender that was told START")
	})
}

// TestOptOut_WhatIsNotBelieved, or is said once more, changes nothing.
func TestOptOut_WhatIsNotBelieved(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := optOutSettings(b, fake.URL, "")
		api, _ := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		sid := twiliotest.SID(1001)
		good := func() *http.Request {
			return twiliotest.Inbound(sayAt+"texts", sid, optedPerson, "+15005550006", "STOP")
		}
		flipped := good()
		signature := []byte(flipped.Header.Get("X-Twilio-Signature"))
		signature[0] ^= 1
		flipped.Header.Set("X-Twilio-Signature", string(signature))
		other := twiliotest.Text(sid, optedPerson, "+15005550006", "STOP")
		other.Set("AccountSid", "ACffffffffffffffffffffffffffffffff")
		elsewhere := good()
		elsewhere.URL.Path = "/hook/v1/inbound/backup"
		elsewhere.Host = "evil.example"
		large := twiliotest.Inbound(sayAt+"texts", sid, optedPerson, "+15005550006", strings.Repeat("a", 70_000))
		for name, c := range map[string]struct {
			r      *http.Request
			status int
		}{
			"flipped":             {flipped, 403},
			"another key":         {twiliotest.Signed(sayAt+"texts", twiliotest.Text(sid, optedPerson, "+15005550006", "STOP"), twiliotest.APISecret), 403},
			"another account":     {twiliotest.Signed(sayAt+"texts", other, twiliotest.AuthToken), 403},
			"for another gateway": {elsewhere, 403},
			"a foreign number":    {twiliotest.Inbound(sayAt+"texts", sid, optedPerson, "+15005550001", "STOP"), 404},
			"no gateway":          {twiliotest.Inbound(sayAt+"nobody", sid, optedPerson, "+15005550006", "STOP"), 404},
			"no message":          {twiliotest.Inbound(sayAt+"texts", "", optedPerson, "+15005550006", "STOP"), 422},
			"too large":           {large, 413},
		} {
			status, answer := api.says(c.r)
			require.Equal(t, c.status, status, "%s: %s", name, answer)
			require.NotContains(t, answer, optedPerson)
		}
		file := write(t, settings)
		known := b.hear(file)
		require.Zero(t, known.List().Suppressions)

		status, _ := api.says(good())
		require.Equal(t, 200, status)
		becomes(t, func() bool { return known.SenderBlocked("default", notify.ChannelSMS, optedPerson, "+15005550006") }, "blocked")
		status, _ = api.says(twiliotest.Inbound(sayAt+"texts", twiliotest.SID(1002), optedPerson, "+15005550006", "START"))
		require.Equal(t, 200, status)
		becomes(t, func() bool { return known.List().Suppressions == 0 }, "lifted")
		written := func() (n int) {
			for _, r := range b.all("control_topic") {
				if strings.HasPrefix(string(r.Key), string(control.KindSuppression)+":") {
					n++
				}
			}
			return n
		}
		before := written()
		for range 3 { // the STOP again
			status, _ = api.says(good())
			require.Equal(t, 200, status)
		}
		require.Equal(t, before, written(), "nothing was written")
		for result, n := range map[string]int{"forged": 4, "foreign": 1, "unknown": 1, "invalid": 1, "stop": 1, "start": 1, "repeated": 3} {
			require.EqualValues(t, n, api.sum("laudspeaker_inbound_total", `result="`+result+`"`), result)
		}
	})
}

// TestOptOut_StartLiftsWhatIsOld: an entry of a tenant whose texts the status store does not know any more.
func TestOptOut_StartLiftsWhatIsOld(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := optOutSettings(b, fake.URL, "")
		api := boot(t, "serve-api", settings)
		old := control.OptOut("acme", "+15005550006", optedPerson)
		manual := control.Suppress("acme", notify.ChannelSMS, optedPerson)
		b.publish(kafka.Message{Topic: b.prefix + "control_topic", Key: old.Record().Key, Value: old.Record().Value})
		b.publish(kafka.Message{Topic: b.prefix + "control_topic", Key: manual.Record().Key, Value: manual.Record().Value})
		known := b.hear(write(t, settings))
		require.True(t, known.SenderBlocked("acme", notify.ChannelSMS, optedPerson, "+15005550006"))
		n := 1000
		until(t, func() bool { // once the API has read the topic, too
			n++
			status, _ := api.says(twiliotest.Inbound(sayAt+"texts", twiliotest.SID(n), optedPerson, "+15005550006", "START"))
			return status == 200 && !known.SenderBlocked("acme", notify.ChannelSMS, optedPerson, "+15005550006")
		}, "lifted")
		require.True(t, known.Suppressed("acme", notify.ChannelSMS, optedPerson))
	})
}

// TestInbound_Events: a text is a note of the last one that was sent to the number, or an event of its own; its number and words only
// where they are asked for.
func TestInbound_Events(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		fake := twiliotest.New(t, false)
		settings := optOutSettings(b, fake.URL, "")
		api, worker := boot(t, "serve-api", settings), boot(t, "work --channel=sms", settings)
		id := api.post(smsTo(optedPerson, "do you come?", `"reference":"visit 7"`, `"tenant":"acme"`))
		api.awaitState(id, notify.StateSent)
		status, _ := api.says(twiliotest.Inbound(sayAt+"texts", twiliotest.SID(1001), optedPerson, "+15005550006", "Yes, at gwseven"))
		require.Equal(t, 200, status)
		o := b.event(id, func(e notify.Event) bool { return e.Note == notify.NoteInbound })
		require.Equal(t, []any{notify.StateSent, false, "acme", "visit 7", "texts", twiliotest.SID(1001)}, []any{o.State, o.Final, o.Tenant, o.Reference, o.Gateway, o.ProviderID})
		require.Equal(t, notify.EventInbound{From: notify.Mask(optedPerson), To: "+15005550006"}, *o.Inbound)
		until(t, func() bool { return len(api.awaitState(id, notify.StateSent).Timeline) == 3 }, "it is in the timeline")
		life := api.awaitState(id, notify.StateSent)
		require.Equal(t, "SM", life.ProviderID[:2])
		require.NotEqual(t, twiliotest.SID(1001), life.ProviderID, "the state is as it was")
		require.Equal(t, o.Inbound, life.Timeline[2].Inbound)
		status, result := api.bring(fake.Report(0, "delivered", ""))
		require.Equal(t, []any{200, "recorded"}, []any{status, result})
		require.Len(t, api.awaitState(id, notify.StateDelivered).Timeline, 4)

		status, _ = api.says(twiliotest.Inbound(sayAt+"texts", twiliotest.SID(1002), "+14155550999", "+15005550006", "STOP"))
		require.Equal(t, 200, status)
		var list struct{ Data []notify.Life }
		becomes(t, func() bool { return api.get("/v1/notifications?state=received", &list) == 200 && len(list.Data) == 1 }, "of a stranger")
		life = api.awaitState(list.Data[0].ID, notify.StateReceived)
		require.Equal(t, []any{notify.KeywordStop, "default", true}, []any{life.Timeline[0].Inbound.Keyword, life.Tenant, life.Final})
		for _, r := range b.all("status_topic") {
			require.NotContains(t, string(r.Value), "gwseven")
			require.NotContains(t, string(r.Value), optedPerson)
		}
		require.Zero(t, api.stop())
		require.Zero(t, worker.stop())

		api = boot(t, "serve-api", optOutSettings(b, fake.URL, "sms: {inbound: full}\n"))
		status, _ = api.says(twiliotest.Inbound(sayAt+"texts", twiliotest.SID(1003), "+14155550888", "+15005550006", "Hello 👋"))
		require.Equal(t, 200, status)
		r := b.await("status_topic", func(r *kafka.Record) bool { return strings.Contains(string(r.Value), twiliotest.SID(1003)) })
		var e notify.Event
		require.NoError(t, json.Unmarshal(r.Value, &e))
		require.Equal(t, notify.EventInbound{From: "+14155550888", To: "+15005550006", Text: "Hello 👋"}, *e.Inbound)
	})
}
