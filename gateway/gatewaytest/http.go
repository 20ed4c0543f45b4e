package gatewaytest

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Point is how far an HTTP request comes before it fails.
type Point int

// The points, in the order of the protocol.
const (
	AtHandshake Point = iota + 1 // connected; with TLS nothing of the request has been written
	AtRequest                    // the whole request was read and the message accepted
	AtAnswer                     // half of the answer has been written
)

// Request is replaced, in the body of [Faults.Reply], by the request with its credentials, as text inside JSON.
const Request = "%REQUEST%"

// Faults makes a fake HTTP provider fail on request. The zero value has no fault. Every fault stays until Accept.
type Faults struct {
	mu      sync.Mutex
	status  int
	header  http.Header
	body    string
	lose    Point
	hang    Point
	reached chan struct{}
	over    chan struct{} // closed by Accept: ends the requests that hang
}

// Accept removes all faults.
func (f *Faults) Accept() { f.set(func() {}) }

// Reply makes the provider answer every request like this.
func (f *Faults) Reply(status int, header http.Header, body string) {
	f.set(func() { f.status, f.header, f.body = status, header, body })
}

// Lose makes the provider cut the connection at p.
func (f *Faults) Lose(p Point) { f.set(func() { f.lose = p }) }

// Hang makes the provider fall silent at p. It returns a channel that is closed when a request has come that far.
func (f *Faults) Hang(p Point) <-chan struct{} {
	reached := make(chan struct{})
	f.set(func() { f.hang, f.reached, f.over = p, reached, make(chan struct{}) })
	return reached
}

func (f *Faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over != nil {
		close(f.over)
	}
	f.status = 0
	f.header = nil
	f.body = ""
	f.lose = 0
	f.hang = 0
	f.reached = nil
	f.over = nil
	change()
}

// at applies the faults of p: it hangs until over or gone is closed, and reports whether to cut the connection.
func (f *Faults) at(p Point, gone <-chan struct{}) bool {
	f.mu.Lock()
	lose := f.lose == p
	hang := f.hang == p
	reached := f.reached
	over := f.over
	if hang {
		f.reached = nil
	}
	f.mu.Unlock()
	if !hang {
		return lose
	}
	if reached != nil {
		close(reached)
	}
	select {
	case <-over:
	case <-gone:
	}
	return true
}

// Serve starts the fake h on loopback with the faults of f, over TLS and HTTP/2 if secure. It stops when the test ends.
func (f *Faults) Serve(t testing.TB, h http.Handler, secure bool) *httptest.Server {
	s := httptest.NewUnstartedServer(f.wrap(h))
	s.Listener = gate{s.Listener, f}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() { f.Accept(); s.Close() })
	return s
}

func (f *Faults) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.mu.Lock()
		status := f.status
		header := f.header
		reply := f.body
		f.mu.Unlock()
		if status != 0 {
			reply = strings.ReplaceAll(reply, Request, quote(r.Header.Get("Authorization")+" "+string(body)))
		} else {
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			status = answer.Code
			header = answer.Header()
			reply = answer.Body.String()
		}
		if f.at(AtRequest, r.Context().Done()) {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), header)
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
		w.WriteHeader(status)
		f.write(w, r, []byte(reply))
	})
}

func (f *Faults) write(w http.ResponseWriter, r *http.Request, text []byte) {
	half := len(text) / 2
	_, _ = w.Write(text[:half])
	f.mu.Lock()
	fails := f.lose == AtAnswer || f.hang == AtAnswer
	f.mu.Unlock()
	if fails {
		_ = http.NewResponseController(w).Flush()
		if f.at(AtAnswer, r.Context().Done()) {
			panic(http.ErrAbortHandler)
		}
	}
	_, _ = w.Write(text[half:])
}

// quote returns s as it is written between the quotes of a JSON string.
func quote(s string) string {
	q, _ := json.Marshal(s)
	return string(q[1 : len(q)-1])
}

// gate applies the faults of the handshake.
type gate struct {
	net.Listener
	faults *Faults
}

func (g gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gated{Conn: c, faults: g.faults}, nil
}

type gated struct {
	net.Conn
	faults *Faults
	passed bool // Read is called by one goroutine at a time
}

func (c *gated) Read(p []byte) (int, error) {
	if !c.passed {
		gone := make(chan struct{})
		c.faults.mu.Lock()
		hangs := c.faults.hang == AtHandshake
		c.faults.mu.Unlock()
		if hangs {
			go func() { _, _ = io.Copy(io.Discard, c.Conn); close(gone) }() // until the client leaves, or the connection is cut
		}
		if c.faults.at(AtHandshake, gone) {
			c.Conn.Close()
			return 0, io.ErrUnexpectedEOF
		}
		c.passed = true
	}
	return c.Conn.Read(p)
}
