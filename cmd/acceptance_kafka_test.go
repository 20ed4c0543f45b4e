package cmd

import (
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
)

// victim is an Apache Kafka of the test's own, there to be killed, beside the one of LAUDSPEAKER_TEST_BROKERS.
type victim struct {
	t       testing.TB
	port    string
	proxies string // ports that stand before listeners of it: see scripts/kafka.sh
	addr    string
	pid     int
}

const victimPort = "19792"

func newVictim(t testing.TB) *victim {
	return victimAt(t, victimPort, "")
}

func victimAt(t testing.TB, port, proxies string) *victim {
	realKafka(t)
	v := &victim{t: t, port: port, proxies: proxies, addr: "127.0.0.1:" + port}
	v.start()
	t.Cleanup(func() { v.signal(syscall.SIGCONT); v.script("stop") })
	return v
}

// realKafka gives the brokers of LAUDSPEAKER_TEST_BROKERS; without them the test is skipped.
func realKafka(t testing.TB) string {
	brokers := os.Getenv("LAUDSPEAKER_TEST_BROKERS")
	if brokers == "" {
		t.Skip("set LAUDSPEAKER_TEST_BROKERS=host:port to run this on a real Kafka")
	}
	return brokers
}

// script runs scripts/kafka.sh.
func (v *victim) script(verb string) {
	out, err := script("kafka.sh", verb, "LAUDSPEAKER_KAFKA_PORT="+v.port, "LAUDSPEAKER_KAFKA_ADVERTISED="+v.proxies, "LAUDSPEAKER_KAFKA_SESSION=3000")
	require.NoError(v.t, err, out)
}

// script runs one of the scripts with more variables, and gives what it says. The verb may have arguments.
func script(name, verb string, variables ...string) (out string, err error) {
	cmd := exec.Command("../scripts/"+name, strings.Fields(verb)...)
	cmd.Env = append(os.Environ(), variables...)
	said, err := cmd.Output()
	return strings.TrimSpace(string(said)), err
}

func (v *victim) start() {
	v.script("start")
	pid, err := os.ReadFile(filepath.Join("..", ".kafka", v.port, "pid"))
	require.NoError(v.t, err)
	v.pid, err = strconv.Atoi(strings.TrimSpace(string(pid)))
	require.NoError(v.t, err)
}

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

// during lets time pass for a fault to take effect: the fault itself is the length of that time.
func during(d time.Duration) { <-time.After(d) }

// kcat runs the tool that operators use, with what it is to write.
func kcat(t testing.TB, brokers, input string, args ...string) string {
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("kcat is missing (Debian: apt-get install kcat)")
	}
	cmd := exec.Command("kcat", append([]string{"-b", brokers}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}
