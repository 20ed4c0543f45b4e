package worker

import (
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// job is a record after parsing, with the state of its delivery. The runner carries it from one call of Handle to the next.
type job struct {
	id               string
	run, step        int
	attemptsBefore   int // attempts counted in earlier steps: header ls-attempt
	tenant           string
	reference        string
	message          *notify.Message // nil with a rejection
	rejection        *rejection
	warnings         []string
	omittedCopies    []string // warnings about suppressed cc and bcc addresses
	expiresAt        time.Time
	due              time.Time // when the job may be sent; zero: at once
	acceptedAt       time.Time
	startsOnLadder   bool   // the first step goes to the ladder even if it is due by now: a repetition of the step must do the same
	holdIfAmbiguous  bool   // a message whose fate is unknown is not sent again
	doubtfulGateways string // gateways that may have accepted the message in an earlier step, separated by commas

	optedOutSenders map[string]bool // of a text message: senders that gateways have called opted out since the job is in this place
	suppressions    []kafka.Message // these opt-outs and other suppressions; published first when the job ends in this place

	tag       contentTag
	tagShared bool // other workers can compare the tag, so it goes on the ledger

	inFlight      bool         // the duplicate check knows that this worker has the record
	tries         []notify.Try // calls of gateways in this place; bounded by addTry
	calls         int          // number of calls in this place
	callsBefore   int          // of them, calls of earlier attempts
	calledGateway string       // gateway that this call of Handle has called last; empty before the first

	panicked        bool      // this call of Handle panicked after the gateway was called
	lostCallGateway string    // gateway whose answer was lost by a panic; empty once that is concluded
	attemptsHere    int       // attempts counted in this place
	failingSince    time.Time // strict order only: time of the first failure
	pausedPartition bool      // the job found no gateway and has paused its partition
	doubtResolved   bool      // no doubt about an earlier owner is left: this worker wrote an intent, or the earlier one was withdrawn
	intentOpen      bool      // the intent of this worker is not withdrawn

	continuation func(*kafka.Attempt) kafka.Result // called by the next Handle instead of another attempt; nil: an attempt
}

// attempts returns the number of attempts counted so far.
func (j *job) attempts() int { return j.attemptsBefore + j.attemptsHere }

// rejection is the reason for which a record is never given to a gateway.
type rejection struct {
	reason string // one of the Reason constants of notify
	code   string
	detail string // what to do about it, without the recipient
}

// parse returns the job of a record. It never fails: an invalid record becomes a job with a rejection.
func (w *Worker) parse(r *kafka.Record) *job {
	n, warnings, faults := validate.Decode(r.Value, false)
	j := &job{
		id:             identity(n, r),
		run:            number(r, notify.HeaderRun),
		step:           number(r, notify.HeaderStep),
		attemptsBefore: number(r, notify.HeaderAttempt),
		tenant:         validate.Tenant(n),
		warnings:       warnings,
	}
	j.doubtfulGateways, _ = r.Header(notify.HeaderInDoubt)
	doneParts, _ := r.Header(notify.HeaderRecipients)
	if n != nil {
		j.reference = n.Reference
	}
	if h, ok := w.contentHashOf(r, n, faults); ok { // before check changes n
		t := w.tagger()
		j.tag = t.tag(h)
		j.tagShared = t.shared && h.kind == hashContent
	}
	j.rejection = w.check(r, j, n, faults)
	if j.rejection == nil {
		j.message.ID = j.id
		j.message.Run = j.run
		j.message.Parts = w.parts.of(partitionOf(r), j, doneParts)
		j.acceptedAt = acceptedAt(r)
		j.due = due(n, r, j.step)
		j.startsOnLadder = j.step == 0 && j.due.Sub(j.acceptedAt) > inPlaceWait
		j.expiresAt = expiry(n, r, j.acceptedAt, w.cfg.ExpiresAfter)
		j.message.ExpiresAt = &j.expiresAt // a gateway tells its provider how long the message is worth sending
		j.holdIfAmbiguous = n.OnAmbiguous == notify.AmbiguousHold
	}
	return j
}

// retryInPlace returns the result that calls Handle again at the given time, or when the job expires if that is sooner.
func (j *job) retryInPlace(at time.Time) kafka.Result {
	if at.After(j.expiresAt) {
		at = j.expiresAt
	}
	return kafka.Result{Again: at, Carry: j}
}

// check sets j's message, or returns why the record is rejected. It checks in this order: the schema version, the JSON, features
// that do not exist yet, the channel of the topic, the validation rules.
func (w *Worker) check(r *kafka.Record, j *job, n *notify.Notification, faults notify.Faults) *rejection {
	if newer(r) { // first: this build does not know what the fields of a later version mean
		return &rejection{notify.ReasonSchemaUnknown, "", "this build reads schema " + strconv.Itoa(notify.Schema) + " and none later: upgrade the workers, then redrive"}
	}
	if n == nil {
		return rejectionOf(notify.ReasonUndecodable, faults)
	}
	if len(faults) > 0 {
		return rejectionOf(notify.ReasonInvalid, faults)
	}
	if n.Channel == "" {
		n.Channel = w.cfg.Channel
	}
	if n.Channel != w.cfg.Channel {
		return &rejection{notify.ReasonInvalid, notify.FaultInvalid, "#/channel: this topic is for " + string(w.cfg.Channel) + ": give that or none, or write to the channel's own topic"}
	}
	if n.Lane != "" && n.Lane != w.cfg.Lane {
		j.warnings = append(j.warnings, "the lane was ignored: the topic's is "+string(w.cfg.Lane))
	}
	n.Lane = w.cfg.Lane
	j.message, faults = w.cfg.Rules.Check(n)
	if len(faults) > 0 {
		return rejectionOf(notify.ReasonInvalid, faults)
	}
	j.warnings = append(j.warnings, j.message.Warnings()...)
	if n.SendAt != nil && j.step == 0 && tooFar(*n.SendAt) { // a job is never sent early, and no ladder is that long
		return &rejection{notify.ReasonInvalid, notify.FaultInvalid, "#/send_at: give a time within the next 30 days"}
	}
	if len(w.cfg.Route.order(j)) == 0 {
		return &rejection{notify.ReasonInvalid, notify.FaultInvalid, "#/recipient_type: no gateway of this channel delivers to this type"}
	}
	return nil
}

// rejectionOf returns the rejection for faults of the record.
func rejectionOf(reason string, faults notify.Faults) *rejection {
	if faults.Has(notify.FaultNotSupportedYet) {
		reason = notify.ReasonNotSupportedYet
	}
	r := &rejection{reason: reason, detail: faults.Error()}
	if len(faults) > 0 {
		r.code = faults[0].Code
	}
	return r
}
