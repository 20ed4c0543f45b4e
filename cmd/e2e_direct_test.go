package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const directID = "0190163d-8694-739b-aea5-966c26f8ad91"

// direct is a record that a producer of somebody else's writes straight to email_topic.
type direct struct {
	name    string
	key     string // "" = null
	value   string // %s is the recipient, which is made from the name; "null" = null
	headers []string
	state   notify.State
	dead    string // reason of the dead letter; "" = none
	says    string // part of the event's reason, or of its first warning when it was sent
}

const plain = `{"recipient":%s,"payload":{"subject":"Hello","text":"It works."}}`

func with(member string) string { return "{" + member + "," + plain[1:] }

var directs = []direct{
	{name: "without anything", value: plain, state: notify.StateSent},
	{name: "channel and key", key: "k", value: with(`"channel":"email"`), state: notify.StateSent},
	{name: "foreign headers", value: plain, headers: []string{"traceparent", "00-1-2-3", "x", "\xff"}, state: notify.StateSent},
	{name: "bad headers of ours", value: plain, headers: []string{
		"ls-schema", "one", "ls-run", "-1", "ls-step", "x", "ls-attempt", "", "ls-home", "99999999999999999999", "ls-id", "nobody", "ls-accepted-at", "never",
		"ls-lane", "\xff\xfe", "ls-not-before", "",
	}, state: notify.StateSent},
	{name: "lane of the value", value: with(`"lane":"urgent"`), state: notify.StateSent, says: "the lane was ignored"},
	{name: "unknown field", value: with(`"colour":"red"`), state: notify.StateSent, says: "colour"},
	{name: "too late", value: with(`"expires_at":"2020-01-01T00:00:00Z"`), state: notify.StateExpired, says: notify.ReasonExpired},

	{name: "another channel", key: "k", value: with(`"channel":"sms"`), state: notify.StateRejected, dead: notify.ReasonInvalid, says: "#/channel"},
	{name: "no payload", value: `{"recipient":%s}`, state: notify.StateRejected, dead: notify.ReasonInvalid, says: "#/payload"},
	{name: "unknown field in the payload", value: `{"recipient":%s,"payload":{"subject":"s","text":"t","colour":"red"}}`, state: notify.StateRejected, dead: notify.ReasonInvalid, says: "#/payload/colour"},
	{name: "two of one name", value: with(`"recipient":"eve@example.com"`), state: notify.StateRejected, dead: notify.ReasonInvalid, says: "#/recipient"},
	{name: "bytes", key: "k", value: "\xff\x00\xfe{", headers: []string{"traceparent", "00-1-2-3", "x-mine", "y"}, state: notify.StateRejected, dead: notify.ReasonUndecodable, says: "UTF-8"},
	{name: "half", value: `{"recipient":"`, state: notify.StateRejected, dead: notify.ReasonUndecodable},
	{name: "an array", value: `[]`, state: notify.StateRejected, dead: notify.ReasonUndecodable},
	{name: "nothing", key: "k", value: "", state: notify.StateRejected, dead: notify.ReasonUndecodable},
	{name: "a tombstone", key: "k", value: "null", state: notify.StateRejected, dead: notify.ReasonUndecodable},
	{name: "a later schema", value: with(`"recipients":"?"`), headers: []string{"ls-schema", "3"}, state: notify.StateRejected, dead: notify.ReasonSchemaUnknown, says: "upgrade"},
	{name: "a later schema that is no JSON", value: "\x00", headers: []string{"ls-schema", "18446744073709551616"}, state: notify.StateRejected, dead: notify.ReasonSchemaUnknown},
	{name: "template", value: `{"recipient":%s,"template":{"id":"welcome"}}`, state: notify.StateRejected, dead: notify.ReasonNotSupportedYet, says: "#/template"},
	{name: "years ahead", value: with(`"send_at":"2040-01-01T00:00:00Z"`), state: notify.StateRejected, dead: notify.ReasonInvalid, says: "#/send_at"},
	{name: "long due", value: with(`"send_at":"2020-01-01T00:00:00Z"`), state: notify.StateSent},
	{name: "sensitive", value: with(`"sensitive":true`), state: notify.StateSent},
	{name: "hold", value: with(`"on_ambiguous":"hold"`), state: notify.StateSent},
	{name: "idempotency", value: plain, headers: []string{"ls-idempotency", "a"}, state: notify.StateSent},
	{name: "not before is not theirs to say", value: plain, headers: []string{"ls-not-before", "2040-01-01T00:00:00Z"}, state: notify.StateSent},
}

func (d direct) recipient() string { return strings.ReplaceAll(d.name, " ", "-") + "@example.com" }

func (d direct) message(topic string) kafka.Message {
	m := kafka.Message{Topic: topic, Partition: kafka.Hashed, Value: []byte(strings.Replace(d.value, "%s", `"`+d.recipient()+`"`, 1))}
	if d.value == "null" {
		m.Value = nil
	}
	if d.key != "" {
		m.Key = []byte(d.key)
	}
	for i := 0; i < len(d.headers); i += 2 {
		m.Headers = append(m.Headers, kafka.Header{Key: d.headers[i], Value: []byte(d.headers[i+1])})
	}
	return m
}

// at waits for the record at a place of a topic.
func (b *bus) at(topic string, partition int32, offset int64) *kafka.Record {
	b.t.Helper()
	return b.await(topic, func(r *kafka.Record) bool { return r.Partition == partition && r.Offset == offset })
}

// endOf waits for the outcome of the job at a place of a topic.
func (b *bus) endOf(job *kafka.Record) outcome {
	b.t.Helper()
	r := b.await("status_topic", func(r *kafka.Record) bool {
		h := headersOf(r)
		return isEvent(r) && h["ls-job-topic"] == job.Topic && h["ls-job-partition"] == number(int64(job.Partition)) && h["ls-job-offset"] == number(job.Offset)
	})
	return outcome{eventOf(b.t, r), r}
}

func TestRecordsWrittenStraightToTheTopic(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := newRelay(t)
		p := boot(t, "work --channel email", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		jobs := map[string]*kafka.Record{}
		for _, d := range directs {
			partition, offset := b.publish(d.message(b.prefix + "email_topic"))
			jobs[d.name] = b.at("email_topic", partition, offset)
		}
		sent, dead := 0, 0
		for _, d := range directs {
			t.Run(d.name, func(t *testing.T) {
				job := jobs[d.name]
				o := b.endOf(job)
				b.requireOutcome(o, d.state, notify.ChannelEmail, job)
				require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", o.NotificationID, "UUIDv8, made from the record's place")
				require.Len(t, r.taken(d.recipient()), map[bool]int{true: 1}[d.state == notify.StateSent])
				switch {
				case d.state == notify.StateSent:
					sent++
					require.Equal(t, []notify.Verdict{notify.Accepted}, verdicts(o.Event))
					require.Contains(t, strings.Join(o.Warnings, "\n"), d.says)
				default:
					require.Empty(t, o.Tries, "no gateway sees it")
					require.Contains(t, o.Reason, d.says)
				}
				if d.dead != "" {
					dead++
					require.Zero(t, o.Attempt)
					require.True(t, strings.HasPrefix(o.Reason, d.dead), o.Reason)
					b.requireDeadLetter(b.deadLetter("email_topic", o.NotificationID), job, o, d.dead)
				}
			})
		}
		require.Equal(t, sent, r.total())
		require.Len(t, b.records("email_topic.dlq"), dead)
		require.True(t, p.running())
	})
}

// An id is the value's, else the header's; both name the notification in whatever case.
func TestRecordsThatBringAnID(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := newRelay(t)
		boot(t, "work --channel email", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		header := strings.Replace(directID, "0190", "0191", 1)
		for _, c := range []struct {
			value, header, id string
			state             notify.State
		}{
			{with(`"id":"` + strings.ToUpper(directID) + `"`), header, directID, notify.StateSent},
			{plain, strings.ToUpper(header), header, notify.StateSent},
			{"{", strings.Replace(directID, "0190", "0192", 1), strings.Replace(directID, "0190", "0192", 1), notify.StateRejected},
		} {
			d := direct{name: "ada", value: c.value, headers: []string{"ls-id", "no id", "ls-id", c.header}}
			partition, offset := b.publish(d.message(b.prefix + "email_topic"))
			job := b.at("email_topic", partition, offset)
			o := b.endOf(job)
			b.requireOutcome(o, c.state, notify.ChannelEmail, job)
			require.Equal(t, c.id, o.NotificationID)
		}
		mails := r.taken("ada@example.com")
		require.Len(t, mails, 2)
		h, _ := mails[0].open(t)
		require.Equal(t, "<"+directID+"@acme.example>", h.Get("Message-Id"))
	})
}

// A null key has no order: such records neither wait for each other nor pile up in one partition.
func TestRecordsWithoutAKeySpread(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		provider := newSlowProvider(t)
		boot(t, "work --channel sms", yaml(b, map[string]string{"texts": texts(provider.URL)}, map[string]string{"sms": "gateways: [texts]"}))
		const n = 9 // of three partitions, all to one number
		partitions := map[int32]bool{}
		for i := range n {
			partition, _ := b.publish(kafka.Message{
				Topic: b.prefix + "sms_topic", Partition: kafka.Hashed,
				Value: fmt.Appendf(nil, `{"recipient":"+14155550100","payload":{"body":"%d"}}`, i),
			})
			partitions[partition] = true
		}
		for range n {
			<-provider.begun // all at once: none has been answered yet
		}
		require.Greater(t, len(partitions), 1)
		provider.release()
		require.Eventually(t, func() bool { return len(b.records("status_topic")) == n }, patience, 10*time.Millisecond)
	})
}
