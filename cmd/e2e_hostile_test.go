package cmd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	unending = "Content-Length: 9999"

	hostile = 10_000
	planted = "zq9_do_not_repeat" // in whatever an attacker chooses, though it is no domain, which logs show; no log may hold it
)

// strike sends requests, each on a connection of its own, and counts the answers; 0 is none at all.
func strike(t *testing.T, address string, requests []string) map[int]int {
	var mu sync.Mutex
	statuses := map[int]int{}
	var next atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(requests); i = next.Add(1) - 1 {
				status, answer := exchangeRaw(address, requests[i])
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				if status >= 500 && status != http.StatusHTTPVersionNotSupported {
					t.Errorf("%.2000q\nis answered with %d\n%.2000s", requests[i], status, answer)
				}
			}
		})
	}
	all.Wait()
	return statuses
}

func exchangeRaw(address, request string) (status int, answer string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return http.StatusServiceUnavailable, err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, request) // fails when the answer comes before the request has ended
	if strings.Contains(request, unending) {
		_ = conn.(*net.TCPConn).CloseWrite() // what was announced does not come
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, fmt.Sprint(response.Header) + string(body)
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		key, line := newKey(t, "shop")
		p := boot(t, "all", "api:\n  keys:\n    "+line+"\n"+simulated(b))
		a := newAttacker(t, 1)
		requests := make([]string, hostile)
		for i := range requests {
			requests[i] = a.wire(key, a.body())
		}
		statuses := strike(t, strings.TrimPrefix(p.API, "http://"), requests)
		for _, status := range []int{202, 400, 401, 404, 413, 415, 422} {
			require.Positive(t, statuses[status], "the attack is too one-sided: %v", statuses)
		}
		require.Less(t, statuses[0], hostile/50, "answers are missing: %v", statuses)
		t.Log(statuses)

		b.records("status_topic")
		require.Eventually(t, func() bool { return len(b.records("status_topic")) >= statuses[202] }, time.Minute, 200*time.Millisecond)
		require.Len(t, b.records("status_topic"), statuses[202], "each that was accepted has ended, and no other")
		for _, topic := range []string{"email_topic", "sms_topic", "push_topic"} {
			b.noDeadLetters(topic) // what the API takes, a worker finds valid
		}
		require.Equal(t, http.StatusOK, statusOf(p.Admin+"/readyz"))
		for _, secret := range []string{planted, key[12:]} {
			require.NotContains(t, p.Log.String(), secret)
		}
	})
}

// simulated is all channels with a gateway that takes no time.
func simulated(b *bus) string {
	return yaml(b, map[string]string{"sim": "type: sim, latency: 0s"}, map[string]string{"email": "gateways: [sim]", "sms": "gateways: [sim]", "push": "gateways: [sim]"})
}

// flood writes records as fast as they are taken, and waits until all are on the log.
func (b *bus) flood(records []kafka.Message) {
	b.t.Helper()
	var failed atomic.Int64
	var all sync.WaitGroup
	for _, m := range records {
		all.Add(1)
		done := func(err error) {
			if err != nil {
				failed.Add(1)
			}
			all.Done()
		}
		if b.send(m, done) != nil { // not connected yet, or too much at once
			b.publish(m)
			all.Done()
		}
	}
	all.Wait()
	require.Zero(b.t, failed.Load())
}

func TestHostileRecords(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		p := boot(t, "work --channel email,sms --channel push", simulated(b))
		a := newAttacker(t, 2)
		records := make([]kafka.Message, hostile)
		for i := range records {
			records[i] = a.record(b.prefix)
		}
		b.flood(records)
		b.records("status_topic")
		require.Eventually(t, func() bool { return len(b.records("status_topic")) >= hostile }, 2*time.Minute, 500*time.Millisecond, "%d of %d have ended", len(b.records("status_topic")), hostile)

		ends, states := map[notify.Origin]outcome{}, map[notify.State]int{}
		for _, r := range b.records("status_topic") {
			h := headersOf(r)
			var partition, offset int
			_, err := fmt.Sscan(h["ls-job-partition"]+" "+h["ls-job-offset"], &partition, &offset)
			require.NoError(t, err)
			o := outcome{eventOf(t, r), r}
			require.True(t, o.Final)
			ends[notify.Origin{Topic: h["ls-job-topic"], Partition: int32(partition), Offset: int64(offset)}] = o
			states[o.State]++
		}
		require.Len(t, ends, hostile, "one outcome a record")
		t.Log(states)
		dead := b.deadLettersByOrigin("email_topic", "sms_topic", "push_topic")
		unreadable := 0
		for _, topic := range []string{"email_topic", "sms_topic", "push_topic"} {
			for _, m := range kafkatest.All(t, b.brokers, b.prefix+topic) {
				at := notify.Origin{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}
				o, d := ends[at], dead[at]
				require.Equal(t, o.Origin != nil, d != nil, "%+v", o.Event)
				require.Equal(t, o.State == notify.StateRejected, d != nil, "the simulated provider refuses nothing")
				var object map[string]json.RawMessage
				if json.Unmarshal(m.Value, &object) != nil || object == nil {
					unreadable++
					require.NotNil(t, d, "%q ended as %s", m.Value, o.State)
					require.Contains(t, []string{notify.ReasonUndecodable, notify.ReasonSchemaUnknown}, headersOf(d)[notify.HeaderDeadReason])
				}
				if d != nil {
					require.Equal(t, m.Value, d.Value, "bytes untouched")
					require.Equal(t, m.Key, d.Key)
					require.NotEmpty(t, headersOf(d)[notify.HeaderDeadReason])
					require.Equal(t, o.NotificationID, headersOf(d)[notify.HeaderID])
				}
			}
		}
		for _, n := range []int{unreadable, states[notify.StateSent], states[notify.StateRejected] - unreadable} {
			require.Greater(t, n, hostile/50, "the attack is too one-sided: %v", states)
		}
		require.True(t, p.running())
		require.NotContains(t, p.Log.String(), planted)
		require.NotContains(t, p.Log.String(), "panic")
	})
}

func (b *bus) deadLettersByOrigin(topics ...string) map[notify.Origin]*kafka.Record {
	all := map[notify.Origin]*kafka.Record{}
	for _, topic := range topics {
		want := len(kafkatest.All(b.t, b.brokers, b.prefix+topic+".dlq"))
		b.records(topic + ".dlq")
		require.Eventually(b.t, func() bool { return len(b.records(topic+".dlq")) == want }, time.Minute, 100*time.Millisecond)
		for _, d := range b.records(topic + ".dlq") {
			h := headersOf(d)
			var partition, offset int
			_, err := fmt.Sscan(h[notify.HeaderOriginPartition]+" "+h[notify.HeaderOriginOffset], &partition, &offset)
			require.NoError(b.t, err)
			at := notify.Origin{Topic: h[notify.HeaderOriginTopic], Partition: int32(partition), Offset: int64(offset)}
			require.Nil(b.t, all[at], "one dead letter a record")
			all[at] = d
		}
	}
	return all
}
