package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// relay is one partition of jobs that several processes own in turn, its ledger, and one tier of the ladder, all of them
// logs in memory. The processes are real runners. A process that loses the partition goes on with what it has in flight, as
// if it had been frozen, and what it publishes lands whenever the test says so.
//
// A job's value is its notification's id. A step that is retried comes back from the tier as another record with that value.
type relay struct {
	t      *testing.T
	seed   uint64
	rand   *rand.Rand
	jobs   []*Record
	ledger []*Record
	tier   []*Record
	moved  map[int64]bool // of the tier, by offset
	stored committed
	at     int64 // the next offset that the owner fetches

	mu      sync.Mutex
	nodes   []*relayNode
	owner   *relayNode
	orphans [][]Message // of processes that were killed: on their way all the same, those of one attempt in order

	calls map[string]int // of the provider, by id and step
	spare map[string]int // how often that may be more than once: a fault struck while it was in flight
	ended map[string]bool
	fault string
	trace []string
}

// relayNode is one process.
type relayNode struct {
	x     *relay
	r     *Runner
	s     *session
	c     *claim
	calls []*call
	sends []*relaySend
	quit  chan struct{}
}

// relaySend is a record on its way.
type relaySend struct {
	m   Message
	ack chan int64
}

func newRelay(t *testing.T, seed uint64) *relay {
	x := &relay{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), moved: map[int64]bool{}, stored: committed{offset: -1},
		calls: map[string]int{}, spare: map[string]int{}, ended: map[string]bool{},
	}
	for range 3 {
		x.nodes = append(x.nodes, x.node())
	}
	return x
}

func (x *relay) node() *relayNode {
	n := &relayNode{x: x, quit: make(chan struct{})}
	cfg := RunnerConfig{
		Group: "g", Topics: []string{"jobs"}, Handler: n, Publisher: n, Log: zap.NewNop(), AttemptTimeout: time.Hour,
		Ledger: &Ledger{
			topic: "ledger", ends: map[int32]*ledgerEnd{}, reads: map[int32]*sharedReads{}, ids: map[string]TopicID{},
		},
		FollowTopics: []string{"tier"}, Concurrency: 4,
	}
	n.r = &Runner{
		cfg: cfg.withDefaults(), log: zap.NewNop(), life: context.Background(),
		flights: map[topicPartition]map[int64]*flight{}, rebuilt: map[topicPartition]int64{},
	}
	return n
}

func (n *relayNode) Identify(r *Record) string { return string(r.Value) + idOf(r) }

// idOf is for records that have lost their value.
func idOf(r *Record) string {
	if r.Value != nil {
		return ""
	}
	id, _ := r.Header("ls-id")
	return id
}

func stepOf(r *Record) string {
	step, ok := r.Header("step")
	if !ok {
		return "0"
	}
	return step
}

func (x *relay) note(format string, args ...any) {
	x.trace = append(x.trace, fmt.Sprintf(format, args...))
}

// which names a process.
func (x *relay) which(n *relayNode) int { return slices.Index(x.nodes, n) }

func (n *relayNode) Handle(_ context.Context, a *Attempt) Result {
	if left := a.Left(); left != nil {
		src, _ := left.Header(HeaderSource)
		n.x.mu.Lock()
		n.x.note("%d adopts %s for %d", n.x.which(n), src, a.Offset)
		n.x.mu.Unlock()
		return Result{Outcome: &Outcome{Headers: []Header{{"adopted", nil}}}}
	}
	x := n.x
	c := &call{a, make(chan Result)}
	x.mu.Lock()
	id := string(a.Value)
	key := id + "/" + stepOf(a.Record)
	x.note("%d (generation %d) calls %s at %d", x.which(n), a.flight.by, key, a.Offset)
	if x.calls[key]++; x.calls[key] > 1+x.spare[key] {
		x.wrong("%s is called for the %dth time, and %d faults have struck it", key, x.calls[key], x.spare[key])
	}
	if x.ended[id] {
		x.wrong("%s is called although %s has ended", key, id)
	}
	n.calls = append(n.calls, c)
	x.mu.Unlock()
	select {
	case res := <-c.answer:
		return res
	case <-n.quit:
		return Result{Again: time.Now().Add(time.Hour)}
	}
}

func (x *relay) wrong(format string, args ...any) {
	if x.fault == "" {
		x.fault = fmt.Sprintf(format, args...)
	}
}

func (n *relayNode) PublishForever(_ context.Context, m Message) (int32, int64, error) {
	s := &relaySend{m, make(chan int64)}
	n.x.mu.Lock()
	n.sends = append(n.sends, s)
	n.x.mu.Unlock()
	select {
	case at := <-s.ack:
		return 0, at, nil
	case <-n.quit:
		return 0, -1, context.Canceled
	}
}

// land is the brokers' taking a record.
func (x *relay) land(m Message) int64 {
	r := &Record{Topic: m.Topic, Timestamp: time.Now(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	log := &x.ledger
	switch m.Topic {
	case "tier":
		log = &x.tier
	case "jobs":
		log = &x.jobs
	}
	r.Offset = int64(len(*log))
	*log = append(*log, r)
	src, _ := r.Header(HeaderSource)
	of, _ := r.Header(HeaderJobOffset)
	x.note("%s/%d: %s/%s source %s of %s", m.Topic, r.Offset, m.Value, stepOf(r), src, of)
	return r.Offset
}

func (x *relay) settle() {
	for {
		synctest.Wait()
		if x.owner == nil {
			break
		}
		select {
		case <-x.owner.c.kick:
			x.owner.r.mu.Lock()
			x.owner.c.paused = x.owner.c.wantPause()
			x.owner.r.mu.Unlock()
			continue
		default:
		}
		break
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	require.Empty(x.t, x.fault, "seed %d:\n%s", x.seed, strings.Join(x.trace, "\n"))
}

func (x *relay) n(most int) int { return x.rand.IntN(most + 1) }

// lose takes the partition from its owner, which does not know, or drains it in order.
func (x *relay) lose() {
	n := x.owner
	if n == nil {
		return
	}
	n.r.mu.Lock()
	n.s.over, n.c.draining = true, true
	idle := n.c.running == 0
	n.r.mu.Unlock()
	if idle && x.n(2) > 0 {
		x.commit()
	}
	for _, of := range n.r.flights {
		for _, f := range of {
			x.spare[string(f.rec.Value)+"/"+stepOf(f.rec)]++
		}
	}
	n.r.close(n.c)
	n.r.mu.Lock()
	n.r.session = nil
	n.r.mu.Unlock()
	x.owner = nil
}

// kill ends a process. What it was publishing is on its way, or lost.
func (x *relay) kill(i int) {
	n := x.nodes[i]
	x.note("%d is killed", i)
	if n == x.owner {
		x.lose()
	}
	for _, s := range n.sends {
		switch {
		case x.n(2) == 0: // it is lost
		case s.m.Topic == "tier" && x.n(1) > 0: // its outcome was behind it
			x.orphans = append(x.orphans, []Message{s.m, x.outcomeBehind(s.m)})
		default:
			x.orphans = append(x.orphans, []Message{s.m})
		}
	}
	close(n.quit)
	synctest.Wait()
	n.r.hands.dismiss()
	x.nodes[i] = x.node()
}

// outcomeBehind is the outcome that a follow-on's owner publishes next.
func (x *relay) outcomeBehind(m Message) Message {
	src, _ := sourceOf(&Record{Headers: m.Headers})
	e := entry{
		kind: KindOutcome, group: "g", job: topicPartition{"jobs", 0}, jobOffset: src.offset, topicID: src.topic, id: string(m.Value),
	}
	hs := e.headers()
	if src.by > 0 {
		hs = append(hs, Header{HeaderGeneration, strconv.AppendUint(nil, uint64(src.by), 10)})
	}
	return Message{Topic: "ledger", Value: []byte("{}"), Headers: hs}
}

// takeOver gives the partition to a process.
func (x *relay) takeOver(n *relayNode) {
	if x.owner != nil {
		x.lose()
	}
	x.owner = n
	n.s = &session{r: n.r, kick: make(chan struct{}, 1), stop: make(chan struct{})}
	n.c = &claim{
		r: n.r, session: n.s, paused: true, topicPartition: topicPartition{"jobs", 0}, progress: newProgress(0),
		items: map[int64]*item{}, lines: lines{}, kick: make(chan struct{}, 1), claimed: n.r.life, unclaim: func() {},
	}
	n.r.mu.Lock()
	n.r.session = n.s
	n.s.claims = append(n.s.claims, n.c)
	n.r.mu.Unlock()

	now := logs{newest: int64(len(x.jobs)), ledgerCount: 1, job: TopicID{7}}
	was := begin(x.stored, now)
	end := int64(len(x.ledger))
	n.r.cfg.Ledger.raise(0, end-1)
	var entries []entry
	for _, r := range x.ledger[was.from(end, 0, len(x.jobs) == 0):] {
		if e, ok := readEntry(r); ok && !was.fences.voidOutcome(e.by, e.jobOffset) {
			entries = append(entries, e)
		}
	}
	n.c.restored(was, now, 0, learnt(was, entries))
	var found []*Record
	for _, r := range x.tier {
		if !was.since.IsZero() && !r.Timestamp.Before(was.since) {
			found = append(found, r)
		}
	}
	n.r.mu.Lock()
	n.c.adopt(was, found)
	n.r.mu.Unlock()
	x.at = max(0, was.low)
	x.note("%d takes over: generation %d, low %d, fences %v, follow-ons %d", x.which(n), was.by, was.low, n.c.fences, len(n.c.follows))
	x.commit()
	n.c.begin()
}

func (x *relay) commit() {
	n := x.owner
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	d := n.c.draft()
	n.c.last = d
	x.stored = committed{topicPartition{"jobs", 0}, d.offset, d.text}
	n.s.leased, n.s.wanted = time.Now(), time.Time{}
	n.r.dispatch()
}

func (x *relay) fetch() {
	for range 1 + x.n(2) {
		if x.owner == nil || x.at >= int64(len(x.jobs)) {
			return
		}
		x.owner.c.arrived([]*Record{x.jobs[x.at]}, nil, x.jobs[x.at].Offset+1)
		x.at++
	}
}

// reply answers a call of any process. The handler of a process that has lost the partition puts jobs on the ladder, too:
// it was frozen after it had asked whether the partition is its own.
func (x *relay) reply(n *relayNode) {
	x.mu.Lock()
	calls := slices.Clone(n.calls)
	x.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	c := calls[x.n(len(calls)-1)]
	x.mu.Lock()
	n.calls = slices.DeleteFunc(n.calls, func(o *call) bool { return o == c })
	x.mu.Unlock()
	x.note("%d answers %d", x.which(n), c.a.Offset)
	x.answer(c, stepOf(c.a.Record) < "6" && x.n(2) > 0)
}

// answer is what becomes of a call: the job is put off, or has ended.
func (x *relay) answer(c *call, retried bool) {
	step, _ := strconv.Atoi(stepOf(c.a.Record))
	if retried {
		c.answer <- Result{Outcome: &Outcome{}, Follow: []Message{{Topic: "tier", Value: c.a.Value, Headers: []Header{
			{"step", []byte(strconv.Itoa(step + 1))}, {"ls-id", c.a.Value},
		}}}}
		return
	}
	c.answer <- Result{Outcome: &Outcome{Headers: []Header{{"final", fmt.Appendf(nil, "%p", c.a.flight.claim)}}}}
}

// acknowledge lets a record of a process land.
func (x *relay) acknowledge(n *relayNode) {
	x.mu.Lock()
	if len(n.sends) == 0 {
		x.mu.Unlock()
		return
	}
	i := x.n(len(n.sends) - 1)
	s := n.sends[i]
	n.sends = slices.Delete(n.sends, i, i+1)
	at := x.land(s.m)
	if by, _ := (&Record{Headers: s.m.Headers}).Header("final"); n == x.owner && by == fmt.Sprintf("%p", n.c) {
		id, _ := (&Record{Headers: s.m.Headers}).Header("ls-id")
		x.ended[id] = true
	}
	x.mu.Unlock()
	s.ack <- at
}

// move is the mover: a record of the tier goes back to the lane as it is.
func (x *relay) move() {
	for _, r := range x.tier {
		if x.moved[r.Offset] || x.n(1) > 0 {
			continue
		}
		x.moved[r.Offset] = true
		x.land(Message{Topic: "jobs", Value: r.Value, Headers: r.Headers})
		return
	}
}

func (x *relay) step() {
	any := x.nodes[x.n(len(x.nodes)-1)]
	switch x.n(19) {
	case 0:
		if len(x.ended) < 1000 {
			x.land(Message{Topic: "jobs", Value: fmt.Appendf(nil, "job%d", len(x.jobs))})
		}
	case 1, 2, 3:
		x.fetch()
	case 4, 5, 6, 7:
		x.reply(any)
	case 8, 9, 10, 11:
		x.acknowledge(any)
	case 12:
		if x.owner != nil {
			x.commit()
		}
	case 13, 14:
		x.move()
	case 15:
		time.Sleep(time.Duration(x.n(2000)) * time.Millisecond)
	case 16:
		if len(x.orphans) > 0 {
			i := x.n(len(x.orphans) - 1)
			x.land(x.orphans[i][0])
			if x.orphans[i] = x.orphans[i][1:]; len(x.orphans[i]) == 0 {
				x.orphans = slices.Delete(x.orphans, i, i+1)
			}
		}
	case 17:
		if x.owner == nil || x.n(3) == 0 {
			x.takeOver(any)
		}
	case 18:
		if x.n(3) == 0 {
			x.kill(x.n(len(x.nodes) - 1))
		}
	case 19:
		if x.n(3) == 0 {
			x.lose()
		}
	}
	x.settle()
}

// finish lets everything end well.
func (x *relay) finish() {
	for _, m := range slices.Concat(x.orphans...) {
		x.land(m)
	}
	x.orphans = nil
	for i, n := range x.nodes { // whoever still waits gets its records through
		for len(n.sends) > 0 {
			x.acknowledge(n)
			x.settle()
		}
		if n != x.owner {
			x.kill(i)
		}
	}
	if x.owner == nil {
		x.takeOver(x.nodes[0])
	}
	for range 200 * (len(x.jobs) + 10) {
		x.commit()
		x.fetch()
		x.settle()
		x.reply(x.owner)
		x.settle()
		x.acknowledge(x.owner)
		x.settle()
		x.move()
		if x.owner.c.low == int64(len(x.jobs)) && len(x.moved) == len(x.tier) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Fail(x.t, "it does not come to an end")
}

// Whatever processes freeze, wake up and are killed, and in whatever order their records land: no step is called more often
// than faults have struck it, nothing goes on that has ended, and nothing is lost.
func TestFollowOn_EachFaultRepeatsAnAttemptOnce(t *testing.T) {
	steps := 0
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) {
			x := newRelay(t, seed)
			defer x.close()
			for range 200 + x.n(600) {
				x.step()
			}
			x.finish()
			for _, r := range x.jobs {
				if stepOf(r) == "0" {
					require.True(t, x.ended[string(r.Value)] || x.told(string(r.Value)), "%s is lost; seed %d:\n%s", r.Value, seed, strings.Join(x.trace, "\n"))
				}
			}
			for k := range x.calls {
				if !strings.HasSuffix(k, "/0") {
					steps++
				}
			}
		})
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
	require.Greater(t, steps, 400, "the ladder was used")
}

// told reports whether some process has told the end of a notification.
func (x *relay) told(id string) bool {
	return slices.ContainsFunc(x.ledger, func(r *Record) bool {
		of, _ := r.Header("ls-id")
		_, final := r.Header("final")
		return final && of == id
	})
}
