package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
	"github.com/laudspeaker/laudspeaker/internal/validate"
	"github.com/laudspeaker/laudspeaker/producer"
)

// BenchmarkSubmit is how many notifications a second the API makes durable, from a few clients over HTTP, one by one and in
// batches of 1,000, with and without keys: on an embedded broker, or on the Kafka of LAUDSPEAKER_TEST_BROKERS; keys in SQLite.
func BenchmarkSubmit(b *testing.B) {
	url := submitting(b)
	var numbers atomic.Int64
	one := func(key bool) string {
		n := numbers.Add(1)
		member := ""
		if key {
			member = fmt.Sprintf(`"idempotency_key":"key-%d",`, n)
		}
		return fmt.Sprintf(`{%s"channel":"sms","recipient":"+1415555%04d","reference":"order %d","payload":{"body":"Your code is %d."}}`, member, n%10_000, n, n)
	}
	for _, keyed := range []bool{false, true} {
		b.Run(fmt.Sprintf("single/keyed=%t", keyed), func(b *testing.B) {
			measure(b, 1, func() *http.Request {
				r := submitted(b, url, one(false))
				if keyed {
					r.Header.Set("Idempotency-Key", fmt.Sprintf("single-%d", numbers.Add(1)))
				}
				return r
			})
		})
		b.Run(fmt.Sprintf("batch/keyed=%t", keyed), func(b *testing.B) {
			measure(b, validate.MaxBatch, func() *http.Request {
				items := make([]string, validate.MaxBatch)
				for i := range items {
					items[i] = one(keyed)
				}
				return submitted(b, url+"/batch", `{"notifications":[`+strings.Join(items, ",")+`]}`)
			})
		})
	}
}

func submitted(b *testing.B, url, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	require.NoError(b, err)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// measure counts what is accepted by requests of size notifications each.
func measure(b *testing.B, size int, request func() *http.Request) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	b.SetParallelism(4) // times GOMAXPROCS
	began, accepted := time.Now(), atomic.Int64{}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			answer, err := client.Do(request())
			if err != nil {
				b.Error(err)
				return
			}
			content, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if size > 1 {
				accepted.Add(int64(bytes.Count(content, []byte(`{"status":202`))))
			} else if answer.StatusCode == http.StatusAccepted {
				accepted.Add(1)
			}
			if err != nil || answer.StatusCode >= 300 {
				b.Error(err, answer.Status)
			}
		}
	})
	b.ReportMetric(float64(accepted.Load())/time.Since(began).Seconds(), "accepted/s")
	b.ReportMetric(float64(int64(b.N*size)-accepted.Load()), "refused")
}

// submitting serves the API on a bus and a store of its own, and gives the URL of its notifications.
func submitting(b *testing.B) string {
	brokers := kafkatest.Brokers(b)
	topic := kafkatest.Topic(b, brokers, 12)
	publisher := kafka.NewPublisher(kafka.Config{Brokers: brokers}, kafka.PublisherConfig{Log: zap.NewNop(), MaxRecords: 40_000})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- publisher.Run(ctx) }()
	keys, err := store.Open(ctx, store.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	require.Eventually(b, func() bool { return publisher.Ready() == nil }, time.Minute, 10*time.Millisecond)
	api, err := producer.New(producer.Config{
		Dispatcher: dispatcher.New(dispatcher.Config{
			Topics:    dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelSMS: topic}},
			Rules:     validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}},
			Publisher: publisher,
		}),
		Idempotency: keys, Log: zap.NewNop(),
	})
	require.NoError(b, err)
	server := httptest.NewServer(api)
	b.Cleanup(func() {
		server.Close()
		cancel()
		require.NoError(b, <-ended)
		require.NoError(b, keys.Close())
	})
	return server.URL + "/v1/notifications"
}
