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
	handover                          time.Duration // time until the relay must have the message; afterwards another gateway is called
}

// longest returns the time until a relay must have a message that no other gateway can take.
func (t timeouts) longest() time.Duration { return t.connect + t.greeting + 2*t.command }

// wire is the TCP connection below TLS and SMTP. It ignores the deadlines that go-mail sets: setTimeout sets them, and
// closeWhenDone binds the connection to the context of its user.
type wire struct {
	net.Conn
	handoverBy time.Time // the relay must have the message by then
	unread     int       // bytes that may still be read in this attempt, so that a relay cannot fill the memory with one line
}

const maxReplies = 256 << 10

var errEndless = errors.New("the relay's replies are endless")

func (w *wire) SetDeadline(time.Time) error { return nil }

// setTimeout sets the deadline of the next reads and writes to d from now, or to handoverBy if that is sooner.
func (w *wire) setTimeout(d time.Duration) {
	at := time.Now().Add(d)
	if w.handoverBy.Before(at) {
		at = w.handoverBy
	}
	_ = w.Conn.SetDeadline(at)
}

// setReplyTimeout is setTimeout for the time when the relay already has the message.
func (w *wire) setReplyTimeout(d time.Duration) { _ = w.Conn.SetDeadline(time.Now().Add(d)) }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.unread -= n
	if w.unread < 0 {
		return 0, errEndless
	}
	return n, err
}

// closeWhenDone closes w when ctx ends. Release ends this binding and reports whether w is still open.
func (w *wire) closeWhenDone(ctx context.Context) (release func() bool) {
	w.unread = maxReplies
	return context.AfterFunc(ctx, func() { _ = w.Close() })
}

func (w *wire) loopback() bool {
	addr, ok := w.RemoteAddr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}
