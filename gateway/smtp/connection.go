package smtp

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

// step is a place in the protocol, in words for people.
type step string

const (
	atDial     step = "connecting"
	atGreeting step = "the greeting"
	atHello    step = "EHLO"
	atTLS      step = "TLS"
	atAuth     step = "AUTH"
	atReset    step = "RSET"
	atMail     step = "MAIL"
	atRcpt     step = "RCPT"
	atData     step = "DATA"
	atContent  step = "the message" // being written
	atDot      step = "the end of the message"
)

// reply is what a relay answered.
type reply struct {
	code int
	text string // without the code, lines joined by \n
}

// fits reports whether r lets the dialogue go on.
func (r reply) fits(at step) bool {
	if at == atData {
		return r.code == 354
	}
	return r.code/100 == 2
}

func (r reply) refusal() bool { return r.code/100 == 4 || r.code/100 == 5 }

// setback is how a transaction ended without being accepted: with a reply, or with an error in place of one.
type setback struct {
	at    step
	field string // atRcpt: what the notification calls the recipient that was refused
	reply reply
	err   error
	stale bool // a kept connection that was dead: the relay knows nothing of this message
}

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

// connection is one kept dialogue with the relay. One goroutine at a time uses it.
type connection struct {
	client *gosmtp.Client
	wire   *wire

	pipelining, utf8 bool
	maxSize          int // 0: not told

	used   bool // a transaction has ended on it
	open   bool // the last one was given up: RSET comes first
	heard  bool // the relay has answered something about the current message
	broken bool // of no further use
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

// command is one line of a transaction.
type command struct {
	at    step
	field string
	line  string
}

// send leads one transaction; its answer is the relay's last word. On anything but a clean end it leaves the connection
// marked for what it is still good for.
func (c *connection) send(ctx context.Context, e *envelope) (answer string, lost *setback) {
	release := c.wire.bind(ctx)
	used := c.used
	c.used, c.heard = true, false
	defer func() {
		if !release() {
			c.broken = true
		}
		if lost != nil {
			lost.stale = used && !c.heard && (lost.err != nil || lost.reply.code == 421 || lost.at == atReset)
			c.broken = c.broken || lost.err != nil || lost.reply.code == 421 || lost.at == atReset
		}
	}()
	if lost := c.fits(e); lost != nil {
		return "", lost
	}
	if lost := c.introduce(e); lost != nil {
		return "", lost
	}
	if _, err := c.client.Text.W.Write(e.data); err != nil {
		return "", &setback{at: atContent, err: err}
	}
	if err := c.flush(); err != nil { // not all was handed over, and the dot is the last of it
		return "", &setback{at: atContent, err: err}
	}
	r, err := c.read()
	if err == nil && !r.fits(atDot) && !r.refusal() {
		err = errGarbled
	}
	if err != nil {
		return "", &setback{at: atDot, err: err}
	}
	if c.open = false; r.refusal() {
		return "", &setback{at: atDot, reply: r}
	}
	return r.text, nil
}

var (
	errGarbled  = errors.New("the relay answered something that is no SMTP reply")
	errNoUTF8   = errors.New("an address is not ASCII, and the relay does not offer SMTPUTF8")
	errTooLarge = errors.New("the mail is larger than the relay takes")
)

// fits finds what need not even be tried.
func (c *connection) fits(e *envelope) *setback {
	switch {
	case e.utf8 && !c.utf8:
		return &setback{at: atMail, reply: reply{code: 553, text: "5.6.7 " + errNoUTF8.Error()}}
	case c.maxSize > 0 && e.size > c.maxSize:
		return &setback{at: atMail, reply: reply{code: 552, text: "5.3.4 " + errTooLarge.Error()}}
	}
	return nil
}

// introduce leads up to the relay's "go ahead" (354). Where the relay takes pipelining (RFC 2920), all goes out in one
// write. DATA goes with it only for a single recipient: if one of several were refused, the mail would have to follow
// all the same.
func (c *connection) introduce(e *envelope) *setback {
	all := c.commands(e)
	together := 1
	if c.pipelining {
		together = len(all)
		if len(e.to) > 1 {
			together--
		}
	}
	c.open = true
	for len(all) > 0 {
		group := all[:min(together, len(all))]
		all = all[len(group):]
		if lost := c.exchange(group); lost != nil {
			return lost
		}
	}
	return nil
}

func (c *connection) commands(e *envelope) []command {
	all := make([]command, 0, len(e.to)+3)
	if c.open {
		all = append(all, command{at: atReset, line: "RSET\r\n"})
	}
	mail := "MAIL FROM:" + e.from
	if c.maxSize > 0 {
		mail += " SIZE=" + strconv.Itoa(e.size)
	}
	if e.utf8 {
		mail += " BODY=8BITMIME SMTPUTF8"
	}
	all = append(all, command{at: atMail, line: mail + "\r\n"})
	for i, to := range e.to {
		all = append(all, command{at: atRcpt, field: e.fields[i], line: "RCPT TO:" + to + "\r\n"})
	}
	return append(all, command{at: atData, line: "DATA\r\n"})
}

// exchange writes a group of commands and reads all their replies. Of several refused recipients the first that is
// refused for good counts, else the first.
func (c *connection) exchange(group []command) (worst *setback) {
	for _, cmd := range group {
		if err := c.write(cmd.line); err != nil {
			return &setback{at: cmd.at, err: err}
		}
	}
	if err := c.flush(); err != nil {
		return &setback{at: group[0].at, err: err}
	}
	for _, cmd := range group {
		r, err := c.read()
		if err == nil && !r.fits(cmd.at) && !r.refusal() {
			err = errGarbled
		}
		c.heard = c.heard || err == nil && cmd.at != atReset && r.code != 421
		switch {
		case err != nil && worst != nil:
			c.broken = true
			return worst
		case err != nil:
			return &setback{at: cmd.at, err: err}
		case cmd.at == atData && worst != nil && !r.refusal():
			c.broken = true // the relay waits for a mail that must not come
		case r.refusal() && (worst == nil || graver(cmd, r, worst)):
			worst = &setback{at: cmd.at, field: cmd.field, reply: r}
		}
		if r.code == 421 {
			return worst // it has hung up
		}
	}
	return worst
}

// graver: only refused recipients compare; what follows a refused MAIL is refused because of that.
func graver(cmd command, r reply, worst *setback) bool {
	return cmd.at == atRcpt && worst.at == atRcpt && worst.reply.code < 500 && r.code >= 500
}
