package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// simulation holds all topics of a channel as logs in memory: one partition of a lane, the tiers of the delay ladder, the dead
// letters, the ledger. The real worker, mover and desk work on these logs. The simulation plays their runners. They publish one
// record after the other, and may be killed in between; then a record arrives later or never.
type simulation struct {
	w                *Worker
	mover            *dispatcher.Mover
	control          *fakeControl
	lane             []*entry
	tiers            []*entry // of all delay topics
	deadLetters      []*kafka.Record
	ledger           []*ledgerEntry
	inTransit        [][]kafka.Message // records of killed workers that the brokers have not yet
	generation       int               // of the lane's owner
	unfinishedAt     map[int64][]int   // by job offset: generations that found the job unfinished; records of older generations for it are void
	dedupCapacity    int               // 0 = default
	written          int               // notifications written so far, where each is written once
	paused           bool              // the worker has paused the lane
	ownershipUnknown bool              // the worker does not know whether it still owns the lane

	answers []error // of the gateway, one per call; after the last it accepts
	current *entry  // the handler's record
	calls   []*call
	sendAt  map[string]time.Time
	fault   string // the first fault
}

// entry is a record of a log.
type entry struct {
	*kafka.Record
	done       bool
	waitsUntil time.Time // when the handler is called again; zero: it does not wait
	carry      any
	calls      []*call         // of the last attempt
	sending    []kafka.Message // records of its result that are not published yet, the outcome last
	ended      func()          // called once the outcome is acknowledged
	followOn   *kafka.Record   // found by a take-over: written by an earlier attempt whose outcome is missing
}

// ledgerEntry is an outcome on the ledger.
type ledgerEntry struct {
	*kafka.Record
	notify.Event
	offset int     // of the job
	known  *Worker // the worker that wrote it, or has read it in a take-over
}

// call is a call of the gateway.
type call struct {
	id        string
	run, step int
	again     bool // no decision about the job, which is called again in place
	lost      bool // the worker was killed before the outcome was acknowledged
}

func newSimulation(answers []error) *simulation {
	x := &simulation{control: &fakeControl{cancelled: map[string]bool{}}, answers: answers, sendAt: map[string]time.Time{}, unfinishedAt: map[int64][]int{}}
	x.mover = &dispatcher.Mover{Topics: desk().Topics, Channel: notify.ChannelEmail, Cancelled: x.control.Cancelled}
	x.boot()
	return x
}

// boot starts a new process.
func (x *simulation) boot() {
	x.w = newWorker(sendFunc(x.send), func(c *Config) {
		c.Control = x.control
		c.Dedup = NewDedup(x.dedupCapacity)
		c.Retries = RetryPolicy{MaxAttempts: 4, InitialBackoff: 5 * time.Second, MaxBackoff: 10 * time.Minute}
	})
	x.takeOver()
}

// takeOver reads the ledger. The unfinished records are handled again.
func (x *simulation) takeOver() {
	x.generation++
	for _, o := range x.ledger {
		if by, signed := o.Header(kafka.HeaderGeneration); signed && x.isVoid(fmt.Sprintf("%d/%s", o.offset, by)) {
			continue
		}
		x.w.OnLedger("email_topic", 0, o.Record)
		o.known = x.w
		x.lane[o.offset].done = true
	}
	x.w.OnTakeOver("email_topic", 0, false)
	x.paused, x.ownershipUnknown = false, false
	for _, e := range x.lane {
		e.waitsUntil, e.carry = time.Time{}, nil
		if e.done || len(e.sending) > 0 {
			continue
		}
		e.followOn = x.followOnOf(e)
		if e.followOn == nil {
			x.unfinishedAt[e.Offset] = append(x.unfinishedAt[e.Offset], x.generation)
		}
	}
}

// followOnOf returns the record that an earlier attempt at e has written to the ladder or the dead letters, or nil.
func (x *simulation) followOnOf(e *entry) *kafka.Record {
	all := slices.Clone(x.deadLetters)
	for _, t := range x.tiers {
		all = append(all, t.Record)
	}
	for _, r := range all {
		if s, ok := r.Header(kafka.HeaderSource); ok && strings.HasPrefix(s, fmt.Sprintf("%d/", e.Offset)) && !x.isVoid(s) {
			return &kafka.Record{Topic: r.Topic, Headers: r.Headers}
		}
	}
	return nil
}

// isVoid reports whether a record with this source, "<offset>/<generation>", comes from an owner that had lost the lane.
func (x *simulation) isVoid(source string) bool {
	var offset int64
	var by int
	_, _ = fmt.Sscanf(source, "%d/%d", &offset, &by)
	return slices.ContainsFunc(x.unfinishedAt[offset], func(g int) bool { return g > by })
}

// withSource returns the records of e's result, with the header that names their source.
func (x *simulation) withSource(e *entry, res kafka.Result) []kafka.Message {
	by := strconv.Itoa(x.generation)
	if e.followOn != nil {
		s, _ := e.followOn.Header(kafka.HeaderSource)
		_, by, _ = strings.Cut(s, "/")
	}
	var ms []kafka.Message
	for _, m := range res.Follow {
		m.Headers = append(slices.Clone(m.Headers), kafka.Header{Key: kafka.HeaderSource, Value: fmt.Appendf(nil, "%d/%s", e.Offset, by)})
		ms = append(ms, m)
	}
	if res.Outcome == nil {
		return ms
	}
	o := outcomeOf(e, res.Outcome)
	if len(ms) > 0 || e.followOn != nil {
		o.Headers = append(o.Headers, kafka.Header{Key: kafka.HeaderGeneration, Value: []byte(by)})
	}
	return append(ms, o)
}

// kill ends the process. The records that it was publishing are in transit, or lost.
func (x *simulation) kill() {
	for _, e := range x.lane {
		if len(e.sending) == 0 {
			continue
		}
		x.inTransit = append(x.inTransit, e.sending)
		e.sending = nil
		for _, c := range e.calls {
			c.lost = true
		}
	}
	x.boot()
}

// send is the gateway.
func (x *simulation) send(context.Context, *notify.Message) (notify.Receipt, error) {
	r := x.current.Record
	c := &call{id: x.w.Identify(r), run: number(r, "ls-run"), step: number(r, "ls-step")}
	x.calls = append(x.calls, c)
	x.current.calls = append(x.current.calls, c)
	x.checkCall(c)
	if len(x.answers) == 0 {
		return notify.Receipt{}, nil
	}
	said := x.answers[0]
	x.answers = x.answers[1:]
	return notify.Receipt{}, said
}

// checkCall records a fault if the call must not be made.
func (x *simulation) checkCall(c *call) {
	for _, o := range x.ledger {
		if x.dedupCapacity == 0 && o.known == x.w && o.Final && o.NotificationID == c.id && o.Run >= c.run {
			x.fail("%+v is sent although run %d is over", c, o.Run)
		}
	}
	switch {
	case x.control.cancelled[c.id]:
		x.fail("%+v is sent although it is cancelled", c)
	case time.Now().Before(x.sendAt[c.id]), c.step > 0 && time.Now().Before(dispatcher.NotBefore(x.current.Record)):
		x.fail("%+v is sent before its time", c)
	}
}

func (x *simulation) fail(format string, args ...any) {
	if x.fault == "" {
		x.fault = fmt.Sprintf(format, args...)
	}
}

// write is a producer. The i-th notification is the same each time; every third is scheduled.
func (x *simulation) write(i int) {
	id := fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i)
	value := strings.Replace(mail, someID, id, 1)
	if i%3 == 0 {
		if _, again := x.sendAt[id]; !again {
			x.sendAt[id] = time.Now().Add(time.Duration(i) * 90 * time.Second)
		}
		value = strings.Replace(value, "{", `{"send_at":"`+x.sendAt[id].Format(time.RFC3339Nano)+`",`, 1)
	}
	x.append(kafka.Message{Topic: "email_topic", Key: []byte(recipient), Value: []byte(value)})
}

// redrive sends a dead letter again.
func (x *simulation) redrive(r *kafka.Record) {
	job, _, err := desk().Redrive(r, time.Now(), time.Now().Add(24*time.Hour))
	if err != nil {
		x.fail("redrive: %v", err)
		return
	}
	x.append(job)
}

// handle calls the worker for e if a runner would call it, and reports whether it did.
func (x *simulation) handle(e *entry) bool {
	waits := !e.waitsUntil.IsZero()
	if e.done || len(e.sending) > 0 || waits && e.waitsUntil.After(time.Now()) || !waits && x.paused {
		return false
	}
	if s, ok := e.Header(kafka.HeaderSource); ok && x.isVoid(s) {
		e.done = true
		return true
	}
	x.current, e.calls = e, nil
	res := x.w.Handle(context.Background(), &kafka.Attempt{Record: e.Record, Carry: e.carry, Played: &kafka.Played{
		Pause: func() { x.paused = true }, Resume: func() { x.paused = false }, Owned: func() bool { return !x.ownershipUnknown },
		Left: func() *kafka.Record { return e.followOn },
	}})
	e.waitsUntil, e.carry = res.Again, res.Carry
	if !res.Again.IsZero() {
		for _, c := range e.calls {
			c.again = true
		}
		return true
	}
	e.sending, e.ended = x.withSource(e, res), func() { res.Ended(res.Outcome) }
	e.done = len(e.sending) == 0
	return true
}

func outcomeOf(e *entry, o *kafka.Outcome) kafka.Message {
	return kafka.Message{Topic: "status_topic", Value: o.Value, Headers: append([]kafka.Header{
		{Key: kafka.HeaderKind, Value: []byte(kafka.KindOutcome)},
		{Key: kafka.HeaderJobID, Value: []byte(o.ID)},
		{Key: "offset", Value: []byte(strconv.FormatInt(e.Offset, 10))},
	}, o.Headers...)}
}

// acknowledge publishes the next record of e's result, and reports whether there was one.
func (x *simulation) acknowledge(e *entry) bool {
	if len(e.sending) == 0 {
		return false
	}
	x.append(e.sending[0])
	e.sending = e.sending[1:]
	e.done = len(e.sending) == 0
	if e.done {
		x.ledger[len(x.ledger)-1].known = x.w
		e.ended()
	}
	return true
}

// runMover calls the mover for e, and reports whether it did. Without commits e is moved again later.
func (x *simulation) runMover(e *entry, commits bool) bool {
	if e.done || e.waitsUntil.After(time.Now()) {
		return false
	}
	res := x.mover.Handle(context.Background(), &kafka.Attempt{Record: e.Record})
	e.waitsUntil = res.Again
	if e.waitsUntil.IsZero() {
		x.append(res.Follow[0])
		e.done = commits
	}
	return true
}

// append appends a record to its topic.
func (x *simulation) append(m kafka.Message) {
	r := &kafka.Record{Topic: m.Topic, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	switch {
	case strings.Contains(m.Topic, ".delay."):
		x.tiers = append(x.tiers, &entry{Record: r})
	case strings.HasSuffix(m.Topic, ".dlq"):
		x.deadLetters = append(x.deadLetters, r)
	case m.Topic == "status_topic":
		o := &ledgerEntry{Record: r, offset: number(r, "offset")}
		if err := json.Unmarshal(m.Value, &o.Event); err != nil {
			x.fail("an invalid event: %v", err)
		}
		x.ledger = append(x.ledger, o)
	default:
		r.Offset = int64(len(x.lane))
		x.lane = append(x.lane, &entry{Record: r})
	}
}
