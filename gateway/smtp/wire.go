package smtp

import (
	"context"
	"errors"
	"net"
	"time"
)

// wire is the TCP connection below everything. It ignores the deadlines that go-mail sets for itself: the context of
// whoever uses the connection is its only bound, and closes it.
type wire struct {
	net.Conn
	unread int // bytes that may still be read in this attempt, so that a relay cannot fill the memory with one line
}

const maxReplies = 256 << 10

var errEndless = errors.New("the relay's replies are endless")

func (w *wire) SetDeadline(time.Time) error { return nil }

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
