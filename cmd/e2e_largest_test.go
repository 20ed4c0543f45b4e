package cmd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	maxBody  = 5 << 20
	maxBytes = maxBody + 256<<10 // of a record, as the topics are made
)

// filled is an e-mail's JSON of exactly that many bytes.
func filled(t *testing.T, recipient string, size int) string {
	t.Helper()
	body := `{"channel":"email","recipient":"` + recipient + `","payload":{"subject":"large","text":""}}`
	require.Less(t, len(body), size)
	line := strings.Repeat("0123456789", 7) + `\n`
	filler := strings.Repeat(line, (size-len(body))/len(line)) + strings.Repeat("x", (size-len(body))%len(line))
	return strings.TrimSuffix(body, `"}}`) + filler + `"}}`
}

// largeRelay refuses what is for policy@, and has no time for what is for busy@.
func largeRelay(t *testing.T) *relay {
	r := newRelay(t)
	r.says(func(to string, _ int, rcpt bool) error {
		switch {
		case to == "policy@example.com" && !rcpt:
			return reply(554, 5, 7, 1, "no")
		case to == "busy@example.com" && !rcpt:
			return reply(451, 4, 3, 0, "later")
		}
		return nil
	})
	return r
}

func TestTheLargestBodyIsDeliveredAndBuried(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := largeRelay(t)
		b.impatient()
		p := boot(t, "all", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail], " + soonAgain}))
		response, err := http.Post(p.API+"/v1/notifications", "application/json", strings.NewReader(filled(t, "ada@example.com", maxBody+1)))
		require.NoError(t, err)
		answer, _ := io.ReadAll(response.Body)
		response.Body.Close()
		require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
		require.Contains(t, string(answer), `"too-large"`)
		require.Contains(t, string(answer), "5242880 bytes")

		busy := p.post(filled(t, "busy@example.com", maxBody))
		sent := p.post(filled(t, "ada@example.com", maxBody))
		policy := p.post(filled(t, "policy@example.com", maxBody))

		b.requireOutcome(b.outcome(sent), notify.StateSent, notify.ChannelEmail, b.job("email_topic", sent))
		mails := r.taken("ada@example.com")
		require.Len(t, mails, 1)
		_, parts := mails[0].open(t)
		want := strings.Split(filled(t, "ada@example.com", maxBody), `"text":"`)[1]
		want = strings.ReplaceAll(strings.TrimSuffix(want, `"}}`), `\n`, "\r\n")
		require.True(t, want == strings.TrimSuffix(parts[0].content, "\r\n"), "the text has %d bytes, not %d", len(parts[0].content), len(want))

		o, job := b.outcome(policy), b.job("email_topic", policy)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelEmail, job)
		b.requireDeadLetter(b.deadLetter("email_topic", policy), job, o, o.Tries[0].Reason)
		b.requireSteps(busy, notify.StateDead, 4) // there is room for it on the ladder, too
		o, job = b.outcome(busy), b.step("email_topic", busy, 3)
		b.requireOutcome(o, notify.StateDead, notify.ChannelEmail, job)
		b.requireDeadLetter(b.deadLetter("email_topic", busy), job, o, notify.ReasonAttemptsUsedUp)
		require.Equal(t, 1, r.total())
	})
}

// What others write may fill the topic's limit to the last byte. It is delivered; where it fails, there is no room for the
// headers of a dead letter, and one without the value says where it is.
func TestTheLargestRecordOfADirectProducer(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := largeRelay(t)
		p := boot(t, "work --channel email", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail]"}))
		size := b.largest(maxBytes)
		require.Greater(t, size, maxBytes-200, "a record and its batch add less than that")

		job := b.put("ada@example.com", size)
		b.requireOutcome(b.endOf(job), notify.StateSent, notify.ChannelEmail, job)
		require.Len(t, r.taken("ada@example.com"), 1)
		b.noDeadLetters("email_topic")

		fits := b.put("policy@example.com", maxBytes-dispatcher.Headroom)
		o := b.endOf(fits)
		b.requireDeadLetter(b.deadLetter("email_topic", o.NotificationID), fits, o, o.Tries[0].Reason)

		job = b.put("policy@example.com", size)
		o = b.endOf(job)
		b.requireOutcome(o, notify.StateRejected, notify.ChannelEmail, job)
		d := b.deadLetter("email_topic", o.NotificationID)
		require.Empty(t, d.Value)
		h := headersOf(d)
		require.Equal(t, []string{notify.ReasonTooLarge, job.Topic, number(int64(job.Partition)), number(job.Offset)},
			[]string{h[notify.HeaderDeadReason], h[notify.HeaderOriginTopic], h[notify.HeaderOriginPartition], h[notify.HeaderOriginOffset]})
		require.Len(t, kafkatest.All(t, b.brokers, b.prefix+"email_topic.dlq"), 2)

		// nothing stands still behind it
		after := b.put("ada@example.com", 1000)
		b.requireOutcome(b.endOf(after), notify.StateSent, notify.ChannelEmail, after)
		require.True(t, p.running())
	})
}

// put writes an e-mail of that many bytes straight to its topic.
func (b *bus) put(recipient string, size int) *kafka.Record {
	b.t.Helper()
	partition, offset := b.publish(kafka.Message{Topic: b.prefix + "email_topic", Value: []byte(filled(b.t, recipient, size))})
	return b.at("email_topic", partition, offset)
}

// largest finds the size of the largest value that the topic takes, by asking the broker about everything from above.
func (b *bus) largest(limit int) int {
	b.t.Helper()
	topic := kafkatest.Topic(b.t, b.brokers, 1, "max.message.bytes", number(int64(limit)))
	low, high := limit-1000, limit+1
	for high-low > 1 {
		middle := (low + high) / 2
		answer := make(chan error, 1)
		m := kafka.Message{Topic: topic, Value: []byte(filled(b.t, "policy@example.com", middle))}
		require.Eventually(b.t, func() bool { return b.send(m, func(err error) { answer <- err }) == nil }, patience, 10*time.Millisecond)
		if err := <-answer; err == nil {
			low = middle
		} else {
			require.True(b.t, errors.Is(err, kafka.ErrTooLarge), "%v", err)
			high = middle
		}
	}
	return low
}

// Where a topic takes less than it did, a job ends all the same: its last event says dead, and its letter has its value.
func TestAJobThatATopicNoLongerTakesEnds(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		r := largeRelay(t)
		b.impatient()
		boot(t, "work --channel email", yaml(b, map[string]string{"mail": r.gateway()}, map[string]string{"email": "gateways: [mail], retries: {normal: {first: 1h, longest: 1h}}"}))
		write := func() *kafka.Record {
			random := make([]byte, 20_000) // which no compression makes small
			_, _ = rand.Read(random)
			partition, offset := b.publish(kafka.Message{Topic: b.prefix + "email_topic", Value: fmt.Appendf(nil,
				`{"recipient":"busy@example.com","payload":{"subject":"large","text":"%x"}}`, random)})
			return b.at("email_topic", partition, offset)
		}
		lower := func(topic string) { kafkatest.Set(t, b.brokers, b.prefix+topic, "max.message.bytes", "2000") }
		requireEnd := func(id string, step int, origin *notify.Origin) {
			o := b.event(id, func(e notify.Event) bool { return e.Final })
			require.Equal(t, []any{notify.StateDead, step, origin}, []any{o.State, o.Step, o.Origin})
			require.True(t, strings.HasPrefix(o.Reason, notify.ReasonTooLarge), o.Reason)
			last := b.events(id)
			require.True(t, last[len(last)-1].Final)
			d := b.deadLetter("email_topic", id)
			require.Equal(t, notify.ReasonTooLarge, headersOf(d)[notify.HeaderDeadReason])
			require.NotEmpty(t, d.Value)
		}

		waits := b.endOf(write())
		require.Equal(t, notify.StateRetrying, waits.State)
		lower("email_topic")
		for _, tier := range []string{"200ms", "1s", "5s"} {
			lower("email_topic.delay." + tier)
		}
		o := b.event(waits.NotificationID, func(e notify.Event) bool { return e.Final })
		requireEnd(waits.NotificationID, 1, o.Origin)
		require.Contains(t, o.Origin.Topic, ".delay.")
		require.Empty(t, o.Headers, "no record of the ledger")

		kafkatest.Set(t, b.brokers, b.prefix+"email_topic", "max.message.bytes", "1000000")
		job := write()
		o = b.endOf(job)
		require.Equal(t, []notify.Verdict{notify.Transient}, verdicts(o.Event))
		requireEnd(o.NotificationID, 0, &notify.Origin{Topic: job.Topic, Partition: job.Partition, Offset: job.Offset})
		require.Len(t, b.events(o.NotificationID), 1)
	})
}
