package cmd

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Whatever is written on Kafka, of every kind, is what the published documents say.
func TestEveryRecordIsAsTheDocumentsSay(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		b.impatient()
		relay := largeRelay(t)
		settings := yaml(
			b, map[string]string{"mail": relay.gateway(), "texts": "type: sim"},
			map[string]string{"email": "gateways: [mail], " + soonAgain, "sms": "gateways: [texts], " + soonAgain},
		)
		l := &library{bus: b, asyncAPI: newAsyncAPI(t), p: boot(t, "all", settings), file: write(t, settings), seen: map[string]bool{}}
		l.live()
		for _, topic := range l.topics() {
			for _, r := range b.all(topic) {
				l.requireDescribed(topic, r)
			}
		}
		for _, kind := range []string{
			"job", "waitingJob", "deadLetter", "event", "note", "control", "no control", "sent", "rejected", "retrying", "scheduled", "expired", "cancelled",
			"suppressed", "dead", "held", "delivered", "bounced", notify.NoteRedriven, notify.NoteStuck, "warnings", "tries", "provider_id", "next_at", "origin", "simulated", "code",
		} {
			require.True(t, l.seen[kind], "no %s was written", kind)
		}
	})
}

// library is what the documents are compared with.
type library struct {
	*bus
	*asyncAPI
	p    *program
	file string
	seen map[string]bool // kinds of records, states, and fields of events
}

// live has notifications of every fate.
func (l *library) live() {
	t, b := l.bus.t, l.bus
	say := func(args ...string) {
		t.Helper()
		code, _, errs := run(t, append(args, "--config", l.file)...)
		require.Zero(t, code, errs)
	}
	direct := func(topic, value string, headers ...kafka.Header) *kafka.Record {
		t.Helper()
		partition, offset := b.publish(kafka.Message{Topic: b.prefix + topic, Partition: kafka.Hashed, Value: []byte(value), Headers: headers})
		return b.at(topic, partition, offset)
	}
	say("suppress", "--channel", "sms", "+14155550123", "--note", "asked for it")
	say("pause", "--channel", "email", "--lane", "bulk")
	say("resume", "--channel", "email", "--lane", "bulk")
	suppressed := b.hear(l.file)
	becomes(t, func() bool { return suppressed.Suppressed(notify.DefaultTenant, notify.ChannelSMS, "+14155550123") }, "suppressed")
	during(3 * time.Second) // the command promises one second; a busy machine takes longer

	later := `"send_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`
	cancelled := l.p.post(smsTo("+14155550100", "no", later))
	refused := l.p.post(mailTo("policy@example.com"))
	ids := []string{
		l.p.post(smsTo("+14155550100", "hi", `"reference":"order 7"`, `"metadata":{"k":"v"}`, `"lane":"urgent"`, `"sensitive":true`)),
		l.p.post(smsTo("+15005551000", "soft", `"lane":"bulk"`)), l.p.post(smsTo("+15005555000", "held", `"on_ambiguous":"hold"`)),
		l.p.post(smsTo("+14155550123", "suppressed")), l.p.post(mailTo("busy@example.com")), refused,
	}
	b.event(cancelled, func(e notify.Event) bool { return e.State == notify.StateScheduled })
	code, _, errs := run(t, "cancel", cancelled, "--server", l.p.API)
	require.Zero(t, code, errs)
	for _, id := range append(ids, cancelled) {
		b.outcome(id)
	}
	for _, job := range []*kafka.Record{
		direct("sms_topic", `{"recipient":"+14155550100","colour":"red","lane":"urgent","id":null,"payload":{"body":"hi"}}`, kafka.Header{Key: notify.HeaderIdempotency, Value: []byte("k")}),
		direct("sms_topic", `{"recipient":"+14155550100","expires_at":"2020-01-01T00:00:00Z","payload":{"body":"late"}}`),
		direct("email_topic", `{"recipient":"nobody","payload":{"subject":"s","text":"t"}}`),
		direct("email_topic.bulk", "{half"),
	} {
		b.endOf(job)
	}
	for state, note := range map[notify.State]string{notify.StateDelivered: "", notify.StateBounced: "", notify.StateQueued: notify.NoteStuck} {
		m, err := dispatcher.Desk{Topics: dispatcher.Topics{Prefix: b.prefix}}.Tell(notify.Event{
			NotificationID: ids[0], State: state, Note: note, At: time.Now(), Tenant: notify.DefaultTenant, Channel: notify.ChannelSMS, Lane: notify.LaneUrgent,
			Gateway: "texts", Code: "30005", ProviderID: "SM1",
		})
		require.NoError(t, err)
		b.publish(m)
	}
	b.deadLetter("email_topic", refused)
	say("dlq", "redrive", refused)
	b.event(refused, func(e notify.Event) bool { return e.Run == 1 })
}

// topics are those that are made, without the prefix.
func (l *library) topics() (all []string) {
	topics := dispatcher.Topics{Jobs: map[notify.Channel]string{"email": "email_topic", "sms": "sms_topic"}, Tiers: dispatcher.Tiers{200 * time.Millisecond, time.Second, 5 * time.Second}}
	for _, s := range topics.Specs(1, 1) {
		all = append(all, s.Name)
	}
	return all
}

func (l *library) requireDescribed(topic string, r *kafka.Record) {
	l.bus.t.Helper()
	kinds := l.object("channels", l.channelOf(topic), "messages")
	kind := ""
	for kind = range kinds {
		if (kind == "note") == (kinds["event"] != nil && len(r.Value) == 0) {
			break
		}
	}
	l.seen[kind] = true
	var key, payload any
	if r.Key != nil {
		key = string(r.Key)
	}
	if len(r.Value) > 0 {
		var err error
		if payload, err = jsonschema.UnmarshalJSON(bytes.NewReader(r.Value)); err != nil {
			payload = string(r.Value)
		}
	}
	headers := map[string]any{}
	for name, value := range headersOf(r) {
		headers[name] = value
	}
	l.requireValid(kind, "headers", headers, r)
	l.requireValid(kind, "key", key, r)
	if kind != "job" || sound(r) {
		l.requireValid(kind, "payload", payload, r)
	}
	if kind == "control" && payload == nil {
		l.seen["no control"] = true
	}
	if e, ok := payload.(map[string]any); ok && kind == "event" {
		l.note(e)
	}
}

// sound reports whether a job is what validation takes: what others write may be anything.
func sound(r *kafka.Record) bool {
	n, _, faults := validate.Decode(r.Value, false)
	return n != nil && len(faults) == 0 && n.Recipient != "nobody"
}

// note keeps which states, notes and fields have been seen.
func (l *library) note(e map[string]any) {
	l.seen[fmt.Sprint(e["state"])] = true
	if note, ok := e["note"]; ok {
		l.seen[fmt.Sprint(note)] = true
	}
	for field := range e {
		l.seen[field] = true
	}
}
