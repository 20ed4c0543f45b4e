package cmd

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// While the relay rejects the password, thousands wait: nothing is given up, the relay is asked now and then,
// and all goes out once it accepts the password again. The short form lasts one probe, the long one five minutes.
func TestAWrongMailPassword(t *testing.T) {
	t.Parallel()
	brokers := realKafka(t)
	s := newSink(0)
	f := newFleet(t, brokers, 12, s)
	api, url := f.serveAnywhere()
	l := newLoad(s, url, email)
	l.most = 1 << 30
	workers := f.workers("email", 2)
	queued := make(chan struct{})
	go func() { defer close(queued); l.run(context.Background(), min(10*scale(), 21)) }()
	require.Eventually(t, func() bool { n, _ := s.counts(); return n > 200 }, patience, time.Millisecond)
	s.refuse(true)
	<-queued
	require.Eventually(t, func() bool { return s.loginsRefused() > 0 }, patience, time.Millisecond)
	during(min(35*time.Second*time.Duration(scale()), 5*time.Minute))

	before, _ := s.counts()
	logins := s.loginsRefused()
	require.Empty(t, kafkatest.All(t, strings.Split(brokers, ","), f.prefix+"email_topic.dlq"))
	s.refuse(false)
	right := time.Now()
	l.awaitDelivery(t)
	took := time.Since(right)
	require.Empty(t, kafkatest.All(t, strings.Split(brokers, ","), f.prefix+"email_topic.dlq"))
	for _, w := range workers {
		w.term()
	}
	api.term()
	distinct, repeated := s.counts()
	t.Logf("%d acknowledged, %d waited; %d logins were refused; all delivered %s after the password was right: %d, %d repeated, %d out of order",
		l.count(), l.count()-before, logins, took.Round(time.Second), distinct, repeated, s.disorder)
	require.Greater(t, l.count()-before, 3000, "hardly anything waited")
	require.Equal(t, l.count(), distinct)
	require.Zero(t, repeated, "%s", s.repetitions())
	require.Zero(t, s.disorder)
	require.Empty(t, l.refused)
}
