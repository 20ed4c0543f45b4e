package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// The topics of a fixture: one channel with all its lanes, two tiers, dead letters, events.
const (
	lane, urgent     = "email_topic", "email_topic.urgent"
	short, long      = "email_topic.delay.5s", "email_topic.delay.12h"
	letters, ledger  = "email_topic.dlq", "status_topic"
	workers, hurried = "laudspeaker.email.normal", "laudspeaker.email.urgent"
	movers           = "laudspeaker.email.delay"
)

var allTopics = []Topic{
	{Name: lane, Group: workers, Channel: notify.ChannelEmail, Lane: notify.LaneNormal},
	{Name: urgent, Group: hurried, Channel: notify.ChannelEmail, Lane: notify.LaneUrgent},
	{Name: short, Group: movers, Channel: notify.ChannelEmail, DelayTier: true},
	{Name: long, Group: movers, Channel: notify.ChannelEmail, DelayTier: true},
	{Name: letters, Channel: notify.ChannelEmail},
	{Name: "sms_topic", Group: "laudspeaker.sms.normal", Channel: notify.ChannelSMS, Lane: notify.LaneNormal}, // never made
}

// fixture is a Kafka with the records and commits that a test writes.
type fixture struct {
	now     time.Time
	logs    map[string][]*partition
	commits map[string]*kafka.Position // by topic and partition
	ids     map[string]kafka.TopicID   // of some topics
	before  func(call, topic string)   // called before each look at the log; may be nil
}

type partition struct {
	oldest  int64
	records []*kafka.Record
}

func newFixture(count int) *fixture {
	w := &fixture{now: time.Now().Add(-100 * time.Hour), logs: map[string][]*partition{}, commits: map[string]*kafka.Position{}, ids: map[string]kafka.TopicID{}}
	for _, topic := range []string{lane, urgent, short, long, letters, ledger} {
		for range count {
			w.logs[topic] = append(w.logs[topic], &partition{})
		}
	}
	return w
}

func at(topic string, p int32) string { return fmt.Sprintf("%s/%d", topic, p) }

// write appends a record and returns its offset.
func (w *fixture) write(topic string, p int32, value string, headers ...string) int64 {
	part := w.logs[topic][p]
	r := &kafka.Record{Topic: topic, Partition: p, Offset: part.oldest + int64(len(part.records)), Timestamp: w.now, Value: []byte(value)}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Headers = append(r.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	part.records = append(part.records, r)
	return r.Offset
}

// job writes a record of a notification to a lane, a tier or the dead letters.
func (w *fixture) job(topic string, p int32, id string, s stage) int64 {
	return w.write(topic, p, `{"id":"`+id+`","recipient":"ada@example.com"}`, "ls-run", strconv.Itoa(int(s.run)), "ls-step", strconv.Itoa(int(s.step)),
		"ls-home", strconv.Itoa(int(p)), "ls-not-before", w.now.Add(time.Hour).Format(time.RFC3339Nano))
}

func (w *fixture) event(id string, s stage, state notify.State, note string) string {
	e := notify.Event{NotificationID: id, Run: int(s.run), Step: int(s.step), State: state, At: w.now, Note: note, Channel: notify.ChannelEmail}
	e.Seal()
	value, _ := e.Encode()
	return string(value)
}

// outcome writes a worker's event.
func (w *fixture) outcome(p int32, id string, s stage, state notify.State) {
	w.now = w.now.Add(time.Millisecond)
	w.write(ledger, p, w.event(id, s, state, ""), "ls-kind", "outcome", "ls-group", workers)
}

// done commits an offset, with done records above it.
func (w *fixture) done(topic string, p int32, offset int64, above ...int64) {
	bitmap := []byte{}
	for _, o := range above {
		for int64(len(bitmap)) <= (o-offset)/8 {
			bitmap = append(bitmap, 0)
		}
		bitmap[(o-offset)/8] |= 1 << ((o - offset) % 8)
	}
	text := fmt.Sprintf("ls1.0.0.%d.%s", len(w.logs[ledger]), base64.RawStdEncoding.EncodeToString(bitmap))
	w.commits[at(topic, p)] = kafka.ReadPosition(offset, text)
}

// forget deletes the first records of a partition.
func (w *fixture) forget(topic string, p int32, n int) {
	part := w.logs[topic][p]
	part.oldest += int64(n)
	part.records = part.records[n:]
}

func (w *fixture) look(call, topic string) {
	if w.before != nil {
		w.before(call, topic)
	}
}

func (w *fixture) Bounds(topic string) (bounds []kafka.Bounds, err error) {
	w.look("bounds", topic)
	if w.logs[topic] == nil {
		return nil, kafka.ErrNoTopic
	}
	for p, part := range w.logs[topic] {
		bounds = append(bounds, kafka.Bounds{Partition: int32(p), Oldest: part.oldest, Newest: part.oldest + int64(len(part.records))})
	}
	return bounds, nil
}

func (w *fixture) Since(topic string, since time.Time, bounds []kafka.Bounds) ([]kafka.Bounds, error) {
	later := append([]kafka.Bounds(nil), bounds...)
	for i, b := range later {
		part := w.logs[topic][b.Partition]
		for later[i].Oldest < b.Newest && part.records[later[i].Oldest-part.oldest].Timestamp.Before(since) {
			later[i].Oldest++
		}
	}
	return later, nil
}

func (w *fixture) TopicIDs([]string) (map[string]kafka.TopicID, error) { return w.ids, nil }

func (w *fixture) Topics() (names []string, _ error) { return slices.Collect(maps.Keys(w.logs)), nil }

func (w *fixture) Positions(_, topic string) (map[int32]*kafka.Position, error) {
	w.look("positions", topic)
	all := map[int32]*kafka.Position{}
	for p := range int32(len(w.logs[topic])) {
		all[p] = w.commits[at(topic, p)]
		if all[p] == nil {
			all[p] = kafka.ReadPosition(-1, "")
		}
	}
	return all, nil
}

func (w *fixture) Scan(_ context.Context, topic string, bounds []kafka.Bounds, visit func(*kafka.Record) error) error {
	w.look("scan", topic)
	for _, b := range bounds {
		part := w.logs[topic][b.Partition]
		for o := max(b.Oldest, part.oldest); o < b.Newest; o++ {
			r := part.records[o-part.oldest]
			if r == nil { // a gap
				continue
			}
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// audited is the result of an audit.
type audited struct {
	*Report
	found []Finding
}

// audit runs an audit. change may change its config.
func (w *fixture) audit(t testing.TB, change ...func(*Config)) audited {
	t.Helper()
	a := audited{}
	cfg := Config{Log: w, Status: ledger, Topics: allTopics, ListOpen: true, Dir: t.TempDir(), Found: func(f Finding) error { a.found = append(a.found, f); return nil }}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	a.Report, err = Run(t.Context(), cfg)
	require.NoError(t, err)
	sum := a.Held + a.Lost + a.Unknown + a.InFlight + a.Waiting + a.DeadLetters + a.Unknowable + a.Unaccounted
	for _, n := range a.Ended {
		sum += n
	}
	require.Equal(t, a.Notifications, sum, "each is in one class")
	return a
}

// unaccounted returns what is missing for each unaccounted notification, by id.
func (a audited) unaccounted() map[string]Why {
	unaccounted := map[string]Why{}
	for _, f := range a.found {
		if f.What == FoundUnaccounted {
			unaccounted[f.ID] = f.Why
		}
	}
	return unaccounted
}

// brief returns the report without zero fields and without its time.
func (a audited) brief() string {
	b, _ := json.Marshal(map[string]any{"ended": a.Ended, "n": []int64{a.Held, a.InFlight, a.Waiting, a.DeadLetters, a.Unknowable, a.Unaccounted}})
	return string(b)
}
