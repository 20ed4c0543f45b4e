package cmd

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/gateway/twilio/twiliotest"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// newKey makes a key as an operator does: the key, and the line for the configuration.
func newKey(t *testing.T, name string, scopes ...string) (key, line string) {
	t.Helper()
	args := []string{"keys", "generate", name}
	if len(scopes) > 0 {
		args = append(args, "--scopes", strings.Join(scopes, ","))
	}
	code, out, errs := run(t, args...)
	require.Zero(t, code, errs)
	return strings.Fields(out[strings.Index(out, "  ls_"):])[0], strings.TrimSpace(out[strings.Index(out, "- {"):])
}

// The commands against a running server, each with a key that may do so and with one that may not.
func TestClientCommandsWithKeys(t *testing.T) {
	both, bothLine := newKey(t, "shop")
	send, sendLine := newKey(t, "sender", "send")
	read, readLine := newKey(t, "reader", "read")
	p := boot(t, "all", "api:\n  keys:\n    "+strings.Join([]string{bothLine, sendLine, readLine}, "\n    ")+"\n")
	with := func(key string, args ...string) (int, string, string) {
		return run(t, append(args, "--server", p.API, "--key", key)...)
	}
	refused := func(status string, key string, args ...string) {
		t.Helper()
		code, out, errs := with(key, args...)
		require.Equal(t, 1, code)
		require.Empty(t, out)
		require.Contains(t, errs, "laudspeaker: the server answers "+status)
	}
	file := filepath.Join(t.TempDir(), "Ärger.txt")
	require.NoError(t, os.WriteFile(file, []byte("attached"), 0o600))
	ids := map[string]string{}
	for channel, args := range map[string][]string{
		"email": {"--to", "Ada <ada@example.com>", "--subject", "Grüße", "--text", "It works.", "--html", "<b>It works.</b>", "--attach", file, "--bcc", "b@example.com"},
		"sms":   {"--to", "+14155550100", "--body", "It works."},
		"push":  {"--to", "news", "--type", "topic", "--title", "Hello", "--body", "It works.", "--data", "order=42"},
	} {
		args = append([]string{"send", channel}, args...)
		refused("401", "", args...)
		refused("401", both[:len(both)-1], args...)
		refused("403", read, args...)
		code, out, errs := with(send, args...)
		require.Zero(t, code, errs)
		id, state, _ := strings.Cut(strings.TrimSpace(out), " ")
		require.Equal(t, "queued", state)
		ids[channel] = id
	}
	code, _, errs := with(send, "send", "sms", "--to", "0800 REVERSE", "--body", "hi")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "422")
	require.Contains(t, errs, "\n  #/recipient: give an E.164 number")
	require.NotContains(t, errs, "REVERSE")

	refused("403", send, "outbox")
	refused("403", send, "outbox", ids["sms"])
	var list string
	require.Eventually(t, func() bool {
		_, list, _ = with(read, "outbox")
		return strings.Count(list, "\n") == 3
	}, patience, 20*time.Millisecond)
	for channel, id := range ids {
		require.Regexp(t, channel+`\s+`+id, list)
	}
	_, mail, _ := with(both, "outbox", ids["email"])
	require.Contains(t, mail, "To: \"Ada\" <ada@example.com>")
	require.NotContains(t, mail, "b@example.com")
	code, out, errs := with(read, "outbox", ids["push"], "--json")
	require.Zero(t, code, errs)
	var captured notify.Captured
	require.NoError(t, json.Unmarshal([]byte(out), &captured))
	require.Equal(t, []string{ids["push"], "news", "Hello"}, []string{captured.ID, captured.Recipient, captured.Summary})
	refused("404", read, "outbox", strings.Replace(ids["sms"], ids["sms"][:4], "0000", 1))
	for _, key := range []string{both, send, read} {
		require.NotContains(t, p.Log.String(), key[strings.LastIndexByte(key, '_'):])
	}
}

func TestOutboxFollows(t *testing.T) {
	t.Parallel()
	p := boot(t, "all", "")
	ctx, interrupt := context.WithCancel(t.Context())
	out, ended := &output{}, make(chan int, 1)
	go func() { ended <- Execute(ctx, []string{"outbox", "--follow", "--server", p.API}, out, out) }()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Nothing has been captured yet") }, patience, 10*time.Millisecond)
	for range 2 {
		id := p.post(hello)
		require.Eventually(t, func() bool { return strings.Count(out.String(), id) == 1 }, patience, 10*time.Millisecond)
	}
	interrupt()
	require.Zero(t, <-ended)
	require.Equal(t, 3, strings.Count(out.String(), "\n"), out.String())
}

// What an operator asks before and beside a running system, with one configuration file.
func TestOperatorsCommands(t *testing.T) {
	r, twilio, fcm := newRelay(t), twiliotest.New(t, false), fcmtest.New(t, false)
	broker := kafkatest.Embedded(t).Addr()
	file := write(t, "kafka: {brokers: ['"+broker+"'], prefix: 'acme.', partitions: 4}\ngateways:\n  mail: {"+r.gateway()+"}\n  texts: {"+texts(twilio.URL)+
		"}\n  pushes: {"+pushes(fcm)+"}\nchannels: {email: {gateways: [mail]}, sms: {gateways: [texts], topic: texts}, push: {gateways: [pushes]}}\n")

	code, out, errs := run(t, "config", "validate", "--config", file)
	require.Zero(t, code, errs)
	require.Equal(t, "ok\n", out)
	code, out, errs = run(t, "config", "print", "--config", file)
	require.Zero(t, code, errs)
	for _, secret := range []string{relayPassword, twiliotest.AuthToken, fcmtest.Token} {
		require.NotContains(t, out+errs, secret)
	}
	require.Regexp(t, `password: ['"]?\*\*\*`, out)
	require.Contains(t, out, "port: "+strconv.Itoa(r.port))

	checks := "mail: ok (smtp)\npushes: ok (fcm)\ntexts: ok (twilio)\n"
	code, out, errs = run(t, "gateways", "check", "--config", file)
	require.Zero(t, code, errs)
	require.Equal(t, checks, out)
	require.Zero(t, r.total()+len(twilio.Accepted())+len(fcm.Accepted()), "a check sends nothing")
	r.want("another")
	twilio.Refuse()
	fcm.Refuse()
	code, out, errs = run(t, "gateways", "check", "--config", file)
	require.Equal(t, 1, code)
	require.Equal(t, "laudspeaker: 3 of 3 gateways failed\n", errs)
	require.Regexp(t, `mail: unavailable: 535 5\.7\.8: .*; set gateways\.mail\.username and \.password`, out)
	require.Regexp(t, `texts: unavailable: 20003: .*; check account_sid`, out)
	require.Regexp(t, `pushes: unavailable: .*401.*; `, out)
	for _, secret := range []string{relayPassword, twiliotest.AuthToken, fcmtest.Token} {
		require.NotContains(t, out+errs, secret)
	}

	names := []string{"acme.status_topic", "acme.control_topic"}
	for _, topic := range []string{"acme.email_topic", "acme.push_topic", "acme.texts"} {
		for _, of := range []string{"", ".urgent", ".bulk", ".delay.5s", ".delay.30s", ".delay.3m", ".delay.20m", ".delay.2h", ".delay.12h", ".delay.72h", ".urgent.delay.5s", ".urgent.delay.30s", ".dlq"} {
			names = append(names, topic+of)
		}
	}
	code, out, errs = run(t, "topics", "--config", file)
	require.Zero(t, code, errs)
	var listed []string
	for line := range strings.Lines(out) {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "acme.") {
			listed = append(listed, name)
		}
	}
	require.ElementsMatch(t, names, listed)
	code, out, errs = run(t, "topics", "--create", "--config", file)
	require.Zero(t, code, errs)
	require.Equal(t, len(names), strings.Count(out, "created acme."), out)
	code, out, errs = run(t, "topics", "--create", "--config", file)
	require.Zero(t, code, errs)
	require.Equal(t, "41 topics are there\n", out)
}

// The README's way to the first real message: one variable.
func TestShortcuts(t *testing.T) {
	r, twilio := newRelay(t), twiliotest.New(t, false)
	t.Setenv("LAUDSPEAKER_EMAIL", "smtp://relay:"+relayPassword+"@127.0.0.1:"+strconv.Itoa(r.port)+"?from=no-reply@acme.example&tls=none")
	t.Setenv("LAUDSPEAKER_SMS", "twilio://"+twiliotest.AccountSID+":"+twiliotest.AuthToken+"@"+strings.TrimPrefix(twilio.URL, "http://")+"?from=+15005550006")
	p := boot(t, "all", "")
	for _, args := range [][]string{{"email", "--to", "ada@example.com", "--subject", "Hello", "--text", "It works."}, {"sms", "--to", "+14155550100", "--body", "It works."}} {
		code, _, errs := run(t, append([]string{"send", "--server", p.API}, args...)...)
		require.Zero(t, code, errs)
	}
	require.Eventually(t, func() bool { return r.total() == 1 && len(twilio.Accepted()) == 1 }, patience, 10*time.Millisecond)
	require.Equal(t, "no-reply@acme.example", r.taken("ada@example.com")[0].from)
	_, _, errs := run(t, "send", "push", "--to", "t", "--title", "x", "--server", p.API)
	require.Contains(t, errs, "422 The channel has no gateway")
	require.NotContains(t, p.Log.String()+p.Stdout.String(), relayPassword)
	require.NotContains(t, p.Log.String()+p.Stdout.String(), twiliotest.AuthToken)
}
