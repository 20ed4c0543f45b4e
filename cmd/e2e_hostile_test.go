package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

// attacker makes bad requests and records of good ones. The same seed makes the same.
type attacker struct {
	*rand.Rand
	good, bad []string
}

func newAttacker(t *testing.T, seed uint64) *attacker {
	a := &attacker{Rand: rand.New(rand.NewPCG(seed, 7))}
	files, err := filepath.Glob("../internal/validate/testdata/*/*.json")
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var fixture struct{ Submitted json.RawMessage }
		if json.Unmarshal(raw, &fixture) == nil && fixture.Submitted != nil {
			raw = fixture.Submitted
		}
		var compact bytes.Buffer
		if json.Compact(&compact, raw) != nil {
			compact.Write(raw)
		}
		if strings.Contains(file, "/valid/") {
			a.good = append(a.good, compact.String())
		} else {
			a.bad = append(a.bad, compact.String())
		}
	}
	require.NotEmpty(t, a.good)
	require.NotEmpty(t, a.bad)
	return a
}

func (a *attacker) one(of ...string) string { return of[a.IntN(len(of))] }

// body is a notification with something wrong with it, mostly.
func (a *attacker) body() string {
	s := a.one(a.good...)
	if a.IntN(3) == 0 {
		s = a.one(a.bad...)
	}
	for range a.IntN(4) {
		i := a.IntN(len(s) + 1)
		j := min(i+a.IntN(12), len(s))
		switch a.IntN(6) {
		case 0:
			s = s[:i] + s[j:]
		case 1:
			s = s[:i] + planted + s[i:]
		case 2:
			s = s[:i] + a.one("\x00", "\xff", `\u0000`, `\ud800`, "\r\n", `"`, "{", "}", "[", "null", "1e999", "🚀", "\u2028") + s[j:]
		case 3:
			s = strings.Replace(s, "{", `{"`+a.one("id", "lane", "send_at", "template", "x"+planted, "recipient", "sensitive", "channel")+`":`+a.one(`"`+planted+`"`, "1", "null", "{}", "true", "[]")+",", 1)
		case 4:
			s = strings.Replace(s, "@", "+"+planted+"@", 1)
		default:
			s = s[:i]
		}
	}
	switch a.IntN(40) {
	case 0:
		return a.one("", "null", "[]", `"`+planted+`"`, strings.Repeat("[", 9_999), strings.Repeat(`{"a":`, 9_999), "\xff\xfe"+planted)
	case 1:
		noise := make([]byte, a.IntN(300))
		for i := range noise {
			noise[i] = byte(a.Uint32())
		}
		return string(noise)
	}
	return s
}

// wire is a request as it goes over the wire.
func (a *attacker) wire(key, body string) string {
	line := "POST /v1/notifications HTTP/1.1"
	if a.IntN(10) == 0 {
		line = a.one("GET /v1/outbox/"+planted+" HTTP/1.1", "GET /v1/outbox?limit="+planted+" HTTP/1.1", "DELETE /v1/notifications HTTP/1.1", "BREW /"+planted+" HTTP/1.1",
			"POST /v1/notifications/../outbox HTTP/1.1", "POST /%00%ff HTTP/1.1", "GET /livez HTTP/1.1", "POST http://"+planted+"/v1/notifications HTTP/1.1",
			"POST /v1/notifications HTTP/1.0", "POST /v1/notifications HTTP/9.9", "\x16\x03\x01"+planted, "POST  /v1/notifications", "GET /"+strings.Repeat("x", 40_000)+" HTTP/1.1")
	}
	headers := []string{"Host: 127.0.0.1", "Content-Type: application/json", "Authorization: Bearer " + key, fmt.Sprintf("Content-Length: %d", len(body))}
	if a.IntN(5) == 0 {
		headers[a.IntN(len(headers))] = a.one("Host: "+planted, "Content-Type: text/plain", "Authorization: Bearer ls_"+key[3:11]+"_"+planted, "Content-Length: -1", unending,
			"Content-Length: 99999999999", "Origin: https://"+planted, "Idempotency-Key: "+planted, "X-Request-Id: "+planted+" \x7f", "X-Big: "+strings.Repeat("x", 40_000), "Content-Encoding: "+planted, " folded: "+planted, ": "+planted, "Cookie: "+planted)
	}
	return line + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}

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

// record is a record for one of the channels, with headers of any kind.
func (a *attacker) record(prefix string) kafka.Message {
	m := kafka.Message{Topic: prefix + a.one("email_topic", "sms_topic", "push_topic"), Partition: kafka.Hashed, Value: []byte(a.body())}
	switch {
	case strings.Contains(string(m.Value), `"channel":"sms"`) && a.IntN(4) > 0:
		m.Topic = prefix + "sms_topic"
	case strings.Contains(string(m.Value), `"channel":"email"`) && a.IntN(4) > 0:
		m.Topic = prefix + "email_topic"
	}
	if a.IntN(2) == 0 {
		m.Key = []byte(a.one("", "k", planted, "\xff\x00", strings.Repeat("k", 3000)))
	}
	if len(m.Value) == 0 && a.IntN(2) == 0 {
		m.Value = nil
	}
	for range a.IntN(3) {
		m.Headers = append(m.Headers, kafka.Header{
			Key:   a.one("ls-schema", "ls-id", "ls-run", "ls-step", "ls-attempt", "ls-home", "ls-lane", "ls-accepted-at", "ls-not-before", "ls-idempotency", "ls-kind", "ls-dead-reason", "traceparent", "", "x"+planted, "\xff"),
			Value: []byte(a.one("", "1", "2", "-1", "99999999999999999999", planted, "\xff\xfe\x00", "2040-01-01T00:00:00Z", directID, strings.Repeat("h", 6000))),
		})
	}
	return m
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
