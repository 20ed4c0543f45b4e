package cmd

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// What is on the bus is what the documents say, to a tool that others wrote: it reads what the API took, and what it
// writes is delivered.
func TestKcat(t *testing.T) {
	brokers := realKafka(t)
	f := newFleet(t, brokers, 12, newSink(0))
	api, url := f.serveAnywhere()
	topic := f.prefix + "email_topic"

	const body = `{"channel":"email","recipient":"Ada <ada@EXAMPLE.com>","reference":"order 1","metadata":{"k":"v"},"payload":{"from":"a@example.com","subject":"1","text":"1 < 2 & ü"}}`
	response, err := http.Post(url+"/v1/notifications", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	var accepted struct{ ID string }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&accepted))
	response.Body.Close()
	require.Equal(t, http.StatusAccepted, response.StatusCode)

	line := strings.Split(strings.TrimSpace(kcat(t, brokers, "", "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", `%p\t%k\t%h\t%s\n`)), "\t")
	require.Len(t, line, 4)
	require.Equal(t, "ada@example.com", line[1], "the key is the bare address")
	require.Contains(t, line[2], "ls-id="+accepted.ID)
	require.Contains(t, line[3], "1 < 2 & ü", "without HTML escaping")
	var record map[string]any
	require.NoError(t, json.Unmarshal([]byte(line[3]), &record))
	for key, want := range map[string]any{
		"id": accepted.ID, "tenant": "default", "channel": "email", "recipient": "Ada <ada@EXAMPLE.com>", "reference": "order 1",
		"metadata": map[string]any{"k": "v"}, "payload": map[string]any{"from": "a@example.com", "subject": "1", "text": "1 < 2 & ü"},
	} {
		require.Equal(t, want, record[key], key)
	}

	own, named := uuid.NewString(), uuid.NewString()
	put := func(value string, args ...string) {
		kcat(t, brokers, value, append([]string{"-P", "-t", topic, "-X", "partitioner=murmur2_random"}, args...)...)
	}
	put(`{"id":"`+own+`","channel":"email","recipient":"ada@example.com","payload":{"from":"a@example.com","subject":"2","text":"x"}}`, "-k", "ada@example.com")
	put(`{"recipient":"ada@example.com","payload":{"from":"a@example.com","subject":"3","text":"x"}}`, "-k", "ada@example.com")
	put(`{"recipient":"bob@example.com","payload":{"from":"a@example.com","subject":"1","text":"x"}}`)
	put(`{"recipient":"carl@example.com","payload":{"from":"a@example.com","subject":"1","text":"x"},"later":1}`, "-H", "ls-id="+named)
	put(`no JSON at all`, "-k", "ada@example.com")
	put(`{"recipient":"nobody","payload":{"subject":"x"}}`, "-k", "nobody")

	worker := f.work("email")
	for _, id := range []string{"ada@example.com/1", "ada@example.com/2", "ada@example.com/3", "bob@example.com/1", "carl@example.com/1"} {
		require.Eventually(t, func() bool { return f.sink.has(id) }, patience, 10*time.Millisecond, id)
	}
	var dead string
	require.Eventually(t, func() bool {
		dead = kcat(t, brokers, "", "-C", "-q", "-t", topic+".dlq", "-o", "beginning", "-e", "-f", `%h\t%s\n`)
		return strings.Count(dead, "\n") == 2
	}, patience, 100*time.Millisecond)
	require.Contains(t, dead, "\tno JSON at all\n", "its bytes are untouched")
	require.Contains(t, dead, "ls-dead-reason=")
	require.Contains(t, dead, "ls-origin-topic="+topic)
	worker.term()
	api.term()
	_, repeated := f.sink.counts()
	require.Zero(t, repeated)
	require.Zero(t, f.sink.disorder)

	sent := map[string]int{}
	rejected := 0
	for event := range strings.Lines(kcat(t, brokers, "", "-C", "-q", "-t", f.prefix+"status_topic", "-o", "beginning", "-e", "-f", `%s\n`)) {
		var e struct {
			ID       string `json:"notification_id"`
			State    string
			Final    bool
			Warnings []string
		}
		if strings.TrimSpace(event) == "" {
			continue // the worker's own
		}
		require.NoError(t, json.Unmarshal([]byte(event), &e), event)
		require.True(t, e.Final)
		if e.State == "rejected" {
			rejected++
			continue
		}
		require.Equal(t, "sent", e.State)
		sent[e.ID]++
	}
	require.Equal(t, 2, rejected)
	require.Len(t, sent, 5)
	require.Equal(t, 1, sent[own])
	require.Equal(t, 1, sent[named])
	require.Equal(t, 1, sent[accepted.ID])
	derived := 0
	for id := range sent {
		if uuid.MustParse(id).Version() == 8 {
			derived++
		}
	}
	require.Equal(t, 2, derived, "who brings no id gets one that is made of its place")

	// a key that kcat hashed and one that the API hashed share a partition, or order would not hold between them
	partitions := strings.Fields(kcat(t, brokers, "", "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", `%p:%k `))
	var of []string
	for _, p := range partitions {
		if n, key, _ := strings.Cut(p, ":"); key == "ada@example.com" {
			of = append(of, n)
		}
	}
	require.Len(t, of, 4)
	require.Len(t, slices.Compact(of), 1)
}
