package smtp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxTransactions bounds the connections that one mail opens in addition to the pool's.
const maxTransactions = 8

// partTransaction is one of several transactions for the same mail.
type partTransaction struct {
	c *connection
	e *envelope
}

// split sends a mail through a relay that accepts it for a part of its recipients at a time (RFC 5321 4.5.3.1.10). The transaction
// of first has its recipients already, but not the mail. Before the first mail goes, split names all other recipients on further
// connections, so that a refused recipient still stops the whole mail. If the relay serves no further connection, the rest of the
// recipients follows on the first one: then a refused recipient no longer stops the others, and the warnings list it.
//
// The further connections are not from the pool: a wait for the pool while holding one of its connections could be endless.
func (s *Sender) split(ctx context.Context, first *connection, e *envelope, handoverBy time.Time) (answer string, warnings []string, failed *stepFailure) {
	transactions := []partTransaction{{first, e.only(first.accepted)}}
	defer func() {
		for _, sh := range transactions[1:] {
			sh.c.quit()
		}
	}()
	rest := first.deferred
	for len(rest) > 0 && len(transactions) <= maxTransactions && ctx.Err() == nil {
		part, c := e.only(rest), &connection{}
		if s.relay.connect(ctx, c, handoverBy) != nil {
			break
		}
		failed = c.begin(ctx, part, handoverBy)
		if failed != nil {
			c.quit()
			if failed.err == nil && s.relay.cause(part, failed).isAboutMessage() {
				return "", nil, failed // nobody gets the mail: the transactions end without it
			}
			break // the relay takes one transaction at a time, or not now
		}
		transactions = append(transactions, partTransaction{c, part.only(c.accepted)})
		rest = indexesIn(rest, c.deferred)
	}
	for i, sh := range transactions {
		said, failed := sh.c.finish(ctx, sh.e)
		if failed != nil && i == 0 {
			return "", nil, failed
		}
		if i == 0 {
			answer = said
		} else if failed != nil {
			warnings = append(warnings, unsentWarning(sh.e, failed))
		}
		recordResults(e.message.Parts, sh.e, failed)
		if more := i < len(transactions)-1 || len(rest) > 0; more && record(ctx, e.message.Parts) != nil {
			return "", nil, &stepFailure{at: atMail, err: errNotRecorded} // the next attempt continues with the others
		}
	}
	after, failed := s.sendRest(ctx, first, e, rest)
	return answer, append(warnings, after...), failed
}

// sendRest sends the mail to the rest of the recipients, in transactions one after the other on the first connection.
func (s *Sender) sendRest(ctx context.Context, c *connection, e *envelope, rest []int) (warnings []string, stopped *stepFailure) {
	for len(rest) > 0 {
		part := e.only(rest)
		failed := &stepFailure{at: atMail, err: errGarbled}
		if !c.broken {
			failed = c.begin(ctx, part, time.Now().Add(s.relay.timeouts.longest()))
		}
		if failed == nil {
			sent := part.only(c.accepted)
			left := c.deferred
			_, failed = c.finish(ctx, sent)
			if failed != nil {
				warnings = append(warnings, unsentWarning(sent, failed))
			}
			recordResults(e.message.Parts, sent, failed)
			rest = indexesIn(rest, left)
			if len(rest) > 0 && record(ctx, e.message.Parts) != nil {
				return nil, &stepFailure{at: atMail, err: errNotRecorded} // the next attempt continues with the others
			}
			continue
		}
		if failed.field == "" { // not about one recipient
			recordResults(e.message.Parts, part, failed)
			return append(warnings, unsentWarning(part, failed)), nil
		}
		if i := slices.Index(part.fields, failed.field); i >= 0 {
			refused := part.only([]int{i})
			warnings = append(warnings, unsentWarning(refused, failed))
			recordResults(e.message.Parts, refused, failed)
			rest = slices.Delete(slices.Clone(rest), i, i+1)
		}
	}
	return warnings, nil
}

// recordResults stores the results of a transaction that can no longer stop the others.
func recordResults(p *notify.Parts, e *envelope, failed *stepFailure) {
	switch {
	case p == nil:
	case failed == nil:
		p.Finish(notify.StateSent, "", e.fields...)
	case failed.err != nil && failed.at == atDot: // unknown whether it was sent
		for _, f := range e.fields {
			p.Waiting = append(p.Waiting, notify.Part{Field: f, State: notify.StateHeld})
		}
	case failed.err != nil:
		p.Finish(notify.StateRejected, "", e.fields...)
	default:
		p.Finish(notify.StateRejected, replyCode(failed.reply), e.fields...)
	}
}

// indexesIn maps the indexes in a part to the indexes in the whole.
func indexesIn(whole, part []int) []int {
	var all []int
	for _, i := range part {
		all = append(all, whole[i])
	}
	return all
}

// unsentWarning returns the warning about the recipients of e.
func unsentWarning(e *envelope, failed *stepFailure) string {
	who := strings.Join(e.fields, ", ")
	if failed.err != nil && failed.at == atDot {
		return "nobody knows whether the relay sent it to " + who
	}
	code := ""
	if failed.err == nil {
		code = " (" + replyCode(failed.reply) + ")"
	}
	return "it was not sent to " + who + code + ": the relay took the mail for the others before"
}

// isAboutMessage reports whether a refusal is about a recipient or the mail, and not about the connection or the rate.
func (c cause) isAboutMessage() bool {
	switch c {
	case causeRate, causeConnections, causeClosing, causeSequence, causeHost, causeAccount, causeQuota:
		return false
	}
	return true
}
