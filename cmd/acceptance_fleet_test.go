package cmd

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

const (
	// asProgramEnv: the test binary is the program itself.
	asProgramEnv = "LAUDSPEAKER_TEST_MAIN"
	// programEnv names a binary that was built for release, to judge that one instead.
	programEnv = "LAUDSPEAKER_TEST_PROGRAM"
)

// beProgram is what main does, but for the second signal.
func beProgram() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// scale multiplies the length of the acceptance tests: LAUDSPEAKER_TEST_SCALE, 1 without it.
func scale() int {
	n, _ := strconv.Atoi(os.Getenv("LAUDSPEAKER_TEST_SCALE"))
	return max(n, 1)
}

// fleet is processes of one configuration, and the sink of what they send.
type fleet struct {
	t       testing.TB
	brokers string
	prefix  string
	dir     string
	sink    *sink
	spawned int
}

// slots is the concurrency of a worker; so many of its outcomes may wait for acknowledgement beside them.
const (
	slots       = 64
	mostWaiting = 256
)

// newFleet configures SMS and e-mail, on topics of that many partitions.
func newFleet(t testing.TB, brokers string, partitions int, s *sink) *fleet {
	name := kafkatest.Name(t)
	f := &fleet{t: t, brokers: brokers, prefix: "acceptance-" + name[len(name)-8:] + ".", dir: t.TempDir(), sink: s}
	yaml := fmt.Sprintf(`
kafka: {brokers: ['%s'], prefix: '%s', partitions: %d, session_timeout: 6s}
admin: {listen: '127.0.0.1:0'}
data_dir: '%s/data'
gateways:
  texts: {type: twilio, account_sid: AC00000000000000000000000000000000, auth_token: nobody, from: '+14155550100', base_url: '%s'}
  mail: {type: smtp, host: 127.0.0.1, port: %d, username: u, password: p, tls: none, connections: %d}
channels:
  sms: {gateways: [texts], concurrency: %d}
  email: {gateways: [mail], concurrency: %[8]d}
`, strings.ReplaceAll(brokers, ",", "','"), f.prefix, partitions, f.dir, s.twilio(t), s.relay(t), mailConnections, slots)
	require.NoError(t, os.WriteFile(f.dir+"/laudspeaker.yaml", []byte(yaml), 0o600))
	t.Cleanup(func() { kafkatest.Drop(strings.Split(brokers, ","), f.prefix) })
	return f
}

const mailConnections = 16

// work starts a worker of the channel, with more arguments if there are any.
func (f *fleet) work(channel string, args ...string) *child {
	f.spawned++
	name := fmt.Sprintf("w%d", f.spawned)
	args = append([]string{"work", "--channel", channel, "--config", f.dir + "/laudspeaker.yaml", "--set", "gateways.texts.auth_token=" + name}, args...)
	if channel == "email" {
		args = append(args, "--set", "gateways.mail.helo="+name)
	}
	return launch(f.t, f.dir, name, args...)
}

func (f *fleet) workers(channel string, n int) (ws []*child) {
	for range n {
		ws = append(ws, f.work(channel))
	}
	return ws
}

// serve starts an API at the URL, with more arguments if there are any, and waits until it is ready.
func (f *fleet) serve(url string, args ...string) *child {
	f.spawned++
	api := launch(f.t, f.dir, fmt.Sprintf("api%d", f.spawned), append([]string{
		"serve-api", "--config", f.dir + "/laudspeaker.yaml", "--set", "api.listen=" + strings.TrimPrefix(url, "http://"),
	}, args...)...)
	require.Eventually(f.t, func() bool { return statusOf(url+"/readyz") == http.StatusOK }, patience, 20*time.Millisecond, "the API is not ready")
	return api
}

// serveAnywhere is serve at a free port.
func (f *fleet) serveAnywhere() (api *child, url string) {
	url = "http://" + freeAddress("127.0.0.1")
	return f.serve(url), url
}

// awaitBusy returns when every worker has messages in flight: a fault that strikes an idle worker proves nothing.
func (f *fleet) awaitBusy(ws ...*child) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		for _, w := range ws {
			if f.sink.inFlight(w.name) < slots/8 {
				return false
			}
		}
		return true
	}, patience, time.Millisecond, "not all workers are busy")
}

// finish ends the load, waits for what it was promised, ends the workers, and judges: nothing lost, order kept, no more
// repeated than may be. A last worker then shows that the others have left nothing behind.
func (f *fleet) finish(l *load, stop func(), mayRepeat int, ws ...*child) {
	f.t.Helper()
	stop()
	l.awaitDelivery(f.t)
	for _, w := range ws {
		w.term()
	}
	last := f.work("sms")
	marker := newLoad(f.sink, l.url, func(key, _ int) (string, string) { return sms(key, 1_000_000) })
	marker.run(context.Background(), 1)
	require.Len(f.t, marker.acked, keys)
	marker.awaitDelivery(f.t) // of each partition, after all else
	last.term()
	distinct, repeated := f.sink.counts()
	f.t.Logf("%d acknowledged, %d refused, %d without an answer, slowest answer %s; %d delivered, %d repeated (at most %d may be), %d out of order",
		l.count(), len(l.refused), l.broken, l.slowest.Round(time.Millisecond), distinct, repeated, mayRepeat, f.sink.disorder)
	require.LessOrEqual(f.t, repeated, mayRepeat, "%s", f.sink.repetitions())
	require.Zero(f.t, f.sink.disorder)
}

// fill writes n jobs straight to a topic, spread over the keys.
func (f *fleet) fill(topic string, n int, body func(key, number int) (string, string)) {
	f.publish(n, func(i int) kafka.Message {
		value, id := body(i%keys, 1+i/keys)
		key, _, _ := strings.Cut(id, "/")
		return kafka.Message{Topic: f.prefix + topic, Partition: kafka.Hashed, Key: []byte(key), Value: []byte(value)}
	})
}

// publish writes n records, and returns when all are on the log.
func (f *fleet) publish(n int, message func(i int) kafka.Message) {
	p := kafka.NewPublisher(kafka.Config{Brokers: strings.Split(f.brokers, ",")}, kafka.PublisherConfig{Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	require.Eventually(f.t, func() bool { return p.Ready() == nil }, time.Minute, 10*time.Millisecond)
	var acked sync.WaitGroup
	room := make(chan struct{}, 5000)
	for i := range n {
		room <- struct{}{}
		acked.Add(1)
		err := p.Send(message(i), func(_ int32, _ int64, err error) {
			if err != nil {
				f.t.Error(err)
			}
			<-room
			acked.Done()
		})
		require.NoError(f.t, err)
	}
	acked.Wait()
	cancel()
	require.NoError(f.t, <-done)
}
