package smtp

import (
	"context"
	"errors"
	"net"
	"time"
)

// implicitPort ends the address of a relay that speaks TLS from the first byte (RFC 8314).
const implicitPort = ":465"

// timeouts are the longest waits for a relay (RFC 5321 4.5.3.2).
type timeouts struct {
	connect, greeting, command, reply time.Duration
	leave                             time.Duration // a relay that does not have the message by then is left for another gateway
}

// patient is when a relay must have a message that no other gateway can take.
func (t timeouts) patient() time.Duration { return t.connect + t.greeting + 2*t.command }

// wire is the TCP connection below everything. It ignores the deadlines that go-mail sets for itself: expect sets them, and
// the context of whoever uses the connection closes it.
type wire struct {
	net.Conn
	early  time.Time // the relay must have the message by then
	unread int       // bytes that may still be read in this attempt, so that a relay cannot fill the memory with one line
}

const maxReplies = 256 << 10

var errEndless = errors.New("the relay's replies are endless")

func (w *wire) SetDeadline(time.Time) error { return nil }

// expect lets the connection fail if what comes next takes longer than d, or ends after early.
func (w *wire) expect(d time.Duration) {
	at := time.Now().Add(d)
	if w.early.Before(at) {
		at = w.early
	}
	_ = w.Conn.SetDeadline(at)
}

// expectReply is expect once the relay has the message.
func (w *wire) expectReply(d time.Duration) { _ = w.Conn.SetDeadline(time.Now().Add(d)) }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.unread -= n; w.unread < 0 {
		return 0, errEndless
	}
	return n, err
}

// bind closes w when ctx ends. Release undoes it and reports whether w is still open.
func (w *wire) bind(ctx context.Context) (release func() bool) {
	w.unread = maxReplies
	return context.AfterFunc(ctx, func() { _ = w.Close() })
}

func (w *wire) loopback() bool {
	addr, ok := w.RemoteAddr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}
