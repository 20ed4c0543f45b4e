package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// attacker makes bad requests and records of good ones. The same seed makes the same.
type attacker struct {
	*rand.Rand
	good, bad []string
	weeks     string // a time that a notification may wait for
}

func newAttacker(t *testing.T, seed uint64) *attacker {
	a := &attacker{Rand: rand.New(rand.NewPCG(seed, 7)), weeks: time.Now().Add(14 * 24 * time.Hour).UTC().Format(time.RFC3339)}
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
			s = strings.Replace(s, "{", `{"`+a.one("id", "lane", "send_at", "template", "x"+planted, "recipient", "sensitive", "channel")+`":`+a.one(`"`+planted+`"`, `"`+a.weeks+`"`, "1", "null", "{}", "true", "[]")+",", 1)
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

// record is a record for one of the channels, on a lane or where jobs wait, with headers of any kind.
func (a *attacker) record(prefix string) kafka.Message {
	m := kafka.Message{Topic: prefix + a.one("email_topic", "sms_topic", "push_topic"), Partition: kafka.Hashed, Value: []byte(a.body())}
	switch {
	case strings.Contains(string(m.Value), `"channel":"sms"`) && a.IntN(4) > 0:
		m.Topic = prefix + "sms_topic"
	case strings.Contains(string(m.Value), `"channel":"email"`) && a.IntN(4) > 0:
		m.Topic = prefix + "email_topic"
	}
	if a.IntN(4) == 0 {
		m.Topic += a.one(".urgent", ".bulk", ".delay.5s")
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
			Value: []byte(a.one("", "1", "2", "-1", "99999999999999999999", planted, "\xff\xfe\x00", "2040-01-01T00:00:00Z", a.weeks, "urgent", directID, strings.Repeat("h", 6000))),
		})
	}
	return m
}
