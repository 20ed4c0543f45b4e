package smtp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// errNotRecorded stops a delivery: without the record, a crash would repeat the transaction before.
var errNotRecorded = errors.New("the results of the recipients could not be recorded")

// perRecipient delivers a mail whose recipients have separate results: a refused recipient does not stop the others.
type perRecipient struct {
	*Sender
	e       *envelope // to all recipients
	parts   *notify.Parts
	answer  string          // final reply to the last accepted transaction
	waits   *notify.Failure // of the first recipient that was refused temporarily
	refused *notify.Failure // of a recipient that was refused permanently; the main recipient has precedence over copies
}

// sendPerRecipient sends e to the recipients without a result, in as many transactions as the relay requires.
func (s *Sender) sendPerRecipient(ctx context.Context, e *envelope, handoverBy time.Time) (notify.Receipt, error) {
	a := &perRecipient{Sender: s, e: e, parts: e.message.Parts}
	for {
		pending := a.pending()
		if len(pending) == 0 {
			return a.end()
		}
		pooled, err := s.acquire(ctx, handoverBy)
		if err != nil {
			return notify.Receipt{}, err
		}
		failed, err := a.deliver(ctx, pooled.Value(), pending, handoverBy)
		s.release(pooled)
		switch {
		case failed != nil && failed.stale && ctx.Err() == nil && time.Now().Before(handoverBy):
			continue
		case err != nil:
			return notify.Receipt{}, err
		default:
			return a.end()
		}
	}
}

// pending returns the indexes of the recipients without a result.
func (a *perRecipient) pending() []int {
	var indexes []int
	for i, field := range a.e.fields {
		if !a.parts.Has(field) {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// deliver makes transactions on one connection until every pending recipient was named. Its error is a failure of all
// recipients without a result, and failed is the step that caused it.
func (a *perRecipient) deliver(ctx context.Context, c *connection, pending []int, handoverBy time.Time) (failed *stepFailure, err error) {
	for len(pending) > 0 {
		part := a.e.only(pending)
		part.lenient = true
		failed = c.begin(ctx, part, handoverBy)
		if failed != nil {
			return failed, a.relay.judge(ctx, part, failed)
		}
		if err := a.note(part, c); err != nil {
			return nil, err
		}
		rest := indexesIn(pending, c.deferred)
		if len(c.accepted) > 0 {
			failed, err = a.finish(ctx, c, part.only(c.accepted))
			if err != nil {
				return failed, err
			}
		}
		if len(rest) == len(pending) {
			return nil, nil // the relay accepts none of them; they wait
		}
		pending = rest
		if len(pending) == 0 {
			return nil, nil
		}
		if err := record(ctx, a.parts); err != nil {
			return nil, err
		}
		handoverBy = time.Now().Add(a.relay.timeouts.longest())
	}
	return nil, nil
}

// note stores the result of each refused recipient. If the relay accepted no recipient, and the cause of a refusal is not its
// recipient, note returns the refusal as the failure of the whole mail.
func (a *perRecipient) note(part *envelope, c *connection) error {
	failures := make([]*notify.Failure, len(c.refused))
	for i, r := range c.refused {
		f := a.relay.judgeReply(part, &stepFailure{at: atRcpt, field: part.fields[r.index], reply: r.reply})
		if len(c.accepted) == 0 && (f.Next || !f.Works && f.Verdict != notify.Permanent && f.Verdict != notify.Transient) {
			return f
		}
		failures[i] = f
	}
	for i, r := range c.refused {
		f, field := failures[i], part.fields[r.index]
		if f.Verdict == notify.Permanent && !f.Next {
			a.reject(f, field)
			continue
		}
		a.parts.Waiting = append(a.parts.Waiting, notify.Part{Field: field, State: notify.StateRetrying, Code: f.Code})
		if a.waits == nil {
			a.waits = f
		}
	}
	return nil
}

func (a *perRecipient) reject(f *notify.Failure, fields ...string) {
	a.parts.Finish(notify.StateRejected, f.Code, fields...)
	if a.refused == nil || slices.Contains(fields, "recipient") {
		a.refused = f
	}
}

// finish sends the mail to the recipients that the relay has accepted.
func (a *perRecipient) finish(ctx context.Context, c *connection, sent *envelope) (*stepFailure, error) {
	answer, failed := c.finish(ctx, sent)
	if failed == nil {
		a.answer = answer
		a.parts.Finish(notify.StateSent, "", sent.fields...)
		return nil, nil
	}
	f := notify.Judge(a.relay.judge(ctx, sent, failed))
	if f.Verdict != notify.Permanent || f.Next {
		return failed, f
	}
	a.reject(f, sent.fields...)
	return nil, nil
}

// end returns the result of the message. If recipients wait, the result is a failure that retries the message for them.
func (a *perRecipient) end() (notify.Receipt, error) {
	switch {
	case a.waits != nil:
		f := *a.waits
		f.Works = true
		f.Next, f.Gone = false, false
		if f.Verdict != notify.Throttled {
			f.Verdict, f.Remedy = notify.Transient, ""
		}
		return notify.Receipt{}, &f
	case a.parts.Sent():
		return notify.Receipt{ProviderID: providerID(a.answer, a.e)}, nil
	case a.refused != nil:
		return notify.Receipt{}, a.refused
	}
	return notify.Receipt{}, &notify.Failure{Verdict: notify.Permanent, Reason: "every recipient was refused"}
}

// record makes the results of the recipients durable before another transaction begins.
func record(ctx context.Context, p *notify.Parts) error {
	if p == nil || p.Record == nil {
		return nil
	}
	if err := p.Record(ctx); err != nil {
		return &notify.Failure{Verdict: notify.Transient, Reason: errNotRecorded.Error(), Works: true, Err: err}
	}
	return nil
}
