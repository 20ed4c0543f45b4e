package kafka_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// victim is a broker in a process of its own, there to be killed: an Apache Kafka beside the one that other tests share
// when LAUDSPEAKER_TEST_BROKERS is set, else an embedded broker.
type victim struct {
	t     testing.TB
	addr  string
	begin func() int // starts it, waits until it answers, gives its pid
	pid   int
}

const brokerEnv = "LAUDSPEAKER_TEST_BROKER_CHILD"

func newVictim(t testing.TB) *victim {
	v := &victim{t: t}
	if os.Getenv("LAUDSPEAKER_TEST_BROKERS") != "" {
		v.apache("19392")
	} else {
		v.embedded(t.TempDir())
	}
	v.start()
	t.Cleanup(v.kill) // and wait: the next broker takes the same port
	return v
}

// apache uses the project's own script, on a port and in a folder of its own.
func (v *victim) apache(port string) {
	script, err := filepath.Abs("../../scripts/kafka.sh")
	require.NoError(v.t, err)
	v.addr = "127.0.0.1:" + port
	v.begin = func() int {
		cmd := exec.Command(script, "start")
		cmd.Env = append(os.Environ(), "LAUDSPEAKER_KAFKA_PORT="+port, "LAUDSPEAKER_KAFKA_SESSION=3000")
		require.NoError(v.t, cmd.Run())
		pid, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(script)), ".kafka", port, "pid"))
		require.NoError(v.t, err)
		n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
		require.NoError(v.t, err)
		return n
	}
}

func (v *victim) embedded(dir string) {
	v.addr = freePort(v.t)
	ended := make(chan struct{}) // the process before; it holds the lock of the directory until then
	close(ended)
	v.begin = func() int {
		<-ended
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), brokerEnv+"="+dir+","+v.addr)
		out, err := cmd.StdoutPipe()
		require.NoError(v.t, err)
		cmd.Stderr = os.Stderr
		require.NoError(v.t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(v.t, err)
		require.Equal(v.t, "ready\n", line)
		ended = make(chan struct{})
		go func(ended chan struct{}) { defer close(ended); _ = cmd.Wait() }(ended)
		return cmd.Process.Pid
	}
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// beBroker is the life of an embedded broker's process.
func beBroker(spec string) int {
	dir, addr, _ := strings.Cut(spec, ",")
	ctx, stop := signalContext()
	defer stop()
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: addr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	_ = b.Run(ctx)
	return 0
}

func (v *victim) start() { v.pid = v.begin() }

func (v *victim) signal(s syscall.Signal) { _ = syscall.Kill(v.pid, s) }

func (v *victim) kill() {
	v.signal(syscall.SIGKILL)
	require.Eventually(v.t, func() bool {
		conn, err := net.Dial("tcp", v.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, time.Minute, 10*time.Millisecond)
}

func (f *field) onVictim() *victim {
	v := newVictim(f.t)
	f.brokers = []string{v.addr}
	f.topic, f.ledger = kafkatest.Topic(f.t, f.brokers, 4), kafkatest.Topic(f.t, f.brokers, 4)
	return v
}

// during lets time pass for a fault to take effect: the fault itself is the length of that time.
func during(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	<-ctx.Done()
}

// A worker has that many calls at once, and beside them at most that many outcomes that wait for an acknowledgement.
const (
	slots    = 64
	awaiting = 256
)

// TestFaultsUnderLoad strikes busy workers and their broker. What was in flight at a fault may be sent again, once.
func TestFaultsUnderLoad(t *testing.T) {
	for _, c := range []struct {
		name   string
		repeat int // per round: calls and outcomes that wait
		fault  func(f *field, v *victim, ws []*child)
	}{
		{"broker killed", 3 * (slots + awaiting), func(f *field, v *victim, ws []*child) {
			v.kill()
			v.start()
		}},
		{"broker away for 5 s", 3 * (slots + awaiting), func(f *field, v *victim, ws []*child) {
			v.kill()
			during(5 * time.Second)
			v.start()
		}},
		{"broker frozen for 8 s", 3 * (slots + awaiting), func(f *field, v *victim, ws []*child) {
			v.signal(syscall.SIGSTOP)
			during(8 * time.Second)
			v.signal(syscall.SIGCONT)
		}},
		{"workers killed while the broker is away", 2*(slots+awaiting) + slots, func(f *field, v *victim, ws []*child) {
			v.kill()
			ws[0].kill()
			ws[1].kill()
			ws[0], ws[1] = f.spawn(slots), f.spawn(slots)
			v.start()
		}},
		{"worker frozen for 9 s", slots + awaiting, func(f *field, v *victim, ws []*child) {
			_ = ws[0].cmd.Process.Signal(syscall.SIGSTOP)
			during(9 * time.Second)
			_ = ws[0].cmd.Process.Signal(syscall.SIGCONT)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &field{t: t, sink: newSink(t, 50*time.Millisecond), group: kafkatest.Name(t)}
			v := f.onVictim()
			rounds := scale()
			f.fill(9000*rounds, 300)
			ws := []*child{f.spawn(slots), f.spawn(slots), f.spawn(slots)}
			for range rounds {
				f.awaitBusy(ws...)
				c.fault(f, v, ws)
			}
			f.finish(c.repeat * rounds)
			for _, w := range ws {
				w.term(t)
			}
		})
	}
}
