package cmd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// graveyard is a Kafka with a worker of e-mail whose relay refuses what is for policy@ by 554, and the command line.
type graveyard struct {
	*bus
	relay *relay
	file  string // configuration
}

func newGraveyard(t *testing.T, b *bus, role string) *graveyard {
	r := largeRelay(t)
	settings := yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"})
	boot(t, role, settings)
	return &graveyard{bus: b, relay: r, file: write(t, settings)}
}

// bury has a notification refused, and waits for its dead letter.
func (g *graveyard) bury(d direct) (id string, letter *kafka.Record) {
	g.t.Helper()
	partition, offset := g.publish(d.message(g.prefix + "email_topic"))
	o := g.endOf(g.at("email_topic", partition, offset))
	return o.NotificationID, g.deadLetter("email_topic", o.NotificationID)
}

// dlq runs a command that has to succeed.
func (g *graveyard) dlq(args ...string) (out, said string) {
	g.t.Helper()
	code, out, said := run(g.t, append(append([]string{"dlq"}, args...), "--config", g.file)...)
	require.Zero(g.t, code, said)
	return out, said
}

// listed are the ids that dlq list shows.
func (g *graveyard) listed(args ...string) (ids []string) {
	g.t.Helper()
	out, _ := g.dlq(append([]string{"list", "--json"}, args...)...)
	for line := range strings.Lines(out) {
		var l notify.Letter
		require.NoError(g.t, json.Unmarshal([]byte(line), &l))
		ids = append(ids, l.ID)
	}
	return ids
}

// runs are the jobs of a notification on the topic, by their run.
func (g *graveyard) runs(id string) (runs []string) {
	for _, r := range g.all("email_topic") {
		if h := headersOf(r); h["ls-id"] == id && h["ls-run"] != "" {
			runs = append(runs, h["ls-run"]+"/"+h["ls-step"])
		}
	}
	return runs
}

const policy = `{"recipient":"Policy <policy@Example.COM>","payload":{"subject":"Hello","text":"It works."}%s}`

func TestDeadLettersAreListedShownAndRedriven(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		g := newGraveyard(t, b, "work --channel email")
		refused, letter := g.bury(direct{key: "k", value: fmt.Sprintf(policy, `,"reference":"order 7","tenant":"shop"`)})
		broken, _ := g.bury(direct{value: "\x1b[31m{half"})
		late := g.expired(letter)
		hush, _ := g.bury(direct{value: fmt.Sprintf(policy, `,"sensitive":true,"channel":"sms"`)})

		require.ElementsMatch(t, []string{refused, broken, late, hush}, g.listed())
		require.ElementsMatch(t, []string{refused, late}, g.listed("--code", "554 5"))
		require.ElementsMatch(t, []string{refused, late}, g.listed("--gateway", "mail"))
		require.ElementsMatch(t, []string{refused, late, hush}, g.listed("--recipient", "policy@example.com"), "in whatever spelling")
		require.Equal(t, []string{broken}, g.listed("--reason", "Undecodable", "--lane", "normal", "--channel", "email"))
		require.Equal(t, []string{hush}, g.listed(strings.ToUpper(hush)))
		require.Len(t, g.listed("--since", "1h"), 4)
		require.Empty(t, g.listed("--until", "1h"))
		require.Empty(t, g.listed("--since", "2040-01-01T00:00:00Z"))
		require.Empty(t, g.listed("--lane", "urgent"))
		require.Empty(t, g.listed("--channel", "sms"))
		out, _ := g.dlq("list", "--channel", "sms,push")
		require.Equal(t, "No dead letters.\n", out)
		out, _ = g.dlq("list", "--code", "554")
		require.Regexp(t, `(?m)^\S+ \S+  email  normal  `+refused+`  p\*\*\*@Example\.COM  .*: 554 5\.7\.1 \(mail\)$`, out)

		g.requireShown(refused, letter)
		out, _ = g.dlq("show", hush)
		require.Contains(t, out, "not shown: the notification is marked as sensitive")
		require.NotContains(t, out, "It works")
		out, _ = g.dlq("show", hush, "--json")
		require.NotContains(t, out, "It works")
		out, _ = g.dlq("show", broken)
		require.Contains(t, out, `\x1b[31m{half`)
		require.NotContains(t, out, "\x1b")
		out, _ = g.dlq("show", broken, "--json")
		require.Contains(t, out, `"value_base64":"G1szMW17aGFsZg=="`)

		out, _ = g.dlq("redrive", "--code", "554", "--dry-run")
		require.Equal(t, "would redrive 1, skip 0 (already redriven), leave 1 (expired)\n", out)
		require.Empty(t, g.runs(refused), "nothing is published")

		g.relay.says(func(string, int, bool) error { return nil })
		g.requireRedrive(refused, letter)
		g.requireExpiry(late)

		out, _ = g.dlq("redrive", broken, "--rate", "50/s")
		require.Equal(t, "redriven 1, skipped 0 (already redriven), expired 0\n", out)
		again := g.await("email_topic.dlq", func(r *kafka.Record) bool {
			h := headersOf(r)
			return h["ls-id"] == broken && h["ls-run"] == "1"
		})
		require.Equal(t, "\x1b[31m{half", string(again.Value), "it ends as it did, untouched")
		require.ElementsMatch(t, []string{broken, hush}, g.listed(), "its letter of before is left out")
		g.requireBatch()
		g.requirePanicked()
	})
}

// expired writes a letter like that one, of a notification that was worth sending long ago.
func (g *graveyard) expired(like *kafka.Record) (id string) {
	id = strings.Replace(directID, "0190", "0198", 1)
	g.publish(kafka.Message{
		Topic: like.Topic, Partition: like.Partition, Key: like.Key, Value: fmt.Appendf(nil, policy, `,"expires_at":"2020-01-01T00:00:00Z"`),
		Headers: append(slices.Clone(like.Headers), kafka.Header{Key: notify.HeaderID, Value: []byte(id)}),
	})
	return id
}

// requireBatch writes the letter of a batch that cannot be decoded. It is listed and shown without its bytes, and refused by a
// redrive.
func (g *graveyard) requireBatch() {
	t := g.t
	desk := dispatcher.Desk{Topics: dispatcher.Topics{Prefix: g.prefix, Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}}
	g.publish(desk.Undecodable(&kafka.UndecodableBatch{
		Record: &kafka.Record{Topic: g.prefix + "email_topic", Offset: 1 << 40, Value: []byte("\x00\x01\x1b[31mada@test.example")}, LastOffset: 1<<40 + 4, Count: 3,
	}))
	ids := g.listed("--reason", notify.ReasonUndecodableBatch)
	require.Len(t, ids, 1)
	out, _ := g.dlq("show", ids[0])
	require.Contains(t, out, "not shown: the value is a record batch that cannot be decoded")
	require.Contains(t, out, "\n  ls-origin-last-offset: 1099511627780\n")
	require.Contains(t, out, "\n  ls-origin-count: 3\n")
	require.NotContains(t, out, "ada@test.example")
	out, _ = g.dlq("show", ids[0], "--json")
	require.Contains(t, out, `"withheld":"the value is a record batch that cannot be decoded"`)
	require.NotContains(t, out, "value_base64")
	for _, how := range [][]string{{"--dry-run"}, nil} {
		code, out, said := run(t, append([]string{"dlq", "redrive", ids[0], "--config", g.file}, how...)...)
		require.NotZero(t, code)
		require.Contains(t, out, "redrive")
		require.Contains(t, said, ids[0]+": the letter holds a record batch that cannot be decoded: ask the one who wrote it to send its notifications again")
		require.Contains(t, said, "1 could not be redriven, as said above")
	}
	require.Equal(t, ids, g.listed("--reason", notify.ReasonUndecodableBatch), "it stays")
}

// requirePanicked writes the letter of a job that a mover could not handle, and redrives it.
func (g *graveyard) requirePanicked() {
	t := g.t
	id := strings.Replace(directID, "0190", "0197", 1)
	desk := dispatcher.Desk{Topics: dispatcher.Topics{Prefix: g.prefix, Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}}
	res := desk.Panicked(&kafka.Attempt{Record: &kafka.Record{
		Topic: g.prefix + "email_topic.delay.30s", Key: []byte("k"), Value: fmt.Appendf(nil, policy, ""), Headers: []kafka.Header{{Key: notify.HeaderID, Value: []byte(id)}},
	}})
	g.publish(res.Follow[0])
	out, _ := g.dlq("show", id)
	require.Regexp(t, `(?m)^  why +panicked`, out)
	require.Contains(t, out, `"text": "It works."`)
	out, _ = g.dlq("redrive", "--reason", notify.ReasonPanicked)
	require.Equal(t, "redriven 1, skipped 0 (already redriven), expired 0\n", out)
	require.Eventually(t, func() bool { return slices.Contains(g.runs(id), "1/0") }, patience, 50*time.Millisecond)
	require.Empty(t, g.listed("--reason", notify.ReasonPanicked))
}

func (g *graveyard) requireShown(id string, letter *kafka.Record) {
	t := g.t
	out, _ := g.dlq("show", id)
	require.Contains(t, out, id+"  email, lane normal, run 0\n")
	require.Contains(t, out, ": 554 5.7.1 (mail)\n")
	require.Contains(t, out, "\n  redriven  no\n")
	require.Contains(t, out, "\n  ls-dead-code: 554 5.7.1\n")
	require.Contains(t, out, `"text": "It works."`)
	out, _ = g.dlq("show", id, "--json")
	var whole wholeJSON
	require.NoError(t, json.Unmarshal([]byte(out), &whole))
	require.JSONEq(t, string(letter.Value), string(whole.Value))
	require.Equal(t, headersOf(letter), whole.Headers)
	require.Equal(t, []any{id, "shop", "order 7", notify.StateRejected, false}, []any{whole.ID, whole.Tenant, whole.Reference, whole.State, whole.Redriven})
	require.Equal(t, notify.Origin{Topic: letter.Topic, Partition: letter.Partition, Offset: letter.Offset}, whole.Letter.Letter)
}

// requireRedrive: once is enough, and twice does no harm.
func (g *graveyard) requireRedrive(id string, letter *kafka.Record) {
	t := g.t
	out, _ := g.dlq("redrive", id)
	require.Equal(t, "redriven 1, skipped 0 (already redriven), expired 0\n", out)
	job := g.await("email_topic", func(r *kafka.Record) bool {
		h := headersOf(r)
		return h["ls-id"] == id && h["ls-run"] == "1"
	})
	require.Equal(t, []string{string(letter.Key), string(letter.Value)}, []string{string(job.Key), string(job.Value)})
	require.Equal(t, headersOf(letter)["ls-home"], number(int64(job.Partition)), "its home")
	for name := range headersOf(job) {
		require.False(t, strings.HasPrefix(name, "ls-dead-") || strings.HasPrefix(name, "ls-origin-"), name)
	}
	o := g.endOf(job)
	require.Equal(t, []any{notify.StateSent, 1, 0}, []any{o.State, o.Run, o.Step})
	require.Len(t, g.relay.taken("policy@example.com"), 1)

	said := g.await("status_topic", func(r *kafka.Record) bool { return strings.Contains(string(r.Value), `"redriven"`) })
	e := eventOf(t, said)
	require.Equal(t, []any{id, notify.NoteRedriven, notify.StateRejected, 0, "shop", "order 7"}, []any{e.NotificationID, e.Note, e.State, e.Run, e.Tenant, e.Reference})
	require.Equal(t, &notify.Origin{Topic: letter.Topic, Partition: letter.Partition, Offset: letter.Offset}, e.Origin)
	require.Empty(t, said.Headers)

	out, _ = g.dlq("redrive", id)
	require.Equal(t, "redriven 0, skipped 1 (already redriven), expired 0\n", out)
	require.NotContains(t, g.listed(), id)
	out, _ = g.dlq("show", id)
	require.Contains(t, out, "\n  redriven  yes\n")
	require.Equal(t, []string{"1/0"}, g.runs(id))
}

// requireExpiry: what has expired is left alone, until it is given more time.
func (g *graveyard) requireExpiry(id string) {
	t := g.t
	out, said := g.dlq("redrive", id)
	require.Equal(t, "redriven 0, skipped 0 (already redriven), expired 1\n", out)
	require.Contains(t, said, "--expires-in 24h")
	require.Contains(t, g.listed(), id)
	out, _ = g.dlq("redrive", id, "--expires-in", "24h")
	require.Equal(t, "redriven 1, skipped 0 (already redriven), expired 0\n", out)
	job := g.await("email_topic", func(r *kafka.Record) bool { return headersOf(r)["ls-id"] == id && headersOf(r)["ls-run"] == "1" })
	at, err := time.Parse(time.RFC3339, headersOf(job)[notify.HeaderExpiresAt])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(24*time.Hour), at, 2*time.Minute)
	g.endOf(job)
}

// A letter whose value stayed with the job is redriven from there, unless that is gone.
func TestALetterThatWasTooLargeIsRedrivenFromItsOrigin(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		g := newGraveyard(t, b, "work --channel email")
		// A letter's headers are longer than a job's: just so large that only the job fits.
		job := g.put("policy@example.com", maxBytes-1024-350)
		o := g.endOf(job)
		require.Equal(t, notify.ReasonTooLarge, headersOf(g.deadLetter("email_topic", o.NotificationID))[notify.HeaderDeadReason])
		out, _ := g.dlq("show", o.NotificationID)
		require.Contains(t, out, "not shown: the value was too large")

		gone := g.deadLetter("email_topic", o.NotificationID)
		strange := strings.Replace(directID, "0190", "0199", 1)
		g.publish(kafka.Message{Topic: gone.Topic, Partition: 0, Headers: append(slices.Clone(gone.Headers), kafka.Header{Key: "ls-id", Value: []byte(strange)})})
		g.relay.says(func(string, int, bool) error { return nil })
		code, out, said := run(t, "dlq", "redrive", "--reason", "too_large", "--config", g.file)
		require.Equal(t, 1, code)
		require.Equal(t, "redriven 1, skipped 0 (already redriven), expired 0\n", out)
		require.Contains(t, said, strange+": its value was too large for a dead letter, and is no longer where the job was\n")
		require.Contains(t, said, "laudspeaker: 1 could not be redriven")
		again := g.await("email_topic", func(r *kafka.Record) bool { return headersOf(r)["ls-run"] == "1" })
		require.True(t, string(job.Value) == string(again.Value), "bytes untouched")
		require.Equal(t, notify.StateSent, g.endOf(again).State)
		require.Equal(t, []string{strange}, g.listed())
	})
}

// A letter is found and sent again whatever became of the event that says so: the run is the same.
func TestRedrivingWhoseEventIsLostIsTheSameRun(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		g := newGraveyard(t, b, "work --channel email")
		id, letter := g.bury(direct{key: "k", value: fmt.Sprintf(policy, "")})
		g.relay.says(func(string, int, bool) error { return nil })
		desk := dispatcher.Desk{Topics: dispatcher.Topics{Prefix: b.prefix, Jobs: map[notify.Channel]string{notify.ChannelEmail: "email_topic"}}}
		job, _, err := desk.Redrive(letter, time.Now(), time.Time{})
		require.NoError(t, err)
		g.publish(job) // and then the command was killed
		require.Equal(t, []string{id}, g.listed())
		g.dlq("redrive", "--all")
		require.Empty(t, g.listed())
		require.Equal(t, []string{"1/0", "1/0"}, g.runs(id))
		at := map[int32]bool{}
		for _, r := range g.all("email_topic") {
			at[r.Partition] = true
		}
		require.Len(t, at, 1, "where a worker sees both")
	})
}

func TestDLQSaysWhatItNeeds(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"redrive", "which dead letters? Name ids or a filter"},
		{"redrive --channel email", "which dead letters? Name ids or a filter"},
		{"redrive --all --rate fast", "--rate needs a number a second, such as 100/s"},
		{"redrive --all --rate 0", "--rate needs a number a second, such as 100/s"},
		{"redrive --all --expires-in 0s", "--expires-in needs a time ahead"},
		{"redrive nobody", "ID must be a notification's"},
		{"list --channel fax", "--channel knows email, sms and push"},
		{"list --lane express", "--lane knows urgent, normal and bulk"},
		{"list --since yesterday", "--since needs how long ago"},
		{"list --until -1h", "--until needs how long ago"},
		{"list --channel sms --recipient ada@example.com", "--recipient: no such recipient"},
		{"show " + directID + " --brokers 127.0.0.1:1", "answers at 127.0.0.1:1"},
		{"list --set kafka.embedded.listen=127.0.0.1:1", `start it with "laudspeaker all"`},
	} {
		code, out, errs := run(t, append([]string{"dlq"}, strings.Fields(c.args)...)...)
		require.Equal(t, 1, code, c.args)
		require.Empty(t, out, c.args)
		require.Contains(t, errs, c.says, c.args)
	}
	broker := kafkatest.Embedded(t).Addr()
	_, _, errs := run(t, "dlq", "list", "--brokers", broker)
	require.Contains(t, errs, "there is no topic of dead letters, such as email_topic.dlq")
}
