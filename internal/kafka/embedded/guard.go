package embedded

import (
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A request's first bytes are its length (4) and its key (2). kfake believes both: an HTTP request by mistake makes it
// allocate a gigabyte, an unknown key ends the process.
const (
	headSize   = 6
	maxRequest = 128 << 20
)

type guardedListener struct{ net.Listener }

func (l *guardedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: c}, nil
}

// guardedConn passes on whole requests of known keys. It has one reader.
type guardedConn struct {
	net.Conn
	head []byte // of the current request, what has not been passed on
	body int    // bytes of the current request that have not been read
}

func (c *guardedConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 && c.body == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.body)])
	c.body -= n
	return n, err
}

func (c *guardedConn) next() error {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head))
	key := int16(binary.BigEndian.Uint16(head[4:]))
	if size < 8 || size > maxRequest || kmsg.RequestForKey(key) == nil {
		return errClosedByGuard
	}
	c.head, c.body = head, int(size)-2
	return nil
}

var errClosedByGuard = errors.New("embedded broker: not a Kafka request")
