package worker

import (
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// job is what a worker knows of a record: read once, carried from attempt to attempt.
type job struct {
	id        string
	run, step int
	attempt   int // what ls-attempt says of the steps before this one
	tenant    string
	reference string
	message   *notify.Message // nil with a refusal
	refusal   *refusal
	warnings  []string
	omitted   []string // which copies are suppressed
	expires   time.Time
	due       time.Time // when it may be sent first; zero at once
	accepted  time.Time // when it was
	planned   bool      // it begins on the ladder, even if it is due by now: whoever repeats this step must do the same
	hold      bool      // what nobody knows the fate of is not sent again
	inDoubt   string    // gateways that may have accepted it in an earlier step, separated by commas

	optedOut map[string]bool // of a text: the senders of which gateways have said in this place that the recipient has opted out
	leaves   []kafka.Message // published when it leaves its place, before all else: these opt-outs, for all workers

	print  print // of its content
	shared bool  // other workers can compare the print: it goes on the ledger

	entered bool         // the worker's memory has it in hand
	tries   []notify.Try // the calls of gateways in this place so far, bounded by remember
	calls   int          // how many there were
	before  int          // of them, those of earlier attempts
	called  string       // the gateway that this call of Handle has called last; empty before

	panicked bool      // this call of Handle has panicked after that
	lost     string    // the gateway that was called when a panic lost what it said; empty once that is concluded
	used     int       // how many attempts of this place count
	failing  time.Time // where the order is strict: since when it has failed
	waited   bool      // it has met a shut gate, and has paused its partition
	intent   bool      // one of ours has been on the ledger: no doubt about an earlier owner is left
	stands   bool      // and has not been withdrawn

	next func(*kafka.Attempt) kafka.Result // what the next call does instead of another attempt; nil makes one
}

// refusal is why a record is never given to a gateway.
type refusal struct {
	reason string // one of notify's words
	code   string
	detail string // what to do about it; no recipient
}

// read makes a record a job. It never fails: what is wrong is the job's refusal.
func (w *Worker) read(r *kafka.Record) *job {
	n, warnings, faults := validate.Decode(r.Value, false)
	j := &job{
		id:       identity(n, r),
		run:      number(r, notify.HeaderRun),
		step:     number(r, notify.HeaderStep),
		attempt:  number(r, notify.HeaderAttempt),
		tenant:   validate.Tenant(n),
		warnings: warnings,
	}
	j.inDoubt, _ = r.Header(notify.HeaderInDoubt)
	done, _ := r.Header(notify.HeaderRecipients)
	if n != nil {
		j.reference = n.Reference
	}
	if h, ok := w.content(r, n, faults); ok { // before n is changed
		s := w.sealer()
		j.print, j.shared = s.seal(h), s.shared && h.kind == hashContent
	}
	if j.refusal = w.examine(r, j, n, faults); j.refusal == nil {
		j.message.ID, j.message.Run = j.id, j.run
		j.message.Parts = w.parts.of(at(r), j, done)
		j.accepted = acceptedAt(r)
		j.due = due(n, r, j.step)
		j.planned = j.step == 0 && j.due.Sub(j.accepted) > soon
		j.expires = expiry(n, r, j.accepted, w.cfg.ExpiresAfter)
		j.message.ExpiresAt = &j.expires // a gateway tells its provider how long the message is worth sending
		j.hold = n.OnAmbiguous == notify.AmbiguousHold
	}
	return j
}

// again asks for another call in place at that time, or at the job's expiry if that is sooner.
func (j *job) again(at time.Time) kafka.Result {
	if at.After(j.expires) {
		at = j.expires
	}
	return kafka.Result{Again: at, Carry: j}
}

// examine asks, in this order, whether this build understands the record, whether it can be read, whether it asks for
// what does not exist yet, whether it is on the right topic, and whether it is valid. If so, j has its message.
func (w *Worker) examine(r *kafka.Record, j *job, n *notify.Notification, faults notify.Faults) *refusal {
	if newer(r) { // first: what a later version means by its fields is not ours to judge
		return &refusal{notify.ReasonSchemaUnknown, "", "this build reads schema " + strconv.Itoa(notify.Schema) + " and none later: upgrade the workers, then redrive"}
	}
	if n == nil {
		return refused(notify.ReasonUndecodable, faults)
	}
	if len(faults) > 0 {
		return refused(notify.ReasonInvalid, faults)
	}
	if n.Channel == "" {
		n.Channel = w.cfg.Channel
	}
	if n.Channel != w.cfg.Channel {
		return &refusal{notify.ReasonInvalid, notify.FaultInvalid, "#/channel: this topic is for " + string(w.cfg.Channel) + ": give that or none, or write to the channel's own topic"}
	}
	if n.Lane != "" && n.Lane != w.cfg.Lane {
		j.warnings = append(j.warnings, "the lane was ignored: the topic's is "+string(w.cfg.Lane))
	}
	n.Lane = w.cfg.Lane
	if j.message, faults = w.cfg.Rules.Check(n); len(faults) > 0 {
		return refused(notify.ReasonInvalid, faults)
	}
	j.warnings = append(j.warnings, j.message.Warnings()...)
	if n.SendAt != nil && j.step == 0 && tooFar(*n.SendAt) { // never early; and no ladder is as long as that
		return &refusal{notify.ReasonInvalid, notify.FaultInvalid, "#/send_at: give a time within the next 30 days"}
	}
	if len(w.cfg.Route.order(j)) == 0 {
		return &refusal{notify.ReasonInvalid, notify.FaultInvalid, "#/recipient_type: no gateway of this channel delivers to this type"}
	}
	return nil
}

func refused(reason string, faults notify.Faults) *refusal {
	if faults.Has(notify.FaultNotSupportedYet) {
		reason = notify.ReasonNotSupportedYet
	}
	f := &refusal{reason: reason, detail: faults.Error()}
	if len(faults) > 0 {
		f.code = faults[0].Code
	}
	return f
}
