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

// world is all that a job can be on, as logs in memory: one partition of a lane, the tiers of the delay ladder, dead
// letters, the ledger. What works on them is the real worker, mover and desk; the world plays their runners, which publish
// one record after the other, are killed in the middle of it, and leave behind what lands later or never.
type world struct {
	w        *Worker
	mover    *dispatcher.Mover
	told     *told
	lane     []*entry
	tiers    []*entry // of all delay topics
	letters  []*kafka.Record
	ledger   []*ended
	leftover [][]kafka.Message // of workers that are gone: on its way to the brokers
	by       int               // the generation of the lane's owner
	undone   map[int64][]int   // by the offset of a job: the generations that found it undone; what older ones leave for it is void
	remember int               // ids; 0 = as many as usual
	written  int               // notifications so far, where each is written once
	held     bool              // the lane is paused by its handler
	doubt    bool              // the worker does not know whether the lane is its own

	says   []error // by the gateway, call by call; then it accepts
	at     *entry  // that is handled
	calls  []*call
	sendAt map[string]time.Time
	fault  string // the first
}

// entry is a record of a log.
type entry struct {
	*kafka.Record
	done    bool
	waits   time.Time // it is called again then; zero: it does not wait
	carry   any
	calls   []*call         // of the attempt that has just ended
	sending []kafka.Message // what its end has still to publish, the outcome last
	ended   func()          // called once that is acknowledged
	left    *kafka.Record   // that a take-over has found: by an earlier attempt, whose outcome is missing
}

// ended is an outcome on the ledger.
type ended struct {
	*kafka.Record
	notify.Event
	offset int     // of the job
	known  *Worker // to whom it is known, who wrote it or read it at its take-over
}

// call is a call of the gateway.
type call struct {
	id        string
	run, step int
	again     bool // it said nothing about the job, which is called again in its place
	lost      bool // its worker was killed before its outcome was acknowledged
}

func newWorld(says []error) *world {
	x := &world{told: &told{cancelled: map[string]bool{}}, says: says, sendAt: map[string]time.Time{}, undone: map[int64][]int{}}
	x.mover = &dispatcher.Mover{Topics: desk().Topics, Channel: notify.ChannelEmail, Cancelled: x.told.Cancelled}
	x.boot()
	return x
}

// boot begins a process.
func (x *world) boot() {
	x.w = worker(sendFunc(x.send), func(c *Config) {
		c.Control = x.told
		c.Memory = NewMemory(x.remember)
		c.Retries = Retries{Attempts: 4, First: 5 * time.Second, Longest: 10 * time.Minute}
	})
	x.takeOver()
}

// takeOver reads the ledger, and lets come again what nobody has ended.
func (x *world) takeOver() {
	x.by++
	for _, o := range x.ledger {
		if by, signed := o.Header(kafka.HeaderGeneration); signed && x.isVoid(fmt.Sprintf("%d/%s", o.offset, by)) {
			continue
		}
		x.w.Learn("email_topic", 0, o.Record)
		o.known, x.lane[o.offset].done = x.w, true
	}
	x.w.TookOver("email_topic", 0, false)
	x.held, x.doubt = false, false
	for _, e := range x.lane {
		e.waits, e.carry = time.Time{}, nil
		if e.done || len(e.sending) > 0 {
			continue
		}
		if e.left = x.leftOf(e); e.left == nil {
			x.undone[e.Offset] = append(x.undone[e.Offset], x.by)
		}
	}
}

// leftOf gives what an earlier attempt at e has left behind on the ladder or among the dead letters; nil for nothing.
func (x *world) leftOf(e *entry) *kafka.Record {
	all := slices.Clone(x.letters)
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

// isVoid reports whether what has that source, "<offset>/<generation>", comes from an owner that had lost the lane.
func (x *world) isVoid(source string) bool {
	var offset int64
	var by int
	_, _ = fmt.Sscanf(source, "%d/%d", &offset, &by)
	return slices.ContainsFunc(x.undone[offset], func(g int) bool { return g > by })
}

// signed gives what e leaves behind its source.
func (x *world) signed(e *entry, res kafka.Result) []kafka.Message {
	by := strconv.Itoa(x.by)
	if e.left != nil {
		s, _ := e.left.Header(kafka.HeaderSource)
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
	if len(ms) > 0 || e.left != nil {
		o.Headers = append(o.Headers, kafka.Header{Key: kafka.HeaderGeneration, Value: []byte(by)})
	}
	return append(ms, o)
}

// kill ends the process. What it was publishing is on its way, or lost.
func (x *world) kill() {
	for _, e := range x.lane {
		if len(e.sending) == 0 {
			continue
		}
		x.leftover = append(x.leftover, e.sending)
		e.sending = nil
		for _, c := range e.calls {
			c.lost = true
		}
	}
	x.boot()
}

// send is the gateway.
func (x *world) send(context.Context, *notify.Message) (notify.Receipt, error) {
	c := &call{x.w.Identify(x.at.Record), number(x.at.Record, "ls-run"), number(x.at.Record, "ls-step"), false, false}
	x.calls, x.at.calls = append(x.calls, c), append(x.at.calls, c)
	x.judge(c)
	if len(x.says) == 0 {
		return notify.Receipt{}, nil
	}
	said := x.says[0]
	x.says = x.says[1:]
	return notify.Receipt{}, said
}

// judge says what is wrong with a call as it comes.
func (x *world) judge(c *call) {
	for _, o := range x.ledger {
		if x.remember == 0 && o.known == x.w && o.Final && o.NotificationID == c.id && o.Run >= c.run {
			x.wrong("%+v is sent although run %d is over", c, o.Run)
		}
	}
	switch {
	case x.told.cancelled[c.id]:
		x.wrong("%+v is sent although it is cancelled", c)
	case time.Now().Before(x.sendAt[c.id]), c.step > 0 && time.Now().Before(dispatcher.NotBefore(x.at.Record)):
		x.wrong("%+v is sent before its time", c)
	}
}

func (x *world) wrong(format string, args ...any) {
	if x.fault == "" {
		x.fault = fmt.Sprintf(format, args...)
	}
}

// write is a producer's. The i-th notification is the same each time; every third is scheduled.
func (x *world) write(i int) {
	id := fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", i)
	value := strings.Replace(mail, someID, id, 1)
	if i%3 == 0 {
		if _, again := x.sendAt[id]; !again {
			x.sendAt[id] = time.Now().Add(time.Duration(i) * 90 * time.Second)
		}
		value = strings.Replace(value, "{", `{"send_at":"`+x.sendAt[id].Format(time.RFC3339Nano)+`",`, 1)
	}
	x.land(kafka.Message{Topic: "email_topic", Key: []byte(recipient), Value: []byte(value)})
}

// redrive sends a dead letter again.
func (x *world) redrive(r *kafka.Record) {
	job, _, err := desk().Redrive(r, time.Now(), time.Now().Add(24*time.Hour))
	if err != nil {
		x.wrong("redrive: %v", err)
		return
	}
	x.land(job)
}

// start calls the worker for e, if a runner would.
func (x *world) start(e *entry) bool {
	waits := !e.waits.IsZero()
	if e.done || len(e.sending) > 0 || waits && e.waits.After(time.Now()) || !waits && x.held {
		return false
	}
	if s, ok := e.Header(kafka.HeaderSource); ok && x.isVoid(s) {
		e.done = true
		return true
	}
	x.at, e.calls = e, nil
	res := x.w.Handle(context.Background(), &kafka.Attempt{Record: e.Record, Carry: e.carry, Played: &kafka.Played{
		Pause: func() { x.held = true }, Resume: func() { x.held = false }, Owned: func() bool { return !x.doubt },
		Left: func() *kafka.Record { return e.left },
	}})
	if e.waits, e.carry = res.Again, res.Carry; !res.Again.IsZero() {
		for _, c := range e.calls {
			c.again = true
		}
		return true
	}
	e.sending, e.ended = x.signed(e, res), func() { res.Ended(res.Outcome) }
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

// acknowledge lets the next record that e has to publish arrive.
func (x *world) acknowledge(e *entry) bool {
	if len(e.sending) == 0 {
		return false
	}
	x.land(e.sending[0])
	e.sending = e.sending[1:]
	if e.done = len(e.sending) == 0; e.done {
		x.ledger[len(x.ledger)-1].known = x.w
		e.ended()
	}
	return true
}

// move calls the mover for e. Without commits it comes again although it has moved.
func (x *world) move(e *entry, commits bool) bool {
	if e.done || e.waits.After(time.Now()) {
		return false
	}
	res := x.mover.Handle(context.Background(), &kafka.Attempt{Record: e.Record})
	if e.waits = res.Again; e.waits.IsZero() {
		x.land(res.Follow[0])
		e.done = commits
	}
	return true
}

// land is the brokers' taking a record.
func (x *world) land(m kafka.Message) {
	r := &kafka.Record{Topic: m.Topic, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	switch {
	case strings.Contains(m.Topic, ".delay."):
		x.tiers = append(x.tiers, &entry{Record: r})
	case strings.HasSuffix(m.Topic, ".dlq"):
		x.letters = append(x.letters, r)
	case m.Topic == "status_topic":
		o := &ended{Record: r, offset: number(r, "offset")}
		if err := json.Unmarshal(m.Value, &o.Event); err != nil {
			x.wrong("an event that is none: %v", err)
		}
		x.ledger = append(x.ledger, o)
	default:
		r.Offset = int64(len(x.lane))
		x.lane = append(x.lane, &entry{Record: r})
	}
}
