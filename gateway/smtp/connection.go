package smtp

import (
	"strconv"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

// connection is one connection to the relay, which is reused. One goroutine at a time uses it.
type connection struct {
	client   *gosmtp.Client
	wire     *wire
	timeouts timeouts

	pipelining, utf8 bool
	maxSize          int // 0: not announced

	used       bool // the connection has had a transaction, the current one included
	needsReset bool // the last transaction was not finished: RSET comes first
	reused     bool // the connection had a transaction before the current one
	answered   bool // the relay has answered a command of the current message
	broken     bool // must be closed

	accepted []int // recipients of the current transaction that the relay has accepted, by their indexes in the envelope
	deferred []int // recipients that the relay refused because the transaction is full

	lenient bool // of the current envelope
	refused []refusal
}

// refusal is a refused RCPT of a lenient envelope.
type refusal struct {
	index int
	reply reply
}

func (c *connection) ready() bool { return c.client != nil }

func (c *connection) greeted(client *gosmtp.Client) {
	c.client = client
	c.pipelining, _ = client.Extension("PIPELINING")
	c.utf8, _ = client.Extension("SMTPUTF8")
	_, size := client.Extension("SIZE")
	c.maxSize, _ = strconv.Atoi(size)
}

// quit sends QUIT if that takes no longer than a second, and closes the connection.
func (c *connection) quit() {
	if c.wire == nil {
		return
	}
	if c.ready() && !c.broken {
		_ = c.wire.Conn.SetDeadline(time.Now().Add(time.Second))
		c.wire.unread = maxReplies
		if c.write("QUIT\r\n") == nil && c.flush() == nil {
			_, _ = c.read()
		}
	}
	_ = c.wire.Close()
}

func (c *connection) write(line string) error {
	_, err := c.client.Text.W.WriteString(line)
	return err
}

func (c *connection) flush() error { return c.client.Text.W.Flush() }

func (c *connection) read() (reply, error) {
	code, text, err := c.client.Text.ReadResponse(0)
	return reply{code, text}, err
}
