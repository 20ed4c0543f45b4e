package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// bus is a Kafka with topics of the test's own: what is written straight to them, and what comes to them.
type bus struct {
	t       *testing.T
	section string // of the configuration
	brokers []string
	prefix  string
	publish func(kafka.Message) (partition int32, offset int64)
	send    func(kafka.Message, func(error)) error

	mu   sync.Mutex
	logs map[string]*topicLog
}

// onEachBus is [onEachKafka] for tests that look at the topics.
func onEachBus(t *testing.T, f func(t *testing.T, b *bus)) {
	onEachKafka(t, func(t *testing.T, section string) {
		cfg, err := config.Load(config.Source{File: write(t, section)})
		require.NoError(t, err)
		b := &bus{t: t, section: section, brokers: cfg.Kafka.Brokers, prefix: cfg.Kafka.Prefix, logs: map[string]*topicLog{}}
		t.Cleanup(func() { kafkatest.Forget(t, b.brokers, b.prefix) })
		b.connect()
		f(t, b)
	})
}

// connect makes the test a direct producer.
func (b *bus) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	p := kafka.NewPublisher(kafka.Config{Brokers: b.brokers}, kafka.PublisherConfig{Persistent: true, MaxMessageBytes: 16 << 20})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.Run(ctx)
	}()
	b.t.Cleanup(func() { cancel(); <-ended })
	b.publish = func(m kafka.Message) (int32, int64) {
		b.t.Helper()
		within, done := context.WithTimeout(ctx, 3*time.Minute)
		defer done()
		partition, offset, err := p.PublishForever(within, m)
		require.NoError(b.t, err)
		return partition, offset
	}
	b.send = func(m kafka.Message, done func(error)) error {
		return p.Send(m, func(_ int32, _ int64, err error) { done(err) })
	}
}

// records gives what has come to a topic, its name without the prefix. The topic has to be there.
func (b *bus) records(topic string) []*kafka.Record {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	log := b.logs[topic]
	if log == nil {
		log = &topicLog{Log: kafkatest.Follow(b.t, b.brokers, b.prefix+topic)}
		b.logs[topic] = log
	}
	for _, m := range log.Records()[len(log.read):] {
		r := &kafka.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kafka.Header{Key: string(h.Key), Value: h.Value})
		}
		log.read = append(log.read, r)
	}
	return slices.Clone(log.read)
}

// topicLog is what has come to a topic, and as much of it as has been looked at.
type topicLog struct {
	*kafkatest.Log
	read []*kafka.Record
}

// all gives what a topic holds, by what Kafka says is its end: whoever follows it may be behind.
func (b *bus) all(topic string) (rs []*kafka.Record) {
	b.t.Helper()
	reader, err := kafka.NewReader(kafka.Config{Brokers: b.brokers})
	require.NoError(b.t, err)
	defer reader.Close()
	bounds, err := reader.Bounds(b.prefix + topic)
	require.NoError(b.t, err)
	n := 0
	for _, p := range bounds {
		n += int(p.Newest - p.Oldest)
	}
	b.records(topic)
	require.Eventually(b.t, func() bool { rs = b.records(topic); return len(rs) >= n }, patience, 10*time.Millisecond)
	return rs
}

// await waits for a record of the topic that is the wanted one.
func (b *bus) await(topic string, wanted func(*kafka.Record) bool) *kafka.Record {
	b.t.Helper()
	b.records(topic) // so that nothing is asked of Kafka below, on another goroutine
	var found *kafka.Record
	require.Eventually(b.t, func() bool {
		all := b.records(topic)
		if i := slices.IndexFunc(all, wanted); i >= 0 {
			found = all[i]
		}
		return found != nil
	}, patience, 10*time.Millisecond, "no such record on %s", topic)
	return found
}

// outcome is an event and the record that it came in.
type outcome struct {
	notify.Event
	*kafka.Record
}

// outcome waits for the event that ends a notification, or holds it for a person.
func (b *bus) outcome(id string) outcome {
	b.t.Helper()
	return b.event(id, func(e notify.Event) bool { return e.Final || e.State == notify.StateHeld })
}

// event waits for an event of a notification that is the wanted one.
func (b *bus) event(id string, wanted func(notify.Event) bool) outcome {
	b.t.Helper()
	r := b.await("status_topic", func(r *kafka.Record) bool {
		return string(r.Key) == id && isEvent(r) && wanted(eventOf(b.t, r))
	})
	return outcome{eventOf(b.t, r), r}
}

// events are all that have come of a notification, by their steps. Ask when it has ended.
func (b *bus) events(id string) (all []outcome) {
	for _, r := range b.records("status_topic") {
		if string(r.Key) == id && isEvent(r) {
			all = append(all, outcome{eventOf(b.t, r), r})
		}
	}
	slices.SortStableFunc(all, func(x, y outcome) int { return x.Step - y.Step })
	return all
}

// isEvent: an intent, or its withdrawal, has no value and is on the ledger alone.
func isEvent(r *kafka.Record) bool { return len(r.Value) > 0 }

// eventOf reads an event, and refuses fields that the contract does not have.
func eventOf(t *testing.T, r *kafka.Record) (e notify.Event) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&e), "%s", r.Value)
	return e
}

// job waits for a notification's record on its topic.
func (b *bus) job(topic, id string) *kafka.Record {
	b.t.Helper()
	return b.await(topic, func(r *kafka.Record) bool { return headersOf(r)[notify.HeaderID] == id })
}

// step waits for the record that a later step of a notification is, on the topic of its lane.
func (b *bus) step(topic, id string, n int) *kafka.Record {
	b.t.Helper()
	return b.await(topic, func(r *kafka.Record) bool {
		h := headersOf(r)
		return h[notify.HeaderID] == id && h[notify.HeaderStep] == strconv.Itoa(n)
	})
}

// deadLetter waits for the dead letter of a notification.
func (b *bus) deadLetter(topic, id string) *kafka.Record {
	b.t.Helper()
	return b.await(topic+".dlq", func(r *kafka.Record) bool { return headersOf(r)[notify.HeaderID] == id })
}

// noDeadLetters asks Kafka itself: whoever reads a topic may be behind.
func (b *bus) noDeadLetters(topic string) {
	b.t.Helper()
	require.Empty(b.t, kafkatest.All(b.t, b.brokers, b.prefix+topic+".dlq"))
}

func headersOf(r *kafka.Record) map[string]string {
	all := map[string]string{}
	for _, h := range r.Headers {
		all[h.Key] = string(h.Value)
	}
	return all
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// requireOutcome checks what every outcome has, whatever it says: finality, its key, and the headers that make it the
// ledger's record of the job at that place.
func (b *bus) requireOutcome(o outcome, state notify.State, channel notify.Channel, job *kafka.Record) {
	b.t.Helper()
	lane, step := laneOf(job), stepOf(job)
	require.Equal(b.t, state, o.State, "%s", o.Value)
	require.Equal(b.t, state.Final(), o.Final)
	require.Equal(b.t, []any{channel, lane, 0, step, ""}, []any{o.Channel, o.Lane, o.Run, o.Step, o.Note})
	require.Equal(b.t, o.NotificationID, string(o.Key))
	require.WithinDuration(b.t, job.Timestamp, o.At, 2*time.Minute)
	want := map[string]string{
		"ls-kind": "outcome", "ls-group": b.prefix + "laudspeaker." + string(channel) + "." + string(lane), "ls-job-topic": job.Topic,
		"ls-job-partition": number(int64(job.Partition)), "ls-job-offset": number(job.Offset),
		"ls-id": o.NotificationID, "ls-run": "0", "ls-step": strconv.Itoa(step),
	}
	got := headersOf(o.Record)
	require.Regexp(b.t, "^[A-Za-z0-9_-]{22}$", got["ls-job-topic-id"])
	delete(got, "ls-job-topic-id")
	if print, ok := got[notify.HeaderFingerprint]; ok { // of those that brought an id of their own
		require.Regexp(b.t, "^[0-9a-f]{16}$", print)
		delete(got, notify.HeaderFingerprint)
	}
	if by, follows := got[kafka.HeaderGeneration]; follows { // a next step or a dead letter
		require.Regexp(b.t, "^[1-9][0-9]*$", by)
		require.NotEqual(b.t, notify.StateSent, o.State)
		delete(got, kafka.HeaderGeneration)
	}
	require.Equal(b.t, want, got)
	require.Equal(b.t, job.Partition, o.Partition, "the job's partition, modulo as many")
}

// requireDeadLetter checks the headers of a dead letter, and that its bytes are the job's.
func (b *bus) requireDeadLetter(d, job *kafka.Record, o outcome, reason string) {
	b.t.Helper()
	require.Equal(b.t, job.Key, d.Key)
	require.Equal(b.t, job.Value, d.Value, "bytes untouched")
	require.Equal(b.t, &notify.Origin{Topic: job.Topic, Partition: job.Partition, Offset: job.Offset}, o.Origin)
	got := headersOf(d)
	at, err := time.Parse(time.RFC3339, got[notify.HeaderDeadAt])
	require.NoError(b.t, err)
	require.WithinDuration(b.t, o.At, at, time.Minute)
	delete(got, notify.HeaderDeadAt)
	require.Regexp(b.t, fmt.Sprintf("^[A-Za-z0-9_-]{22}/%d/%d/[0-9]+$", job.Partition, job.Offset), got[kafka.HeaderSource])
	delete(got, kafka.HeaderSource)
	want := map[string]string{
		notify.HeaderID: o.NotificationID, notify.HeaderLane: string(laneOf(job)), notify.HeaderRun: "0", notify.HeaderStep: strconv.Itoa(stepOf(job)),
		notify.HeaderAttempt: strconv.Itoa(o.Attempt), notify.HeaderHome: number(int64(job.Partition)), notify.HeaderDeadReason: reason,
		notify.HeaderDeadCode: o.Code, notify.HeaderDeadGateway: o.Gateway, notify.HeaderOriginTopic: job.Topic,
		notify.HeaderOriginPartition: number(int64(job.Partition)), notify.HeaderOriginOffset: number(job.Offset),
	}
	if reason == notify.ReasonAmbiguous {
		want[notify.HeaderInDoubt] = o.Gateway
	}
	producers := []string{notify.HeaderSchema, notify.HeaderAcceptedAt, notify.HeaderIdempotency, notify.HeaderNotBefore}
	for key, value := range headersOf(job) {
		if !strings.HasPrefix(key, "ls-") || slices.Contains(producers, key) {
			want[key] = value
		}
	}
	require.Equal(b.t, want, got)
}

// laneOf and stepOf are what the topic and the headers of a job say of it.
func laneOf(job *kafka.Record) notify.Lane {
	for _, lane := range []notify.Lane{notify.LaneUrgent, notify.LaneBulk} {
		if strings.HasSuffix(job.Topic, "."+string(lane)) {
			return lane
		}
	}
	return notify.LaneNormal
}

func stepOf(job *kafka.Record) int {
	n, _ := strconv.Atoi(headersOf(job)[notify.HeaderStep])
	return max(n, 0)
}

// verdicts are those of an event's tries.
func verdicts(e notify.Event) (all []notify.Verdict) {
	for _, try := range e.Tries {
		all = append(all, try.Verdict)
	}
	return all
}

// impatient makes the waits of a configuration short: of the delay ladder, and between the attempts of a channel.
func (b *bus) impatient() {
	b.section = strings.Replace(b.section, "partitions: 3", "partitions: 3, delay_tiers: [200ms, 1s, 5s]", 1)
}

const soonAgain = "retries: {urgent: {first: 300ms}, normal: {attempts: 4, first: 300ms}, bulk: {attempts: 4, first: 300ms}}"

// yaml joins sections of a configuration.
func yaml(b *bus, gateways, channels map[string]string) string {
	text := b.section + "gateways:\n"
	for _, name := range slices.Sorted(maps.Keys(gateways)) {
		text += "  " + name + ": {" + gateways[name] + "}\n"
	}
	text += "channels:\n"
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		text += "  " + name + ": {" + channels[name] + "}\n"
	}
	return text
}

// mustRun returns a function that runs commands with that configuration file, each of which has to succeed.
func mustRun(t *testing.T, file string) func(args ...string) {
	return func(args ...string) {
		t.Helper()
		code, _, stderr := run(t, append(args, "--config", file)...)
		require.Zero(t, code, stderr)
	}
}
