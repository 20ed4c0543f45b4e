package smtp

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"
)

// command is one line of a transaction.
type command struct {
	at    step
	field string
	place int // atRcpt: of the recipient in the envelope
	line  string
}

// send leads one transaction; its answer is the relay's last word. On anything but a clean end it leaves the connection
// marked for what it is still good for. When the relay takes the mail for a part of its recipients only, send stops before the
// mail and gives the places of the rest.
func (c *connection) send(ctx context.Context, e *envelope, early time.Time) (answer string, rest []int, lost *setback) {
	if lost = c.begin(ctx, e, early); lost == nil && len(c.rest) == 0 {
		answer, lost = c.finish(ctx, e)
	}
	return answer, c.rest, lost
}

// begin names sender and recipients. It returns before the mail may go.
func (c *connection) begin(ctx context.Context, e *envelope, early time.Time) (lost *setback) {
	c.taken, c.rest, c.refused, c.lenient = nil, nil, nil, e.lenient
	if err := c.fits(e); err != nil {
		return &setback{at: atMail, err: err}
	}
	release := c.wire.bind(ctx)
	c.wire.early = early
	c.kept, c.used, c.heard = c.used, true, false
	defer func() {
		c.ended(release(), lost)
		if lost != nil {
			lost.stale = c.kept && !c.heard && (lost.err != nil || lost.reply.code == 421)
		}
	}()
	return c.introduce(e)
}

// finish sends the mail to those whom the relay has accepted.
func (c *connection) finish(ctx context.Context, e *envelope) (answer string, lost *setback) {
	release := c.wire.bind(ctx)
	defer func() { c.ended(release(), lost) }()
	if e.late() {
		if lost := c.exchange([]command{{at: atData, line: "DATA\r\n"}}); lost != nil {
			return "", lost
		}
	}
	if err := c.content(e.data); err != nil { // not all was handed over, and the dot is the last of it
		return "", &setback{at: atContent, err: err}
	}
	c.wire.expectReply(c.timeouts.reply)
	r, err := c.read()
	if err == nil && !r.fits(atDot) && !r.refusal() {
		err = errGarbled
	}
	if err != nil {
		return "", &setback{at: atDot, err: err}
	}
	c.open = false
	if r.refusal() {
		return "", &setback{at: atDot, reply: r}
	}
	return r.text, nil
}

// content writes the mail.
func (c *connection) content(data []byte) error {
	for block := range slices.Chunk(data, 64<<10) {
		c.wire.expect(c.timeouts.command)
		if _, err := c.client.Text.W.Write(block); err != nil {
			return err
		}
	}
	return c.flush()
}

// ended marks the connection after a part of a transaction. Bound says that the context has not closed it.
func (c *connection) ended(bound bool, lost *setback) {
	c.broken = c.broken || !bound
	if lost != nil {
		// A relay that serves too many connections serves one fewer.
		c.broken = c.broken || lost.err != nil || lost.reply.code == 421 || lost.reply.code == 503 || classify(lost.reply, nil) == causeConnections
	}
}

// late: DATA waits until every recipient has been answered for. If one of several were refused, the mail would have to follow
// all the same.
func (e *envelope) late() bool { return len(e.to) > 1 || e.part }

var (
	errGarbled  = errors.New("the relay answered something that is no SMTP reply")
	errNoUTF8   = errors.New("an address is not ASCII, and the relay does not offer SMTPUTF8")
	errTooLarge = errors.New("the mail is larger than the relay takes")
)

// fits finds what need not even be tried.
func (c *connection) fits(e *envelope) error {
	switch {
	case e.utf8 && !c.utf8:
		return errNoUTF8
	case c.maxSize > 0 && e.size > c.maxSize:
		return errTooLarge
	}
	return nil
}

// introduce leads up to the relay's "go ahead" (354), or up to the recipients when DATA is late. Where the relay takes
// pipelining (RFC 2920), all goes out in one write.
func (c *connection) introduce(e *envelope) *setback {
	all := c.commands(e)
	together := 1
	if c.pipelining {
		together = len(all)
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

// probe names e's sender and recipient, one command at a time, and resets: no mail follows.
func (c *connection) probe(ctx context.Context, e *envelope, early time.Time) *setback {
	release := c.wire.bind(ctx)
	c.wire.early = early
	defer func() { c.broken = !release() || c.broken }()
	for _, cmd := range c.commands(e) {
		if cmd.at == atData { // no mail follows
			cmd = command{at: atReset, line: "RSET\r\n"}
		}
		if lost := c.exchange([]command{cmd}); lost != nil {
			c.broken = lost.err != nil || lost.reply.code == 421
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
		all = append(all, command{at: atRcpt, field: e.fields[i], place: i, line: "RCPT TO:" + to + "\r\n"})
	}
	if e.late() {
		return all
	}
	return append(all, command{at: atData, line: "DATA\r\n"})
}

// exchange writes a group of commands and reads all their replies. Of several refused recipients the first that is
// refused for good counts, else the first.
func (c *connection) exchange(group []command) (worst *setback) {
	wait := c.timeouts.command
	if c.kept && !c.heard { // a kept connection that is dead says nothing at all
		wait = min(wait, c.timeouts.leave)
	}
	c.wire.expect(wait)
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
		if err == nil && !r.fits(cmd.at) && (!r.refusal() || cmd.at == atReset) {
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
		case cmd.at == atRcpt && r.refusal() && len(c.taken) > 0 && classify(r, nil) == causeRecipients:
			c.rest = append(c.rest, cmd.place)
		case cmd.at == atRcpt && r.refusal() && c.lenient && r.code != 421 && worst == nil:
			c.refused = append(c.refused, refusal{cmd.place, r})
		case r.refusal() && (worst == nil || graver(cmd, r, worst)):
			worst = &setback{at: cmd.at, field: cmd.field, reply: r}
		}
		if cmd.at == atRcpt && r.fits(atRcpt) {
			c.taken = append(c.taken, cmd.place)
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
