package worker

import (
	"context"
	"strconv"
	"sync"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// An e-mail may need several transactions: its relay accepts only a few recipients at a time, or refuses some for now, for which
// the others need not wait. The results of a transaction's recipients go to the ledger before the next transaction begins. A
// worker that takes the partition over reads these results, so that a crash repeats at most one transaction. A job that goes to
// the ladder carries the results in a header.

// ledgerParts holds the recipient results that take-overs have read from the ledger. A topic's results are forgotten when its
// partitions are assigned again. Concurrent calls are safe. The zero value is ready to use.
type ledgerParts struct {
	mu  sync.Mutex
	all map[partition]map[stepKey]string
}

// stepKey identifies one step of one run of a notification.
type stepKey struct {
	id        string
	run, step int
}

// learn adds the recipient results of a ledger record, if it has any.
func (p *ledgerParts) learn(at partition, r *kafka.Record) {
	kind, _ := r.Header(kafka.HeaderKind)
	done, ok := r.Header(notify.HeaderRecipients)
	if kind != kafka.KindProgress || !ok {
		return
	}
	id, _ := r.Header(kafka.HeaderJobID)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[partition]map[stepKey]string{}
	}
	if p.all[at] == nil {
		p.all[at] = map[stepKey]string{}
	}
	p.all[at][stepKey{id, number(r, notify.HeaderRun), number(r, notify.HeaderStep)}] = done
}

// forget removes the results of a topic. Call it before the topic's partitions are taken over again.
func (p *ledgerParts) forget(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.all {
		if at.topic == topic {
			delete(p.all, at)
		}
	}
}

// of returns the recipient results of a job, or nil if it is not an e-mail. FromRecord is the header of the job's record with the
// results of earlier steps.
func (p *ledgerParts) of(at partition, j *job, fromRecord string) *notify.Parts {
	if j.message.Email == nil {
		return nil
	}
	parts := &notify.Parts{Partial: j.message.Email.Partial == notify.PartialDeliver, Done: notify.ParseParts(fromRecord)}
	p.mu.Lock()
	fromLedger := p.all[at][stepKey{j.id, j.run, j.step}]
	p.mu.Unlock()
	for _, d := range notify.ParseParts(fromLedger) {
		parts.Finish(d.State, d.Code, d.Field)
	}
	if parts.Apart() { // otherwise the list is not needed before the gateway has named the recipients
		parts.Fields = recipientFields(j.message)
	}
	return parts
}

// recipientFields returns, for each address of the message, the first field that names it.
func recipientFields(m *notify.Message) []string {
	var fields []string
	if len(m.Email.CC)+len(m.Email.BCC) == 0 {
		return []string{"recipient"}
	}
	seen := map[string]bool{}
	add := func(field, box string) {
		if address := bareAddress(box); box != "" && !seen[address] {
			seen[address] = true
			fields = append(fields, field)
		}
	}
	add("recipient", m.Recipient)
	for i, box := range m.Email.CC {
		add("cc["+strconv.Itoa(i)+"]", box)
	}
	for i, box := range m.Email.BCC {
		add("bcc["+strconv.Itoa(i)+"]", box)
	}
	return fields
}

// recordParts writes the results of j's recipients to the ledger. For a job that must not be sent twice it also records an intent
// for the next transaction.
func (w *Worker) recordParts(ctx context.Context, a *kafka.Attempt, j *job) error {
	done := kafka.Header{Key: notify.HeaderRecipients, Value: []byte(j.message.Parts.String())}
	if err := a.Progress(ctx, append(stepHeaders(j), done)...); err != nil {
		return err
	}
	j.intentOpen = false
	if j.holdIfAmbiguous && !w.recordIntent(ctx, a, j) {
		return kafka.ErrLeaseLost
	}
	return nil
}

// canContinueAt reports whether o can send j to the recipients that are left. Only gateways with long calls can: the others send an
// e-mail to all of its recipients.
func (j *job) canContinueAt(o *Outlet) bool {
	if p := j.message.Parts; p == nil || len(p.Done) == 0 {
		return true
	}
	_, ok := o.Sender.(gateway.LongSender)
	return ok
}

// sentPartially ends a job that was sent to some of its recipients, and will not be sent to the others.
func (w *Worker) sentPartially(a *kafka.Attempt, j *job, gateway, code, reason string) kafka.Result {
	e := w.baseEvent(j)
	e.State = notify.StateSent
	e.Code = code
	e.Reason = reason
	if gateway != "" {
		e.Gateway = gateway
	}
	for i := range e.Recipients {
		if p := &e.Recipients[i]; p.State != notify.StateSent {
			p.State = notify.StateRejected
		}
	}
	return w.result(a, j, e.State, w.cfg.Records.Sent(a.Record, e))
}
