package producer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// running serves cfg on loopback until the test ends; end ends it at once and gives what Serve returned.
func running(t *testing.T, cfg Config) (address string, end func() error) {
	t.Helper()
	s := newServer(t, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	var result error
	first := true
	end = func() error {
		if cancel(); first {
			first, result = false, <-ended
		}
		return result
	}
	t.Cleanup(func() { _ = end() })
	return l.Addr().String(), end
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second))) // so that a fault fails instead of hanging
	return c
}

func head(address string, length int) string {
	return fmt.Sprintf("POST /v1/notifications HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", address, length)
}

func TestServe(t *testing.T) {
	address, end := running(t, Config{})
	c := dial(t, address)
	fmt.Fprint(c, head(address, len(sound)), sound)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, answer.StatusCode)
	require.NoError(t, end())
	_, err = net.Dial("tcp", address)
	require.Error(t, err, "the listener is closed")
}

// TestSlowCallers: one that drips its request is cut off, whatever it drips.
func TestSlowCallers(t *testing.T) {
	const short = 50 * time.Millisecond
	for name, c := range map[string]struct {
		timeouts Timeouts
		sent     string
		answer   string
	}{
		"no head":       {Timeouts{Header: short, Read: time.Minute, Idle: time.Minute}, "", ""},
		"half a head":   {Timeouts{Header: short, Read: time.Minute, Idle: time.Minute}, "POST /v1/notifications HTTP/1.1\r\nHost: localh", ""},
		"half a body":   {Timeouts{Header: short, Read: short, Idle: time.Minute}, head("localhost", 100) + "{", "HTTP/1.1 408 "},
		"nothing after": {Timeouts{Header: time.Minute, Read: time.Minute, Idle: short}, head("localhost", len(sound)) + sound, "HTTP/1.1 202 "},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := running(t, Config{Timeouts: c.timeouts})
			conn := dial(t, address)
			_, err := io.WriteString(conn, c.sent)
			require.NoError(t, err)
			got, err := io.ReadAll(conn) // until the server closes
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(got), c.answer), string(got))
		})
	}
}

// TestTooLargeIsRefusedUnread: a caller that waits for leave to send its body never gets it.
func TestTooLargeIsRefusedUnread(t *testing.T) {
	address, _ := running(t, Config{MaxBody: 1000})
	conn := dial(t, address)
	fmt.Fprint(conn, strings.Replace(head(address, 5000), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode)
	conn.Close()

	conn = dial(t, address)
	fmt.Fprint(conn, strings.Replace(head(address, 0), "Content-Length: 0", "Transfer-Encoding: chunked", 1))
	go func() { // it would go on for ever
		for err := error(nil); err == nil; {
			_, err = fmt.Fprintf(conn, "100\r\n%s\r\n", strings.Repeat("a", 256))
		}
	}()
	answer, err = http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode)
	conn.Close()
}

func TestHugeHeadsAndGarbage(t *testing.T) {
	log := &journal{}
	address, _ := running(t, Config{Log: log.logger()})
	for sent, status := range map[string]string{
		strings.Replace(head(address, 0), "Content-Type", "X-Large: "+strings.Repeat(secret, 10_000)+"\r\nContent-Type", 1): "431",
		secret + "\r\n\r\n": "400",
		"POST /v1/notifications HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                    "400",
		"POST /v1/notifications HTTP/1.1\r\n" + secret + "\r\n\r\n":                        "400",
		"POST /v1/notifications HTTP/9.9\r\nHost: localhost\r\n\r\n":                       "505",
		"POST /v1/notifications HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n": "400",
	} {
		conn := dial(t, address)
		go func() { _, _ = io.WriteString(conn, sent) }() // the server may not read all of it
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, " "+status+" ")
		conn.Close()
	}
	require.NotContains(t, log.text(), secret)
}

// TestEndFinishesWhatIsUnderWay: a request that the bus has not answered yet is answered before Serve returns.
func TestEndFinishesWhatIsUnderWay(t *testing.T) {
	bus := &gate{entered: make(chan struct{}), leave: make(chan struct{})}
	address, end := running(t, Config{Dispatcher: bus})
	conn := dial(t, address)
	fmt.Fprint(conn, head(address, len(sound)), sound)
	<-bus.entered
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	require.Eventually(t, func() bool { // the listener closes first
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond)
	select {
	case <-ended:
		t.Fatal("ended with a request under way")
	default:
	}
	close(bus.leave)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, answer.StatusCode)
	require.NoError(t, <-ended)
}

// TestEndDoesNotWaitForEver: what outlasts the drain is cut off, and that is no failure of the server.
func TestEndDoesNotWaitForEver(t *testing.T) {
	log := &journal{}
	bus := &gate{entered: make(chan struct{}), leave: make(chan struct{})}
	address, end := running(t, Config{Dispatcher: bus, Log: log.logger(), Timeouts: Timeouts{Drain: time.Millisecond}})
	conn := dial(t, address)
	fmt.Fprint(conn, head(address, len(sound)), sound)
	<-bus.entered
	require.NoError(t, end())
	require.Contains(t, log.text(), "outlasted the drain")
	close(bus.leave)
}

type gate struct{ entered, leave chan struct{} }

func (g *gate) Dispatch(_ context.Context, _ time.Time, ns []*notify.Notification) ([]*notify.Notification, []error) {
	close(g.entered)
	<-g.leave
	return ns, make([]error, len(ns))
}

func TestServeRefusesOtherHostsWithoutKeys(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	require.ErrorContains(t, newServer(t, Config{}).Serve(t.Context(), l), "api.allow_anonymous")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestServeSaysWhyItEnded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	err = newServer(t, Config{}).Serve(t.Context(), l)
	require.ErrorIs(t, err, net.ErrClosed)
	require.False(t, errors.Is(err, http.ErrServerClosed))
}
