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
	expires   time.Time

	tries  []notify.Try // the calls of the gateway so far, bounded by remember
	calls  int          // how many there were
	used   int          // how many of them count
	waited bool         // it has met a shut gate, and has paused its partition
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
	if n != nil {
		j.reference = n.Reference
	}
	if j.refusal = w.examine(r, j, n, faults); j.refusal == nil {
		j.message.ID = j.id
		j.expires = expiry(n, r, w.cfg.ExpiresAfter)
		j.message.ExpiresAt = &j.expires // a gateway tells its provider how long the message is worth sending
	}
	return j
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
	for _, key := range []string{notify.HeaderIdempotency, notify.HeaderNotBefore} {
		if v, _ := r.Header(key); v != "" {
			return &refusal{notify.ReasonNotSupportedYet, key, "leave the header " + key + " out"}
		}
	}
	if n.Channel == "" {
		n.Channel = w.cfg.Channel
	}
	if n.Channel != w.cfg.Channel {
		return &refusal{notify.ReasonInvalid, notify.FaultInvalid, "#/channel: this topic is for " + string(w.cfg.Channel) + ": give that or none, or write to the channel's own topic"}
	}
	if n.Lane != "" && n.Lane != notify.LaneNormal {
		j.warnings = append(j.warnings, "the lane was ignored: the topic's is normal")
	}
	n.Lane = notify.LaneNormal
	if j.message, faults = w.cfg.Rules.Check(n); len(faults) > 0 {
		return refused(notify.ReasonInvalid, faults)
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
