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
	index int // atRcpt: index of the recipient in the envelope
	line  string
}

// send makes one transaction and returns the relay's final reply. After a failure it marks whether the connection can be used
// again. If the relay accepts the mail only for a part of its recipients at a time, send stops before the mail and returns the
// indexes of the rest.
func (c *connection) send(ctx context.Context, e *envelope, handoverBy time.Time) (answer string, rest []int, failed *stepFailure) {
	failed = c.begin(ctx, e, handoverBy)
	if failed == nil && len(c.deferred) == 0 {
		answer, failed = c.finish(ctx, e)
	}
	return answer, c.deferred, failed
}

// begin sends the envelope: sender and recipients. It returns before the mail.
func (c *connection) begin(ctx context.Context, e *envelope, handoverBy time.Time) (failed *stepFailure) {
	c.accepted = nil
	c.deferred = nil
	c.refused = nil
	c.lenient = e.lenient
	if err := c.checkLimits(e); err != nil {
		return &stepFailure{at: atMail, err: err}
	}
	release := c.wire.closeWhenDone(ctx)
	c.wire.handoverBy = handoverBy
	c.reused = c.used
	c.used = true
	c.answered = false
	defer func() {
		c.markAfter(release(), failed)
		if failed != nil {
			failed.stale = c.reused && !c.answered && (failed.err != nil || failed.reply.code == 421)
		}
	}()
	return c.sendEnvelope(e)
}

// finish sends the mail to the recipients that the relay has accepted.
func (c *connection) finish(ctx context.Context, e *envelope) (answer string, failed *stepFailure) {
	release := c.wire.closeWhenDone(ctx)
	defer func() { c.markAfter(release(), failed) }()
	if e.dataIsSeparate() {
		if failed := c.exchange([]command{{at: atData, line: "DATA\r\n"}}); failed != nil {
			return "", failed
		}
	}
	if err := c.writeMail(e.data); err != nil { // the relay has only a part of the mail, without the final dot
		return "", &stepFailure{at: atContent, err: err}
	}
	c.wire.setReplyTimeout(c.timeouts.reply)
	r, err := c.read()
	if err == nil && !r.proceeds(atDot) && !r.refusal() {
		err = errGarbled
	}
	if err != nil {
		return "", &stepFailure{at: atDot, err: err}
	}
	c.needsReset = false
	if r.refusal() {
		return "", &stepFailure{at: atDot, reply: r}
	}
	return r.text, nil
}

// writeMail writes the mail.
func (c *connection) writeMail(data []byte) error {
	for block := range slices.Chunk(data, 64<<10) {
		c.wire.setTimeout(c.timeouts.command)
		if _, err := c.client.Text.W.Write(block); err != nil {
			return err
		}
	}
	return c.flush()
}

// markAfter marks the state of the connection after a part of a transaction. Bound says that the context has not closed it.
func (c *connection) markAfter(bound bool, failed *stepFailure) {
	c.broken = c.broken || !bound
	if failed != nil {
		// A relay that serves too many connections serves one fewer if this one is closed.
		c.broken = c.broken || failed.err != nil || failed.reply.code == 421 || failed.reply.code == 503 || classify(failed.reply, nil) == causeConnections
	}
}

// dataIsSeparate reports whether DATA waits for the replies to all recipients. With DATA in the same group, the mail would have
// to follow even if one of several recipients is refused.
func (e *envelope) dataIsSeparate() bool { return len(e.to) > 1 || e.part }

var (
	errGarbled  = errors.New("the relay answered something that is no SMTP reply")
	errNoUTF8   = errors.New("an address is not ASCII, and the relay does not offer SMTPUTF8")
	errTooLarge = errors.New("the mail is larger than the relay takes")
)

// checkLimits returns an error if the relay is known to refuse the mail.
func (c *connection) checkLimits(e *envelope) error {
	switch {
	case e.utf8 && !c.utf8:
		return errNoUTF8
	case c.maxSize > 0 && e.size > c.maxSize:
		return errTooLarge
	}
	return nil
}

// sendEnvelope sends the commands up to the relay's "go ahead" (354), or up to the recipients if DATA is separate. If the relay
// offers pipelining (RFC 2920), one write sends all of them.
func (c *connection) sendEnvelope(e *envelope) *stepFailure {
	all := c.commands(e)
	together := 1
	if c.pipelining {
		together = len(all)
	}
	c.needsReset = true
	for len(all) > 0 {
		group := all[:min(together, len(all))]
		all = all[len(group):]
		if failed := c.exchange(group); failed != nil {
			return failed
		}
	}
	return nil
}

// probe names e's sender and recipient, one command at a time, and resets the transaction: no mail follows.
func (c *connection) probe(ctx context.Context, e *envelope, handoverBy time.Time) *stepFailure {
	release := c.wire.closeWhenDone(ctx)
	c.wire.handoverBy = handoverBy
	defer func() { c.broken = !release() || c.broken }()
	for _, cmd := range c.commands(e) {
		if cmd.at == atData { // no mail follows
			cmd = command{at: atReset, line: "RSET\r\n"}
		}
		if failed := c.exchange([]command{cmd}); failed != nil {
			c.broken = failed.err != nil || failed.reply.code == 421
			return failed
		}
	}
	return nil
}

func (c *connection) commands(e *envelope) []command {
	all := make([]command, 0, len(e.to)+3)
	if c.needsReset {
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
		all = append(all, command{at: atRcpt, field: e.fields[i], index: i, line: "RCPT TO:" + to + "\r\n"})
	}
	if e.dataIsSeparate() {
		return all
	}
	return append(all, command{at: atData, line: "DATA\r\n"})
}

// exchange writes a group of commands and reads all their replies. Of several refused recipients it returns the first one that
// is refused permanently, or else the first one.
func (c *connection) exchange(group []command) (worst *stepFailure) {
	wait := c.timeouts.command
	if c.reused && !c.answered { // a dead connection gives no answer at all
		wait = min(wait, c.timeouts.handover)
	}
	c.wire.setTimeout(wait)
	for _, cmd := range group {
		if err := c.write(cmd.line); err != nil {
			return &stepFailure{at: cmd.at, err: err}
		}
	}
	if err := c.flush(); err != nil {
		return &stepFailure{at: group[0].at, err: err}
	}
	for _, cmd := range group {
		r, err := c.read()
		if err == nil && !r.proceeds(cmd.at) && (!r.refusal() || cmd.at == atReset) {
			err = errGarbled
		}
		c.answered = c.answered || err == nil && cmd.at != atReset && r.code != 421
		switch {
		case err != nil && worst != nil:
			c.broken = true
			return worst
		case err != nil:
			return &stepFailure{at: cmd.at, err: err}
		case cmd.at == atData && worst != nil && !r.refusal():
			c.broken = true // the relay waits for a mail that must not come
		case cmd.at == atRcpt && r.refusal() && len(c.accepted) > 0 && classify(r, nil) == causeRecipients:
			c.deferred = append(c.deferred, cmd.index)
		case cmd.at == atRcpt && r.refusal() && c.lenient && r.code != 421 && worst == nil:
			c.refused = append(c.refused, refusal{cmd.index, r})
		case r.refusal() && (worst == nil || isWorse(cmd, r, worst)):
			worst = &stepFailure{at: cmd.at, field: cmd.field, reply: r}
		}
		if cmd.at == atRcpt && r.proceeds(atRcpt) {
			c.accepted = append(c.accepted, cmd.index)
		}
		if r.code == 421 {
			return worst // the relay has closed the connection
		}
	}
	return worst
}

// isWorse compares refused recipients only: after a refused MAIL, the refusals that follow have the same reason.
func isWorse(cmd command, r reply, worst *stepFailure) bool {
	return cmd.at == atRcpt && worst.at == atRcpt && worst.reply.code < 500 && r.code >= 500
}
