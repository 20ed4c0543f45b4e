package worker

import (
	"context"
	"strconv"
	"sync"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// An e-mail may need several transactions: its relay takes some recipients at a time, or refuses some for now and the others need
// not wait for them. After each transaction the results of its recipients go to the ledger, before the next one begins. A worker
// that takes the partition over reads them, so that a crash repeats one transaction. On the ladder they go with the job.

// partsRead holds the recipient results that take-overs have read from the ledger, until the topic is assigned anew. Concurrent calls
// are safe. The zero value is ready to use.
type partsRead struct {
	mu  sync.Mutex
	all map[partition]map[stepKey]string
}

// stepKey identifies one step of one run of a notification.
type stepKey struct {
	id        string
	run, step int
}

// learn takes in a record of the ledger.
func (p *partsRead) learn(at partition, r *kafka.Record) {
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

// forget drops what was read of a topic: its partitions are about to be taken over anew.
func (p *partsRead) forget(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.all {
		if at.topic == topic {
			delete(p.all, at)
		}
	}
}

// of returns the parts of a job. Brought is what its record says of its recipients.
func (p *partsRead) of(at partition, j *job, brought string) *notify.Parts {
	if j.message.Email == nil {
		return nil
	}
	parts := &notify.Parts{Partial: j.message.Email.Partial == notify.PartialDeliver, Done: notify.ParseParts(brought)}
	p.mu.Lock()
	read := p.all[at][stepKey{j.id, j.run, j.step}]
	p.mu.Unlock()
	for _, d := range notify.ParseParts(read) {
		parts.Finish(d.State, d.Code, d.Field)
	}
	if parts.Apart() { // otherwise nobody lists the recipients before the gateway has named them
		parts.Fields = fieldsOf(j.message)
	}
	return parts
}

// fieldsOf lists the first field that names each address.
func fieldsOf(m *notify.Message) (fields []string) {
	if len(m.Email.CC)+len(m.Email.BCC) == 0 {
		return []string{"recipient"}
	}
	seen := map[string]bool{}
	add := func(field, box string) {
		if address := bare(box); box != "" && !seen[address] {
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

// recordParts puts the results of j's recipients on the ledger. For a job that must not be sent twice the next transaction needs an
// intent of its own.
func (w *Worker) recordParts(ctx context.Context, a *kafka.Attempt, j *job) error {
	done := kafka.Header{Key: notify.HeaderRecipients, Value: []byte(j.message.Parts.String())}
	if err := a.Progress(ctx, append(stepHeaders(j), done)...); err != nil {
		return err
	}
	j.stands = false
	if j.hold && !w.intend(ctx, a, j) {
		return kafka.ErrLeaseLost
	}
	return nil
}

// fits reports whether o can go on with j: gateways of short calls send an e-mail to all of its recipients.
func (j *job) fits(o *Outlet) bool {
	if p := j.message.Parts; p == nil || len(p.Done) == 0 {
		return true
	}
	_, ok := o.Sender.(gateway.LongSender)
	return ok
}

// sentInPart ends a job of which some recipients have got the mail, and no other will.
func (w *Worker) sentInPart(a *kafka.Attempt, j *job, gateway, code, reason string) kafka.Result {
	e := w.event(j)
	e.State, e.Code, e.Reason = notify.StateSent, code, reason
	if gateway != "" {
		e.Gateway = gateway
	}
	for i := range e.Recipients {
		if p := &e.Recipients[i]; p.State != notify.StateSent {
			p.State = notify.StateRejected
		}
	}
	return w.left(a, j, e.State, w.cfg.Desk.Sent(a.Record, e))
}
