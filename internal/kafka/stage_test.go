package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// stage is a runner without a Kafka: the test plays the job log, the group, the commits and the ledger, and says what
// becomes of every call of the handler and of every record that is published.
type stage struct {
	t      require.TestingT
	cfg    RunnerConfig
	r      *Runner
	s      *session
	c      *claim
	log    []*Record // the job log; a nil is an offset that holds no record
	at     int64     // the next offset that Kafka would fetch
	stored committed // what is committed
	tp     topicPartition

	mu      sync.Mutex
	calls   []*call     // of the handler, running
	sends   []*dispatch // records on their way
	ledger  []entry
	begun   map[string][]int64 // key → offsets, in the order in which they were first called
	done    map[int64]bool     // the outcome is on the ledger
	trouble []string
	quit    chan struct{} // lets what waits for the test end
}

// call is one call of the handler that waits for the test to answer it.
type call struct {
	a      *Attempt
	answer chan Result
}

// dispatch is one outcome on its way to the ledger.
type dispatch struct {
	m   Message
	ack chan int64
	on  *entry // once the broker has it
}

func newStage(t require.TestingT, more func(*RunnerConfig)) *stage {
	st := &stage{
		t: t, tp: topicPartition{"jobs", 0}, stored: committed{offset: -1},
		begun: map[string][]int64{}, done: map[int64]bool{},
	}
	st.cfg = RunnerConfig{
		Group: "g", Topics: []string{"jobs"}, Handler: st, Publisher: st, Log: zap.NewNop(), AttemptTimeout: time.Hour,
	}
	if more != nil {
		more(&st.cfg)
	}
	st.boot()
	return st
}

// boot begins a process.
func (st *stage) boot() {
	if st.r != nil {
		st.r.hands.dismiss()
	}
	st.cfg.Ledger = &Ledger{topic: "ledger", ends: map[int32]*ledgerEnd{}, reads: map[int32]*sharedReads{}}
	st.r = &Runner{
		cfg: st.cfg.withDefaults(), log: zap.NewNop(), life: context.Background(),
		flights: map[topicPartition]map[int64]*flight{}, rebuilt: map[topicPartition]int64{}, known: map[string]TopicID{},
	}
	st.calls, st.sends, st.quit = nil, nil, make(chan struct{})
}

// kill ends the process. lands says of each record on its way whether the broker gets it all the same.
func (st *stage) kill(lands func() bool) {
	st.leave()
	for _, d := range st.sends {
		if lands() {
			st.append(d)
		}
	}
	close(st.quit)
	synctest.Wait()
	st.boot()
}

// append puts a record on the ledger.
func (st *stage) append(d *dispatch) entry {
	if d.on != nil {
		return *d.on
	}
	e, _ := readEntry(&Record{Offset: int64(len(st.ledger)), Headers: d.m.Headers})
	st.ledger = append(st.ledger, e)
	st.done[e.jobOffset] = true
	d.on = &e
	return e
}

func (st *stage) Identify(r *Record) string { return string(r.Value) }

func (st *stage) Handle(_ context.Context, a *Attempt) Result {
	c := &call{a, make(chan Result)}
	st.mu.Lock()
	key := string(a.Key)
	for _, other := range st.calls {
		if key != "" && !st.cfg.Unordered && string(other.a.Key) == key && other.a.Offset <= a.Offset { // a later one: a is a repetition
			st.trouble = append(st.trouble, fmt.Sprintf("%d began while %d of the same key was running", a.Offset, other.a.Offset))
		}
	}
	if st.done[a.Offset] {
		st.trouble = append(st.trouble, fmt.Sprintf("%d was called again although its outcome is on the ledger", a.Offset))
	}
	if !slices.Contains(st.begun[key], a.Offset) {
		st.begun[key] = append(st.begun[key], a.Offset)
	}
	st.calls = append(st.calls, c)
	quit := st.quit
	st.mu.Unlock()
	select {
	case res := <-c.answer:
		return res
	case <-quit:
		return Result{Again: time.Now().Add(time.Hour)}
	}
}

func (st *stage) PublishForever(_ context.Context, m Message) (int32, int64, error) {
	d := &dispatch{m: m, ack: make(chan int64)}
	st.mu.Lock()
	st.sends = append(st.sends, d)
	quit := st.quit
	st.mu.Unlock()
	select {
	case offset := <-d.ack:
		return m.Partition, offset, nil
	case <-quit:
		return 0, -1, context.Canceled
	}
}

// play runs f with a stage, in a time of its own. What f leaves running ends with it.
func play(t *testing.T, more func(*RunnerConfig), f func(*stage)) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, more)
		defer func() {
			st.leave()
			close(st.quit)
			st.r.hands.dismiss()
		}()
		f(st)
	})
}

// add appends a job to the log.
func (st *stage) add(key string) {
	o := int64(len(st.log))
	st.log = append(st.log, &Record{Topic: st.tp.topic, Offset: o, Key: []byte(key), Value: fmt.Appendf(nil, "job%d", o)})
}

// join begins a session with a claim that has not been taken over.
func (st *stage) join() {
	st.s = &session{r: st.r, kick: make(chan struct{}, 1), stop: make(chan struct{})}
	st.c = &claim{
		r: st.r, session: st.s, paused: true, topicPartition: st.tp, progress: newProgress(0),
		items: map[int64]*item{}, lines: lines{}, kick: make(chan struct{}, 1), claimed: st.r.life, unclaim: func() {},
	}
	st.at = max(0, st.stored.offset)
	st.r.mu.Lock()
	defer st.r.mu.Unlock()
	st.r.session = st.s
	st.s.claims = append(st.s.claims, st.c)
}

// read is the first part of a take-over: what is committed, and what the ledger says.
func (st *stage) read() (was start, entries []entry) {
	end := int64(len(st.ledger))
	was = begin(st.stored, logs{newest: int64(len(st.log)), ledgerCount: 1})
	from := was.from(end, 0, len(st.log) == 0)
	st.r.cfg.Ledger.raise(0, end-1)
	return was, slices.Clone(st.ledger[from:end])
}

// takeOver is all of it.
func (st *stage) takeOver() {
	was, entries := st.read()
	st.c.restored(was, logs{}, 0, learnt(was, entries))
	st.commit()
	st.c.begin()
	st.settle()
}

func (st *stage) commit() {
	st.r.mu.Lock()
	defer st.r.mu.Unlock()
	d := st.c.draft()
	st.c.last = d
	st.stored = committed{st.tp, d.offset, d.text}
	st.s.leased, st.s.wanted = time.Now(), time.Time{}
	st.r.dispatch()
}

// fetch hands the next n offsets to the claim, as its owner does, whether it is paused or not.
func (st *stage) fetch(n int) {
	for ; n > 0 && st.at < int64(len(st.log)); n-- {
		if rec := st.log[st.at]; rec != nil {
			st.c.arrived([]*Record{rec}, nil, rec.Offset+1)
		}
		st.at++
	}
	st.settle()
}

// settle lets every goroutine go as far as it can, and plays the owner, who acts on what it was woken for.
func (st *stage) settle() {
	synctest.Wait()
	for st.c != nil {
		select {
		case <-st.c.kick:
			st.r.mu.Lock()
			st.c.paused = st.c.wantPause()
			st.r.mu.Unlock()
			continue
		default:
		}
		break
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	require.Empty(st.t, st.trouble)
}

// leave ends the session without waiting for what runs.
func (st *stage) leave() {
	if st.r.session == nil {
		return
	}
	st.r.mu.Lock()
	st.s.over, st.c.draining = true, true
	st.r.mu.Unlock()
	st.r.close(st.c)
	st.r.mu.Lock()
	st.r.session = nil
	st.r.mu.Unlock()
}

// waiting gives the calls and the records that wait for the test.
func (st *stage) waiting() ([]*call, []*dispatch) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.calls), slices.Clone(st.sends)
}

// running gives the call at offset o, nil when there is none.
func (st *stage) running(o int64) *call {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, c := range st.calls {
		if c.a.Offset == o {
			return c
		}
	}
	return nil
}

func (st *stage) answer(c *call, res Result) {
	require.NotNil(st.t, c)
	st.mu.Lock()
	st.calls = slices.DeleteFunc(st.calls, func(x *call) bool { return x == c })
	st.mu.Unlock()
	c.answer <- res
	st.settle()
}

// ends answers the call at o with an outcome and acknowledges that.
func (st *stage) ends(o int64) {
	st.answer(st.running(o), Result{Outcome: &Outcome{}})
	st.acknowledge(0, true)
}

// acknowledge lets the i-th record on its way arrive.
func (st *stage) acknowledge(i int, known bool) {
	st.mu.Lock()
	d := st.sends[i]
	st.sends = slices.Delete(st.sends, i, i+1)
	e := st.append(d)
	st.mu.Unlock()
	if !known {
		e.at = -1
	}
	d.ack <- e.at
	st.settle()
}

// learnt is what a take-over knows before it looks at what is in flight.
func learnt(was start, entries []entry) *progress {
	p := was.progress()
	for _, e := range entries {
		p.read(e)
	}
	return p
}
