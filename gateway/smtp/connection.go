package smtp

import (
	"strconv"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

// connection is one kept dialogue with the relay. One goroutine at a time uses it.
type connection struct {
	client   *gosmtp.Client
	wire     *wire
	timeouts timeouts

	pipelining, utf8 bool
	maxSize          int // 0: not told

	used   bool // a transaction has ended on it
	open   bool // the last one was given up: RSET comes first
	kept   bool // a transaction had ended on it before the current one
	heard  bool // the relay has answered something about the current message
	broken bool // of no further use

	taken []int // recipients of the current transaction that the relay has accepted, by their places in the envelope
	rest  []int // those that it refused because the transaction is full

	lenient bool // of the current envelope
	refused []refusal
}

// refusal is a reply to RCPT of a lenient envelope.
type refusal struct {
	place int
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

// quit ends the dialogue politely, if that takes no time.
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
