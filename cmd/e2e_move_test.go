package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// house is a host that had the embedded broker, and is given the bus's Kafka.
type house struct {
	*bus          // the Kafka that it moves to
	relay  *relay // of both
	dir    string // data_dir
	file   string // configuration with the new Kafka
	old    *bus   // the embedded broker, while it is open
	broker io.Closer
}

func newHouse(t *testing.T, b *bus) *house {
	h := &house{bus: b, relay: largeRelay(t), dir: t.TempDir()}
	h.file = write(t, h.settings(b.section))
	broker := openBroker(t, filepath.Join(h.dir, "kafka"), "127.0.0.1:0")
	h.old = &bus{t: t, brokers: []string{broker.Addr()}, prefix: b.prefix, logs: map[string]*topicLog{}}
	h.old.section = "kafka: {brokers: ['" + broker.Addr() + "'], partitions: 2, prefix: '" + b.prefix + "'}\n"
	h.old.connect()
	h.broker = broker
	return h
}

func (h *house) settings(section string) string {
	b := &bus{section: section}
	return yaml(b, map[string]string{"mail": h.relay.gateway()}, map[string]string{"email": "gateways: [mail]"})
}

// live has the old broker's topics made, two mails sent, one refused, and then leaves n jobs unsent.
func (h *house) live(n int) {
	t := h.t
	worker := boot(t, "work --channel email", h.settings(h.old.section))
	for i := range 2 {
		p, o := h.old.publish(kafka.Message{Topic: h.prefix + "email_topic", Partition: kafka.Hashed, Key: []byte("k"), Value: plainMail(fmt.Sprint("sent-", i))})
		require.Equal(t, notify.StateSent, h.old.endOf(&kafka.Record{Topic: h.prefix + "email_topic", Partition: p, Offset: o}).State)
	}
	h.old.publish(kafka.Message{Topic: h.prefix + "email_topic", Partition: kafka.Hashed, Value: plainMail("policy")})
	h.old.await("email_topic.dlq", func(*kafka.Record) bool { return true })
	require.Zero(t, worker.stop())
	for i := range n {
		m := kafka.Message{Topic: h.prefix + "email_topic", Partition: kafka.Hashed, Value: plainMail(fmt.Sprint("left-", i))}
		if i%3 > 0 { // every third has no key
			m.Key = fmt.Append(nil, "left-", i)
		}
		require.NoError(t, h.old.send(m, func(error) {}))
	}
	h.old.publish(kafka.Message{Topic: h.prefix + "email_topic", Partition: 0, Key: []byte("last"), Value: plainMail("last")})
	h.old.publish(kafka.Message{Topic: h.prefix + "email_topic", Partition: 1, Key: []byte("last"), Value: plainMail("last-too")})
}

func plainMail(local string) []byte {
	return []byte(`{"recipient":"` + local + `@example.com","payload":{"subject":"Hello","text":"It works."}}`)
}

func (h *house) move(more ...string) (code int, out, said string) {
	return run(h.t, append([]string{"topics", "move", "--from", h.dir, "--config", h.file, "--log-level", "error"}, more...)...)
}

// moved reads what has come to a topic of the new Kafka: its headers by id.
func (h *house) moved(topic string) (headers map[string]map[string]string, records []*kafka.Record) {
	headers = map[string]map[string]string{}
	records = h.all(topic)
	for _, r := range records {
		headers[headersOf(r)["ls-id"]] = headersOf(r)
	}
	return headers, records
}

func TestWhatAnEmbeddedBrokerHoldsMovesToAnotherKafka(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		h := newHouse(t, b)
		h.live(3)
		waitsUntil := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		h.old.publish(kafka.Message{Topic: h.prefix + "email_topic.delay.20m", Partition: 1, Key: []byte("w"), Value: plainMail("waits"), Headers: []kafka.Header{
			{Key: "ls-id", Value: []byte(directID)},
			{Key: "ls-not-before", Value: []byte(waitsUntil)},
			{Key: "ls-home", Value: []byte("1")},
			{Key: "ls-step", Value: []byte("3")},
			{Key: "ls-accepted-at", Value: []byte("2026-01-01T00:00:00Z")},
		}})
		h.old.publish(kafka.Message{Topic: h.prefix + "email_topic.urgent", Partition: kafka.Hashed, Key: []byte("u"), Value: plainMail("urgent")})

		code, _, said := h.move()
		require.Equal(t, 1, code)
		require.Regexp(t, `^laudspeaker: --from: \S+ is in use by the process \d+: stop it first`, said)
		h.broker.Close()

		code, out, said := h.move("--dry-run")
		require.Zero(t, code, said)
		require.Equal(t, "would move 6 jobs, 1 waiting, 1 dead letters\n", out)
		code, out, said = h.move()
		require.Zero(t, code, said)
		require.Equal(t, "moved 6 jobs, 1 waiting, 1 dead letters\n", out)
		code, out, said = h.move("--from", filepath.Join(h.dir, "kafka"))
		require.Zero(t, code, said)
		require.Equal(t, "moved 0 jobs, 0 waiting, 0 dead letters\n", out)

		headers, records := h.moved("email_topic")
		require.Len(t, headers, 5, "each once, and each with an id")
		require.Len(t, records, 5)
		for _, hs := range headers {
			at, err := time.Parse(time.RFC3339, hs["ls-accepted-at"])
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), at, 5*time.Minute)
			require.Len(t, hs, 3, "%v", hs)
			require.NotEmpty(t, hs["ls-home"])
		}
		headers, records = h.moved("email_topic.urgent")
		require.Len(t, headers, 1)
		require.Equal(t, string(plainMail("urgent")), string(records[0].Value))
		headers, records = h.moved("email_topic.delay.20m")
		require.Equal(t, map[string]map[string]string{directID: {
			"ls-id": directID, "ls-not-before": waitsUntil, "ls-step": "3", "ls-accepted-at": "2026-01-01T00:00:00Z",
			"ls-home": number(int64(kafka.Home([]byte("w")))),
		}}, headers, "it comes back to where its key is at home here")
		require.Equal(t, []string{"w", string(plainMail("waits"))}, []string{string(records[0].Key), string(records[0].Value)})
		headers, records = h.moved("email_topic.dlq")
		require.Len(t, records, 1)
		for id, hs := range headers {
			require.Equal(t, "554 5.7.1", hs["ls-dead-code"])
			require.NotContains(t, []string{"0", "1"}, hs["ls-home"], "that was the other Kafka's")
			h.requireRedrivable(id)
		}

		boot(t, "work --channel email", h.settings(b.section))
		require.Eventually(t, func() bool { return h.relay.total() == 2+5+1+1 }, patience, 20*time.Millisecond)
		for _, local := range []string{"sent-0", "sent-1", "left-0", "left-1", "left-2", "last", "last-too", "urgent", "policy"} {
			require.Len(t, h.relay.taken(local+"@example.com"), 1, local)
		}
	})
}

// requireRedrivable: a letter that has moved finds the home of its key anew.
func (h *house) requireRedrivable(id string) {
	h.relay.says(func(string, int, bool) error { return nil })
	code, out, said := run(h.t, "dlq", "redrive", id, "--config", h.file)
	require.Zero(h.t, code, said)
	require.Equal(h.t, "redriven 1, skipped 0 (already redriven), expired 0\n", out)
}

// Nobody knows whether it was sent, and it must not be sent twice: it is held in the new Kafka as it would have been in the old.
func TestWhatIsInDoubtMovesAsHeld(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		h := newHouse(t, b)
		h.live(0)
		id := directID
		partition, offset := h.old.publish(kafka.Message{Topic: h.prefix + "email_topic", Partition: kafka.Hashed, Key: []byte("k"), Value: fmt.Appendf(nil,
			`{"id":%q,"recipient":"once@example.com","on_ambiguous":"hold","payload":{"subject":"Hello","text":"It works."}}`, id)})
		h.old.publish(kafka.Message{Topic: h.prefix + "status_topic", Partition: partition, Headers: []kafka.Header{ // a worker's intent, before it was killed
			{Key: kafka.HeaderKind, Value: []byte(kafka.KindIntent)},
			{Key: kafka.HeaderGroup, Value: []byte(h.prefix + "laudspeaker.email.normal")},
			{Key: kafka.HeaderJobTopic, Value: []byte(h.prefix + "email_topic")},
			{Key: kafka.HeaderJobPartition, Value: []byte(number(int64(partition)))},
			{Key: kafka.HeaderJobOffset, Value: []byte(number(offset))},
			{Key: kafka.HeaderJobID, Value: []byte(id)},
		}})
		h.broker.Close()
		code, out, said := h.move("--dry-run")
		require.Zero(t, code, said)
		require.Equal(t, "would move 2 jobs, 0 waiting, 1 dead letters; 1 are held as dead letters: nobody knows whether they were sent\n", out)
		code, out, said = h.move()
		require.Zero(t, code, said)
		require.Equal(t, "moved 2 jobs, 0 waiting, 1 dead letters; 1 are held as dead letters: nobody knows whether they were sent\n", out)
		code, out, _ = h.move()
		require.Zero(t, code)
		require.Equal(t, "moved 0 jobs, 0 waiting, 0 dead letters\n", out)

		letter := headersOf(h.deadLetter("email_topic", id))
		require.Equal(t, notify.ReasonAmbiguous, letter[notify.HeaderDeadReason])
		e := h.event(id, func(e notify.Event) bool { return e.State == notify.StateHeld })
		require.False(t, e.Final)
		boot(t, "work --channel email", h.settings(b.section))
		require.Eventually(t, func() bool { return len(h.relay.taken("last-too@example.com")) == 1 }, patience, 20*time.Millisecond)
		require.Empty(t, h.relay.taken("once@example.com"))
	})
}

// What was redriven before the move is a job or done: its letter stays, lest it be redriven once more.
func TestRedrivenLettersStay(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		h := newHouse(t, b)
		h.live(0)
		code, _, said := run(t, "dlq", "redrive", "--all", "--config", write(t, h.settings(h.old.section)))
		require.Zero(t, code, said)
		h.broker.Close()
		code, out, said := h.move()
		require.Zero(t, code, said)
		require.Equal(t, "moved 3 jobs, 0 waiting, 0 dead letters (1 more were redriven already and stay)\n", out)
		code, out, said = h.move()
		require.Zero(t, code, said)
		require.Equal(t, "moved 0 jobs, 0 waiting, 0 dead letters\n", out)
	})
}

// A move that ends between the acknowledgement of a batch and the note of it repeats that batch, and no more.
func TestAMoveThatIsInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		const left = 3 * batchRecords
		h := newHouse(t, b)
		h.live(left)
		h.broker.Close()

		cfg, err := config.Load(config.Source{File: h.file})
		require.NoError(t, err)
		p, err := newProcess(cfg, io.Discard, "test", true)
		require.NoError(t, err)
		broker, err := embedded.Open(embedded.Config{Dir: filepath.Join(h.dir, "kafka"), Listen: "127.0.0.1:0"})
		require.NoError(t, err)
		source, err := kafka.NewReader(kafka.Config{Brokers: []string{broker.Addr()}})
		require.NoError(t, err)
		target, end, err := p.openTarget(t.Context(), io.Discard)
		require.NoError(t, err)
		killed, batches := errors.New("killed"), 0
		m := &move{topics: p.topics, desk: dispatcher.Desk{Topics: p.topics}, source: source, progress: newProgress(io.Discard)}
		m.publish = func(ctx context.Context, ms []kafka.Message) []error {
			errs := target.publishAll(ctx, ms)
			if batches++; batches == 2 {
				return []error{killed}
			}
			return errs
		}
		require.ErrorIs(t, m.run(t.Context()), killed)
		require.Equal(t, batchRecords, m.jobs, "what was noted")
		end()
		source.Close()
		broker.Close()

		code, out, said := h.move()
		require.Zero(t, code, said)
		require.Equal(t, "moved "+thousands(left+2-batchRecords)+" jobs, 0 waiting, 1 dead letters\n", out)
		headers, records := h.moved("email_topic")
		require.Len(t, headers, left+2)
		require.LessOrEqual(t, len(records), left+2+batchRecords)
		require.Greater(t, len(records), left+2, "else nothing was interrupted")
		at := map[string]int32{}
		for _, r := range records {
			id := string(r.Value)
			if before, again := at[id]; again {
				require.Equal(t, before, r.Partition, "a repetition goes where a worker sees both")
			}
			at[id] = r.Partition
		}
	})
}

func TestTopicsMoveSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ args, says string }{
		{"--from " + dir, "kafka.brokers is empty"},
		{"--brokers 127.0.0.1:1", "--from is missing"},
		{"--brokers 127.0.0.1:1 --from " + dir, "holds no log of an embedded broker"},
	} {
		code, _, errs := run(t, append([]string{"topics", "move"}, strings.Fields(c.args)...)...)
		require.Equal(t, 1, code)
		require.Contains(t, errs, c.says)
	}
	broker := openBroker(t, filepath.Join(dir, "kafka"), "127.0.0.1:0")
	b := &bus{t: t, brokers: []string{broker.Addr()}, logs: map[string]*topicLog{}}
	b.connect()
	code, _, errs := run(t, "topics", "--create", "--brokers", broker.Addr())
	require.Zero(t, code, errs)
	b.publish(kafka.Message{Topic: "sms_topic", Value: []byte("{}")})
	broker.Close()
	with := func(more ...string) string {
		_, _, errs := run(t, append([]string{"topics", "move", "--log-level", "error", "--from", dir, "--brokers", "127.0.0.1:1"}, more...)...)
		return errs
	}
	require.Contains(t, with(), "no Kafka answers at 127.0.0.1:1")
	require.Contains(t, with("--dry-run", "--set", "kafka.prefix=other."), "the log has no topic such as other.email_topic: kafka.prefix and channels.*.topic")
	require.Contains(t, with("--dry-run", "--set", "gateways.g.type=sim", "--set", "channels.email.gateways=g"),
		"1 records of channels without a gateway stay behind (sms, push)")
}
