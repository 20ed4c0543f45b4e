package cmd

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// hear is what a worker knows of the control topic, read to its end as it stood.
func (b *bus) hear(file string) *control.State {
	b.t.Helper()
	cfg, err := config.Load(config.Source{File: file})
	require.NoError(b.t, err)
	p, err := newProcess(cfg, io.Discard, "work", false)
	require.NoError(b.t, err)
	state, tail, err := p.control("work", busWriter{b}, zap.NewNop())
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tail.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); require.NoError(b.t, <-ended) })
	select {
	case <-tail.Caught():
	case <-time.After(patience):
		require.Fail(b.t, "the control topic was not read")
	}
	return state
}

// busWriter publishes as a process does.
type busWriter struct{ b *bus }

func (w busWriter) PublishAll(_ context.Context, ms []kafka.Message) []error {
	for _, m := range ms {
		w.b.publish(m)
	}
	return make([]error, len(ms))
}

func becomes(t *testing.T, is func() bool, what string) {
	t.Helper()
	require.Eventually(t, is, patience, 5*time.Millisecond, what)
}

const promise = `in force everywhere by \d\d:\d\d:\d\d\.\d{3}, in 1 s`

// What the commands say reaches those who have read the topic before, and those who read it later.
func TestControlReachesEveryProcess(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		yaml := simulated(b)
		p := boot(t, "all", yaml)
		file := write(t, yaml)
		early := b.hear(file)
		say := func(args ...string) (stdout, stderr string) {
			t.Helper()
			code, stdout, stderr := run(t, append(args, "--config", file)...)
			require.Zero(t, code, stderr)
			return stdout, stderr
		}
		out, _ := say("pause", "--list")
		require.Equal(t, "Nothing is paused.\n", out)
		changed := early.Changed()
		out, errs := say("pause", "--channel", "email,sms", "--lane", "bulk", "--gateway", "sim", "--note", "a quiet night")
		require.Regexp(t, `^email/bulk is paused, `+promise+`. To go on: laudspeaker resume --channel email --lane bulk\n`+
			`sms/bulk is paused, .*\ngateway/sim is paused, .* resume --gateway sim\n$`, out)
		require.Empty(t, errs)
		<-changed
		becomes(t, func() bool { return early.PausedGateway("sim") }, "the last of them")
		require.True(t, early.Paused(notify.ChannelEmail, notify.LaneBulk))
		require.False(t, early.Paused(notify.ChannelEmail, notify.LaneNormal))
		out, _ = say("pause", "--list")
		require.Regexp(t, `^email/bulk  since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d( by \S+)?: a quiet night\ngateway/sim  since .*\nsms/bulk  since .*\n$`, out)
		out, _ = say("pause", "--list", "--json")
		var line struct{ Kind, ID, Note string }
		require.NoError(t, json.Unmarshal([]byte(strings.SplitAfter(out, "\n")[0]), &line))
		require.Equal(t, "pause email/bulk a quiet night", line.Kind+" "+line.ID+" "+line.Note)

		out, _ = say("gateways", "status")
		require.Regexp(t, `^sim  paused since .*: a quiet night\n$`, out)

		out, errs = say("resume", "--channel", "email", "--lane", "bulk,urgent")
		require.Regexp(t, `^email/urgent was not paused\nresumed email/bulk, `+promise+`\n$`, out)
		require.Equal(t, "note: still paused: gateway/sim, sms/bulk\n", errs)
		becomes(t, func() bool { return !early.Paused(notify.ChannelEmail, notify.LaneBulk) }, "resumed")

		out, _ = say("suppress", "--channel", "email", "Ada <Ada@EXAMPLE.com>", "ada@bücher.example", "--note", "asked for it")
		require.Regexp(t, `^suppressed on channel email: 2, `+promise+`\n$`, out)
		say("suppress", "--channel", "sms", "--tenant", "acme", "+14155550100")
		becomes(t, func() bool { return early.Suppressed("acme", notify.ChannelSMS, "+14155550100") }, "the last of them")
		for _, address := range []string{"Ada@example.com", "ada@xn--bcher-kva.example"} {
			require.True(t, early.Suppressed("default", notify.ChannelEmail, address))
			require.False(t, early.Suppressed("acme", notify.ChannelEmail, address))
		}
		out, _ = say("suppress", "--list")
		require.Regexp(t, `^acme/sms/\+14155550100  since .*\nemail/Ada@example.com  since .*: asked for it\nemail/ada@xn--bcher-kva.example  since .*\n$`, out)
		out, _ = say("suppress", "--list", "--channel", "sms", "--json")
		require.Contains(t, out, `"id":"acme/sms/+14155550100"`)
		require.Equal(t, 1, strings.Count(out, "\n"))
		out, _ = say("suppress", "--list", "--channel", "sms", "--tenant", "default")
		require.Equal(t, "Nobody is suppressed.\n", out)
		out, _ = say("unsuppress", "--channel", "email", "Ada@example.com")
		require.Regexp(t, `^no longer suppressed on channel email: 1, `+promise+`\n$`, out)
		becomes(t, func() bool { return !early.Suppressed("default", notify.ChannelEmail, "Ada@example.com") }, "taken back")
		out, errs = say("unsuppress", "--channel", "email", "Ada@example.com")
		require.Contains(t, out, "no longer suppressed on channel email: 0, ")
		require.Equal(t, "note: 1 of 1 had no such suppression; laudspeaker suppress --list --channel email shows what there is\n", errs)

		id := notify.NewID()
		code, out, errs := run(t, "cancel", strings.ToUpper(id), "--server", p.API)
		require.Zero(t, code, errs)
		require.Regexp(t, `^`+id+` is cancelled: no attempt starts after \d\d:\d\d:\d\d\.\d{3}; what was sent before stays sent\n$`, out)
		becomes(t, func() bool { return early.Cancelled(id) }, "cancelled")

		late := b.hear(file)
		require.Equal(t, early.List(), late.List())
		require.Equal(t, []string{"gateway/sim", "sms/bulk"}, []string{late.List().Pauses[0].Name(), late.List().Pauses[1].Name()})
		require.True(t, late.Cancelled(id))
		require.True(t, late.Suppressed("default", notify.ChannelEmail, "ada@xn--bcher-kva.example"))
	})
}

// The control topic is deleted and created again under a live process. Nobody who was suppressed receives anything, from that
// process and from those that start later; pauses and cancellations end.
func TestControl_SuppressionsOutlastTheTopic(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		yaml := simulated(b)
		p := boot(t, "all", yaml)
		file := write(t, yaml)
		say := mustRun(t, file)
		say("suppress", "--channel", "sms", "+14155550100", "+14155550101", "+14155550102")
		say("unsuppress", "--channel", "sms", "+14155550102")
		say("pause", "--channel", "email")
		id := notify.NewID()
		code, _, errs := run(t, "cancel", id, "--server", p.API)
		require.Zero(t, code, errs)
		early := b.hear(file)
		require.True(t, early.Cancelled(id))
		paused := early.Changed()
		hasKey := func() bool { _, ok := early.FingerprintKey(); return ok }
		becomes(t, hasKey, "the worker shares a key")
		key, _ := early.FingerprintKey()

		kafkatest.Recreate(t, b.brokers, b.prefix+"control_topic", 1, "cleanup.policy", "compact")
		<-paused
		require.False(t, early.Paused(notify.ChannelEmail, notify.LaneNormal))
		require.False(t, early.Cancelled(id))
		for _, state := range []*control.State{early, b.hear(file)} {
			for _, number := range []string{"+14155550100", "+14155550101"} {
				require.True(t, state.Suppressed("default", notify.ChannelSMS, number))
			}
			require.False(t, state.Suppressed("default", notify.ChannelSMS, "+14155550102"))
			require.False(t, state.Paused(notify.ChannelEmail, notify.LaneNormal))
			now, ok := state.FingerprintKey()
			require.True(t, ok && now == key, "the key by which workers compare is the same")
		}
		require.Equal(t, notify.StateSuppressed, b.outcome(p.post(smsTo("+14155550100", "no"))).State)
		require.Equal(t, notify.StateSuppressed, b.outcome(p.post(smsTo("+14155550101", "no"))).State)
		require.Equal(t, notify.StateSent, b.outcome(p.post(smsTo("+14155550102", "yes"))).State)
		require.Equal(t, notify.StateSent, b.outcome(p.post(samples["email"])).State, "the pause has ended")

		say("unsuppress", "--channel", "sms", "+14155550101")
		becomes(t, func() bool { return !early.Suppressed("default", notify.ChannelSMS, "+14155550101") }, "the new topic is followed")
	})
}

// Without kafka.brokers the commands speak to the broker that the role all brings.
func TestControlOfTheEmbeddedBroker(t *testing.T) {
	t.Parallel()
	p := boot(t, "all", "")
	becomes(t, func() bool { return strings.Contains(p.Stdout.String(), "Ready.") }, "ready")
	addr := regexp.MustCompile(`Kafka (127\.0\.0\.1:\d+) `).FindStringSubmatch(p.Stdout.String())[1]
	code, out, errs := run(t, "pause", "--gateway", "capture", "--set", "kafka.embedded.listen="+addr)
	require.Zero(t, code, errs)
	require.Regexp(t, `^gateway/capture is paused, `+promise, out)
	require.Contains(t, errs, "note: no gateways are configured here")
	_, out, _ = run(t, "pause", "--list", "--set", "kafka.embedded.listen="+addr)
	require.Regexp(t, `^gateway/capture  since `, out)
	// What is paused can be resumed, though the configuration knows other gateways.
	others := []string{"--set", "gateways.g.type=sim", "--set", "channels.sms.gateways=g", "--set", "kafka.embedded.listen=" + addr}
	code, _, errs = run(t, append([]string{"resume", "--gateway", "capture"}, others...)...)
	require.Zero(t, code, errs)
	_, _, errs = run(t, append([]string{"resume", "--gateway", "capture"}, others...)...)
	require.Equal(t, "laudspeaker: --gateway knows g\n", errs)
}

func TestControlWithoutKafka(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "pause", "--channel", "email", "--set", "kafka.embedded.listen=127.0.0.1:1")
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Contains(t, errs, `no broker answers at 127.0.0.1:1 (kafka.embedded.listen): start it with "laudspeaker all"`)
	_, _, errs = run(t, "suppress", "--list", "--brokers", "127.0.0.1:1")
	require.Contains(t, errs, `no Kafka answers at 127.0.0.1:1 (kafka.brokers): start it`)
	onEachBus(t, func(t *testing.T, b *bus) {
		for _, args := range [][]string{{"pause", "--channel", "email"}, {"pause", "--list"}, {"resume", "--channel", "email"}} {
			code, _, errs := run(t, append(args, "--config", write(t, b.section))...)
			require.Equal(t, 1, code)
			require.Contains(t, errs, "there is no such topic: "+b.prefix+`control_topic: it is made when Laudspeaker starts, or by "laudspeaker topics --create"`)
		}
	})
}

// Bad input says what is known, repeats no recipient, and needs no Kafka.
func TestControlSaysWhatItKnows(t *testing.T) {
	t.Parallel()
	gateways := "--set gateways.mail.type=sim --set channels.email.gateways=mail --set gateways.texts.type=sim --set channels.sms.gateways=texts"
	for line, want := range map[string]string{
		"pause":                                                 "say what to pause: --channel (email, sms, push), with --lane (urgent, normal, bulk) for one lane of it, or --gateway NAME",
		"resume":                                                "say what to resume: ",
		"pause --channel fax":                                   "--channel knows email, sms, push",
		"pause --channel email --lane slow":                     "--lane knows urgent, normal, bulk",
		"pause --lane bulk":                                     "--lane needs --channel",
		"pause --gateway male " + gateways:                      "--gateway knows mail, texts",
		"pause --gateway=":                                      "say what to pause",
		"suppress eve@test.example":                             "--channel is missing: give one of email, sms, push",
		"suppress --channel fax eve@x.example":                  "--channel knows email, sms, push",
		"suppress --channel email":                              "ADDRESS is missing",
		"suppress --channel email a@b.example e":                `ADDRESS 2 of 2: give one address such as ada@example.com`,
		"suppress --channel sms 5559876":                        "ADDRESS 1 of 1: give an E.164 number",
		"suppress --list a@b.example":                           "--list takes no ADDRESS",
		"suppress --list --channel fax":                         "--channel knows email, sms, push",
		"unsuppress --channel email --tenant a/b eve@x.example": "--tenant: give 1 to 64 letters",
		"cancel 4711":                                           "ID must be a UUID, as laudspeaker send prints it",
	} {
		code, out, errs := run(t, strings.Fields(line)...)
		require.Equal(t, 1, code, line)
		require.Empty(t, out, line)
		require.Contains(t, errs, want, line)
		require.NotContains(t, errs, "eve@")
		require.NotContains(t, errs, "5559876")
	}
}

func TestCancelShowsTheAnswer(t *testing.T) {
	s := serve(t, http.StatusServiceUnavailable, `{"title":"Kafka does not take it","detail":"repeat it"}`)
	code, _, errs := run(t, "cancel", notify.NewID(), "--server", s.URL)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "the server answers 503 Kafka does not take it: repeat it")
	require.Regexp(t, `^/v1/notifications/[0-9a-f-]{36}/cancel$`, s.request.URL.Path)
	require.Equal(t, http.MethodPost, s.request.Method)
	require.Empty(t, s.body)
}

// refusing is a bus that takes nothing.
type refusing struct{ err error }

func (r refusing) Publish(context.Context, kafka.Message) (partition int32, offset int64, err error) {
	return 0, -1, r.err
}

// Whatever the publisher says of it, the caller is told to repeat.
func TestACancelThatIsNotAcknowledgedIsNone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{kafka.ErrUnavailable, kafka.ErrFull, context.DeadlineExceeded} {
		_, _, got := canceller{"control_topic", refusing{err}}.Cancel(t.Context(), notify.NewID())
		require.ErrorIs(t, got, notify.ErrBusUnavailable)
		require.ErrorIs(t, got, err)
	}
}
