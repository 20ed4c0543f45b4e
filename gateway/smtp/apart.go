package smtp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// errNotRecorded: the next transaction must not begin, since a crash would repeat the one before.
var errNotRecorded = errors.New("the results of the recipients could not be recorded")

// apart delivers a mail whose recipients have results of their own: a refused one does not stop the others.
type apart struct {
	*Sender
	e       *envelope // to all recipients
	parts   *notify.Parts
	answer  string          // the relay's last word about an accepted transaction
	waits   *notify.Failure // of a recipient that is refused for now
	refused *notify.Failure // of one that is refused for good; that of the recipient comes before those of copies
}

// sendApart sends e to the recipients that have no result, in as many transactions as the relay wants.
func (s *Sender) sendApart(ctx context.Context, e *envelope, early time.Time) (notify.Receipt, error) {
	a := &apart{Sender: s, e: e, parts: e.message.Parts}
	for {
		pending := a.pending()
		if len(pending) == 0 {
			return a.end()
		}
		kept, err := s.acquire(ctx, early)
		if err != nil {
			return notify.Receipt{}, err
		}
		lost, err := a.deliver(ctx, kept.Value(), pending, early)
		s.release(kept)
		switch {
		case lost != nil && lost.stale && ctx.Err() == nil && time.Now().Before(early):
			continue
		case err != nil:
			return notify.Receipt{}, err
		default:
			return a.end()
		}
	}
}

// pending lists the places of the recipients without a result.
func (a *apart) pending() (places []int) {
	for i, field := range a.e.fields {
		if !a.parts.Has(field) {
			places = append(places, i)
		}
	}
	return places
}

// deliver leads transactions on one connection until no recipient is left to be named. Its error is a failure that is about all
// recipients without a result; lost is where it came from.
func (a *apart) deliver(ctx context.Context, c *connection, pending []int, early time.Time) (lost *setback, err error) {
	for len(pending) > 0 {
		part := a.e.only(pending)
		part.lenient = true
		if lost = c.begin(ctx, part, early); lost != nil {
			return lost, a.relay.judge(ctx, part, lost)
		}
		if err := a.note(part, c); err != nil {
			return nil, err
		}
		rest := places(pending, c.rest)
		if len(c.taken) > 0 {
			if lost, err = a.finish(ctx, c, part.only(c.taken)); err != nil {
				return lost, err
			}
		}
		if len(rest) == len(pending) {
			return nil, nil // the relay names none of them; they wait
		}
		pending = rest
		if len(pending) == 0 {
			return nil, nil
		}
		if err := record(ctx, a.parts); err != nil {
			return nil, err
		}
		early = time.Now().Add(a.relay.timeouts.patient())
	}
	return nil, nil
}

// note stores the result of each refused recipient. If the relay accepted no recipient and a refusal has another cause than its
// recipient, note returns the refusal as the failure of the whole mail.
func (a *apart) note(part *envelope, c *connection) error {
	failures := make([]*notify.Failure, len(c.refused))
	for i, r := range c.refused {
		f := a.relay.refused(part, &setback{at: atRcpt, field: part.fields[r.place], reply: r.reply})
		if len(c.taken) == 0 && (f.Next || !f.Works && f.Verdict != notify.Permanent && f.Verdict != notify.Transient) {
			return f
		}
		failures[i] = f
	}
	for i, r := range c.refused {
		f, field := failures[i], part.fields[r.place]
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

func (a *apart) reject(f *notify.Failure, fields ...string) {
	a.parts.Finish(notify.StateRejected, f.Code, fields...)
	if a.refused == nil || slices.Contains(fields, "recipient") {
		a.refused = f
	}
}

// finish sends the mail to those whom the relay has accepted.
func (a *apart) finish(ctx context.Context, c *connection, sent *envelope) (*setback, error) {
	answer, lost := c.finish(ctx, sent)
	if lost == nil {
		a.answer = answer
		a.parts.Finish(notify.StateSent, "", sent.fields...)
		return nil, nil
	}
	f := notify.Judge(a.relay.judge(ctx, sent, lost))
	if f.Verdict != notify.Permanent || f.Next {
		return lost, f
	}
	a.reject(f, sent.fields...)
	return nil, nil
}

// end says what becomes of the message: it goes on for the recipients that wait.
func (a *apart) end() (notify.Receipt, error) {
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

// record makes the results durable before another transaction begins.
func record(ctx context.Context, p *notify.Parts) error {
	if p == nil || p.Record == nil {
		return nil
	}
	if err := p.Record(ctx); err != nil {
		return &notify.Failure{Verdict: notify.Transient, Reason: errNotRecorded.Error(), Works: true, Err: err}
	}
	return nil
}
