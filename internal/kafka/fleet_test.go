package kafka_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// courier is the handler of the tests: it hands each record to the sink and reports an outcome.
type courier struct {
	url, name string
	client    *http.Client
}

func newCourier(url, name string) *courier {
	return &courier{url, name, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
}

func (c *courier) Identify(r *kafka.Record) string { return string(r.Value) }

func (c *courier) Handle(ctx context.Context, a *kafka.Attempt) kafka.Result {
	ctx, cancel := a.Timeout(ctx)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/"+c.name+"/"+string(a.Value), http.NoBody)
	resp, err := c.client.Do(req)
	if err != nil {
		return kafka.Result{Again: time.Now().Add(time.Second)}
	}
	_ = resp.Body.Close()
	return kafka.Result{Outcome: &kafka.Outcome{Key: a.Value, Value: []byte(`{"state":"sent"}`)}}
}

// node is everything one process runs: a ledger, a publisher and a runner.
type node struct {
	runner *kafka.Runner
	parts  []func(context.Context) error
}

func newNode(cfg kafka.Config, group string, topics []string, ledger string, h kafka.Handler, log *zap.Logger, more func(*kafka.RunnerConfig)) (*node, error) {
	l, err := kafka.NewLedger(cfg, ledger, log)
	if err != nil {
		return nil, err
	}
	p := kafka.NewPublisher(cfg, kafka.PublisherConfig{Persistent: true, Log: log})
	rc := kafka.RunnerConfig{
		Kafka: cfg, Group: group, Topics: topics, Handler: h, Ledger: l, Publisher: p, Log: log, AttemptTimeout: 8 * time.Second,
	}
	if more != nil {
		more(&rc)
	}
	r, err := kafka.NewRunner(rc)
	if err != nil {
		return nil, err
	}
	return &node{r, []func(context.Context) error{l.Run, p.Run}}, nil
}

// run works until ctx ends: the runner drains first, then what it needs ends.
func (n *node) run(ctx context.Context) error {
	rest, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, part := range n.parts {
		wg.Go(func() { _ = part(rest) })
	}
	err := n.runner.Run(ctx)
	end()
	wg.Wait()
	return err
}

// child is a worker process: the test binary, told by its environment to be one.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan error
}

const childEnv = "LAUDSPEAKER_TEST_CHILD"

func spawn(t testing.TB, name string, brokers []string, group, topic, ledger, url string, concurrency int) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{
		name, strings.Join(brokers, ";"), group, topic, ledger, url, strconv.Itoa(concurrency),
	}, ","))
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	c := &child{name, cmd, make(chan error, 1)}
	go func() { c.done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return c
}

// beChild is the life of a worker process.
func beChild(spec string) int {
	f := strings.Split(spec, ",")
	concurrency, _ := strconv.Atoi(f[6])
	ctx, stop := signalContext()
	defer stop()
	cfg := kafka.Config{Brokers: strings.Split(f[1], ";"), Group: kafka.Group{SessionTimeout: 6 * time.Second, HeartbeatInterval: time.Second}}
	zc := zap.NewDevelopmentConfig()
	zc.Level = zap.NewAtomicLevelAt(zap.WarnLevel)
	log, _ := zc.Build(zap.Fields(zap.String("worker", f[0])))
	n, err := newNode(cfg, f[2], []string{f[3]}, f[4], newCourier(f[5], f[0]), log, func(rc *kafka.RunnerConfig) { rc.Concurrency = concurrency })
	if err == nil {
		err = n.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker", f[0], err)
		return 1
	}
	return 0
}

// term asks the child to end and waits until it has.
func (c *child) term(t testing.TB) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-c.done:
		require.NoError(t, err, "a worker that is asked to end must exit with 0")
	case <-time.After(time.Minute):
		t.Fatalf("worker %s does not end", c.name)
	}
}

func (c *child) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	<-c.done
}
