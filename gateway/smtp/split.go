package smtp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// mostTransactions bounds the connections that one mail opens beside the pool's own.
const mostTransactions = 8

// share is one transaction of several for the same mail.
type share struct {
	c *connection
	e *envelope
}

// split delivers a mail that the relay takes for a part of its recipients at a time (RFC 5321 4.5.3.1.10). The transaction of first
// is open before the mail. Every other recipient is named on a further connection before the first mail goes, so that a refused one
// still stops all. If the relay serves no further connection, the rest follows on the first one: then a refused recipient
// cannot stop the others any more, and the warnings list it.
//
// The further connections are not the pool's: waiting for the pool while holding one of it could wait for ever.
func (s *Sender) split(ctx context.Context, first *connection, e *envelope, early time.Time) (answer string, warnings []string, lost *setback) {
	shares := []share{{first, e.only(first.taken)}}
	defer func() {
		for _, sh := range shares[1:] {
			sh.c.quit()
		}
	}()
	rest := first.rest
	for len(rest) > 0 && len(shares) <= mostTransactions && ctx.Err() == nil {
		part, c := e.only(rest), &connection{}
		if s.relay.connect(ctx, c, early) != nil {
			break
		}
		if lost = c.begin(ctx, part, early); lost != nil {
			c.quit()
			if lost.err == nil && s.relay.cause(part, lost).ofRecipient() {
				return "", nil, lost // nobody gets it: the transactions end without a mail
			}
			break // the relay takes one transaction at a time, or not now
		}
		shares = append(shares, share{c, part.only(c.taken)})
		rest = places(rest, c.rest)
	}
	for i, sh := range shares {
		said, lost := sh.c.finish(ctx, sh.e)
		if lost != nil && i == 0 {
			return "", nil, lost
		}
		if i == 0 {
			answer = said
		} else if lost != nil {
			warnings = append(warnings, unsent(sh.e, lost))
		}
		finished(e.message.Parts, sh.e, lost)
		if more := i < len(shares)-1 || len(rest) > 0; more && record(ctx, e.message.Parts) != nil {
			return "", nil, &setback{at: atMail, err: errNotRecorded} // the next attempt goes on with the others
		}
	}
	after, lost := s.follow(ctx, first, e, rest)
	return answer, append(warnings, after...), lost
}

// follow sends the rest in transactions one after the other, on the connection of the first one.
func (s *Sender) follow(ctx context.Context, c *connection, e *envelope, rest []int) (warnings []string, stopped *setback) {
	for len(rest) > 0 {
		part := e.only(rest)
		lost := &setback{at: atMail, err: errGarbled}
		if !c.broken {
			lost = c.begin(ctx, part, time.Now().Add(s.relay.timeouts.patient()))
		}
		if lost == nil {
			sent := part.only(c.taken)
			left := c.rest
			if _, lost = c.finish(ctx, sent); lost != nil {
				warnings = append(warnings, unsent(sent, lost))
			}
			finished(e.message.Parts, sent, lost)
			if rest = places(rest, left); len(rest) > 0 && record(ctx, e.message.Parts) != nil {
				return nil, &setback{at: atMail, err: errNotRecorded} // the next attempt goes on with the others
			}
			continue
		}
		if lost.field == "" { // not about one recipient
			finished(e.message.Parts, part, lost)
			return append(warnings, unsent(part, lost)), nil
		}
		if i := slices.Index(part.fields, lost.field); i >= 0 {
			refused := part.only([]int{i})
			warnings = append(warnings, unsent(refused, lost))
			finished(e.message.Parts, refused, lost)
			rest = slices.Delete(slices.Clone(rest), i, i+1)
		}
	}
	return warnings, nil
}

// finished notes the results of a transaction that cannot stop the others any more.
func finished(p *notify.Parts, e *envelope, lost *setback) {
	switch {
	case p == nil:
	case lost == nil:
		p.Finish(notify.StateSent, "", e.fields...)
	case lost.err != nil && lost.at == atDot: // nobody knows
		for _, f := range e.fields {
			p.Waiting = append(p.Waiting, notify.Part{Field: f, State: notify.StateHeld})
		}
	case lost.err != nil:
		p.Finish(notify.StateRejected, "", e.fields...)
	default:
		p.Finish(notify.StateRejected, replyCode(lost.reply), e.fields...)
	}
}

// places maps places in a part back to those in the whole.
func places(whole, part []int) (all []int) {
	for _, i := range part {
		all = append(all, whole[i])
	}
	return all
}

// unsent is a warning about the recipients of e.
func unsent(e *envelope, lost *setback) string {
	who := strings.Join(e.fields, ", ")
	if lost.err != nil && lost.at == atDot {
		return "nobody knows whether the relay sent it to " + who
	}
	code := ""
	if lost.err == nil {
		code = " (" + replyCode(lost.reply) + ")"
	}
	return "it was not sent to " + who + code + ": the relay took the mail for the others before"
}

// ofRecipient reports whether a refusal is about a recipient or the mail, not about the connection or the pace.
func (c cause) ofRecipient() bool {
	switch c {
	case causeRate, causeConnections, causeClosing, causeSequence, causeHost, causeAccount, causeQuota:
		return false
	}
	return true
}
