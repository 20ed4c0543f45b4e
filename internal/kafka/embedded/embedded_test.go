package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

func open(t *testing.T, dir string) *embedded.Broker {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func produce(t *testing.T, addr, topic string, values ...string) {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Producer.Return.Successes = true
	conf.Producer.RequiredAcks = sarama.WaitForAll
	p, err := sarama.NewSyncProducer([]string{addr}, conf)
	require.NoError(t, err)
	defer p.Close()
	for _, v := range values {
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)})
		require.NoError(t, err)
	}
}

func values(t *testing.T, addr, topic string) []string {
	t.Helper()
	var vs []string
	for _, r := range kafkatest.All(t, []string{addr}, topic) {
		vs = append(vs, string(r.Value))
	}
	return vs
}

func clusterID(t *testing.T, addr string) string {
	t.Helper()
	b := sarama.NewBroker(addr)
	require.NoError(t, b.Open(sarama.NewConfig()))
	defer b.Close()
	meta, err := b.GetMetadata(sarama.NewMetadataRequest(sarama.V2_8_0_0, nil))
	require.NoError(t, err)
	return *meta.ClusterID
}

func TestSurvivesClose(t *testing.T) {
	dir := t.TempDir()
	require.False(t, embedded.Exists(dir))
	b := open(t, dir)
	require.True(t, embedded.Exists(dir))
	topic := kafkatest.Topic(t, []string{b.Addr()}, 1)
	produce(t, b.Addr(), topic, "a", "b")
	id := clusterID(t, b.Addr())
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "twice is no error")

	b = open(t, dir)
	require.Equal(t, []string{"a", "b"}, values(t, b.Addr(), topic))
	require.Equal(t, id, clusterID(t, b.Addr()), "ids are derived from it")
	require.NotEqual(t, id, clusterID(t, open(t, t.TempDir()).Addr()))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o022)
}

// child is this test binary as a broker. Its first line is the address, or the error.
func child(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(line)
}

func TestSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	cmd, addr := child(t, dir)
	topic := kafkatest.Topic(t, []string{addr}, 1)
	produce(t, addr, topic, "a", "b", "c")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	b := open(t, dir) // the lock went with the process
	require.Equal(t, []string{"a", "b", "c"}, values(t, b.Addr(), topic))
	produce(t, b.Addr(), topic, "d")
	require.Equal(t, []string{"a", "b", "c", "d"}, values(t, b.Addr(), topic))
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	_, line := child(t, dir)
	require.Equal(t, fmt.Sprintf("the directory %s is in use by the process %d: stop that one, or give this one a data_dir of its own",
		dir, os.Getpid()), line)

	_, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	var locked *embedded.LockedError
	require.ErrorAs(t, err, &locked, "nor a second broker of this process")
	require.NoError(t, b.Close())
	open(t, dir)
}

// A write that a crash cut short is no record; what was acknowledged before it stays.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	cmd, addr := child(t, dir)
	topic := kafkatest.Topic(t, []string{addr}, 1)
	produce(t, addr, topic, "a", "b", strings.Repeat("c", 1000))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	segment := filepath.Join(dir, "partitions", topic+"-0", "0.dat")
	info, err := os.Stat(segment)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(segment, info.Size()-10))

	b := open(t, dir)
	require.Equal(t, []string{"a", "b"}, values(t, b.Addr(), topic))
	produce(t, b.Addr(), topic, "d")
	require.Equal(t, []string{"a", "b", "d"}, values(t, b.Addr(), topic))
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dir := t.TempDir()
	_, err = embedded.Open(embedded.Config{Dir: dir, Listen: l.Addr().String()})
	var port *embedded.PortError
	require.ErrorAs(t, err, &port)
	require.Equal(t, l.Addr().String(), port.Addr)
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: port.Free})
	require.NoError(t, err, "the directory is not locked by the failure, the address is free")
	require.NoError(t, b.Close())
}

func TestLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:0"} {
		_, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Listen: addr})
		require.ErrorContains(t, err, "loopback only", addr)
	}
	_, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Listen: "9092"})
	require.ErrorContains(t, err, "host:port")
}

// What is no Kafka request ends its own connection and nothing else.
func TestStrangeBytes(t *testing.T) {
	b := open(t, t.TempDir())
	for name, bytes := range map[string]string{
		"HTTP":            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"unknown key":     "\x00\x00\x00\x10\x7f\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"negative size":   "\xff\xff\xff\xff\x00\x03\x00\x00",
		"no size":         "\x00\x00\x00\x00\x00\x03\x00\x00",
		"key cut short":   "\x00\x00\x00\x10\x00",
		"body cut short":  "\x00\x00\x00\x10\x00\x03\x00\x00",
		"no such version": "\x00\x00\x00\x10\x00\x03\x7f\xff\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00",
		"random body":     "\x00\x00\x00\x10\x00\x00\x00\x09\x41\x42\x43\x44\x45\x46\x47\x48\x49\x4a\x4b\x4c",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", b.Addr())
			require.NoError(t, err)
			defer c.Close()
			_, err = io.WriteString(c, bytes)
			require.NoError(t, err)
			_ = c.(*net.TCPConn).CloseWrite() // it may have been quicker
			_, err = io.Copy(io.Discard, c)
			require.True(t, err == nil || errors.Is(err, syscall.ECONNRESET), err)
		})
	}
	require.NotEmpty(t, clusterID(t, b.Addr()), "it still answers")
}

func TestRunEndsWithContext(t *testing.T) {
	b := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	cancel()
	require.NoError(t, <-ended)
	_, err := net.DialTimeout("tcp", b.Addr(), time.Second)
	require.Error(t, err)
}
