package producer

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipes is a listener whose connections take nothing before the other side reads it, on the clock of the test's bubble.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

// streams is a server with a feed, and those who read it.
type streams struct {
	t    *testing.T
	feed *fakeFeed
	l    *pipes
	end  func() // ends the server, and waits for it
}

// streaming runs f on a server within a bubble. Its requests time out long before a stream is meant to.
func streaming(t *testing.T, cfg Config, f func(s *streams)) {
	synctest.Test(t, func(t *testing.T) {
		s := &streams{t: t, feed: &fakeFeed{}, l: &pipes{make(chan net.Conn), make(chan struct{})}}
		cfg.Feed, cfg.Timeouts = s.feed, Timeouts{Read: time.Second}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- newServer(t, cfg).Serve(ctx, s.l) }()
		s.end = func() {
			cancel()
			require.NoError(t, <-ended)
			ended <- nil
		}
		defer s.end()
		f(s)
	})
}

// reader is one caller of the stream.
type reader struct {
	t      *testing.T
	conn   net.Conn
	answer *http.Response
	lines  *bufio.Reader
	last   string // id
}

// open asks for a stream. headers are name, value, name, value.
func (s *streams) open(query string, headers ...string) *reader {
	s.t.Helper()
	ours, theirs := net.Pipe()
	s.l.accept <- theirs
	s.t.Cleanup(func() { ours.Close() })
	r, err := http.NewRequest(http.MethodGet, "http://localhost/v1/stream"+query, nil)
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	require.NoError(s.t, r.Write(ours))
	answer, err := http.ReadResponse(bufio.NewReaderSize(ours, 16), r) // small, so that what was not asked for stays where it is
	require.NoError(s.t, err)
	opened := &reader{t: s.t, conn: ours, answer: answer, lines: bufio.NewReaderSize(answer.Body, 16)}
	if answer.StatusCode == http.StatusOK {
		opened.begins()
	}
	return opened
}

// begins reads what comes before any event: the id to come back with.
func (r *reader) begins() {
	r.t.Helper()
	for _, want := range []string{": events follow\n", "retry: 1000\n", "id: ", "\n"} {
		line, err := r.lines.ReadString('\n')
		require.NoError(r.t, err)
		require.True(r.t, strings.HasPrefix(line, want), line)
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			r.last = strings.TrimSuffix(id, "\n")
		}
	}
}

// next gives the next event: its name and its data. An end of the stream is an error.
func (r *reader) next() (name, data string, err error) {
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			r.last = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if data != "" {
				return name, data, nil
			}
			name = ""
		}
	}
}

// numbers reads n events and gives their ids.
func (r *reader) numbers(n int) (all []int) {
	r.t.Helper()
	for range n {
		name, data, err := r.next()
		require.NoError(r.t, err)
		require.Equal(r.t, "event", name, data)
		id, err := strconv.Atoi(r.last)
		require.NoError(r.t, err)
		e := anEvent(int64(id))
		want, err := e.Encode()
		require.NoError(r.t, err)
		require.JSONEq(r.t, string(want), data)
		all = append(all, id)
	}
	return all
}

// ends reads to the end of the stream, which gives a reason, and gives the ids of the events before it.
func (r *reader) ends(reason string) (ids []int) {
	r.t.Helper()
	for {
		name, data, err := r.next()
		require.NoError(r.t, err)
		if name == "event" {
			id, err := strconv.Atoi(r.last)
			require.NoError(r.t, err)
			ids = append(ids, id)
			continue
		}
		require.Equal(r.t, "end", name)
		require.Contains(r.t, data, `"reason":"`+reason+`"`)
		_, _, err = r.next()
		require.ErrorIs(r.t, err, io.EOF)
		return ids
	}
}

func upTo(from, to int) (all []int) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}
