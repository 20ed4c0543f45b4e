package cmd

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/control"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
	"github.com/laudspeaker/laudspeaker/worker"
)

func quietly() *zap.Logger { return zap.NewNop() }

func number32(r *kafka.Record, header string) int {
	s, _ := r.Header(header)
	n, _ := strconv.Atoi(s) // absent is zero
	return n
}

// stagedWorker is one worker process.
type stagedWorker struct {
	*control.State
	s    *stage
	n    int // counts the processes, from 1
	w    *worker.Worker
	ctx  context.Context
	kill context.CancelFunc

	mu   sync.Mutex
	asOf time.Time
}

func (p *stagedWorker) AsOf() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asOf
}

func (p *stagedWorker) readUpTo(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asOf = at
}

// boot starts a process: it reads the control topic and the ledger, and finds what the process before has left.
func (s *stage) boot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &stagedWorker{State: control.New(), s: s, n: 1}
	if s.proc != nil {
		p.n = s.proc.n + 1
	}
	p.ctx, p.kill = context.WithCancel(s.ends)
	p.w = worker.New(worker.Config{
		Channel: notify.ChannelSMS, Lane: notify.LaneUrgent, Records: s.desk, Control: p, Log: quietly(),
		Rules: validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}},
		Route: &worker.Route{Outlets: []*worker.Outlet{{
			Name: "texts", Sender: stagedCalls{p}, Breaker: gateway.NewBreaker(gateway.BreakerConfig{}),
			Limiter: limiter.New(limiter.Config{Concurrency: 1}), // so that calls wait for each other
		}}},
	})
	for i, e := range s.ledger {
		if s.job[i] == nil {
			continue
		}
		value, _ := e.Encode()
		p.w.OnLedger(s.lane[0].Topic, 0, &kafka.Record{Value: value, Headers: []kafka.Header{
			{Key: kafka.HeaderKind, Value: []byte(kafka.KindOutcome)},
			{Key: kafka.HeaderJobID, Value: []byte(e.NotificationID)},
			{Key: notify.HeaderRun, Value: []byte(strconv.Itoa(e.Run))},
			{Key: notify.HeaderStep, Value: []byte(strconv.Itoa(e.Step))},
		}})
		s.job[i].done = true
	}
	for _, e := range s.lane {
		e.begun = !e.done && p.n > 1
	}
	if len(s.lane) > 0 {
		p.w.OnTakeOver(s.lane[0].Topic, 0, false)
	}
	for _, rec := range s.control {
		p.Apply(rec.Key, rec.Value, rec.Timestamp)
	}
	p.asOf = time.Now()
	s.proc = p
	from := len(s.control)
	s.all.Go(func() { s.hears(p.ctx, s.random(fmt.Sprint("tail ", p.n)), from, applyTo(p.State), p.readUpTo) })
	s.all.Go(p.run)
}

// run takes the records of the lane into hand, those of one notification one after the other.
func (p *stagedWorker) run() {
	for p.ctx.Err() == nil {
		for _, e := range p.ready() {
			p.s.all.Go(func() { p.deliver(e) })
		}
		time.Sleep(p.s.busy(10 * time.Millisecond))
	}
}

func (p *stagedWorker) ready() (ready []*staged) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	busy := map[string]bool{}
	for _, e := range p.s.lane {
		if !e.done && !busy[e.id] && e.by != p.n {
			e.by = p.n
			ready = append(ready, e)
		}
		busy[e.id] = busy[e.id] || !e.done
	}
	return ready
}

// deliver plays the runner for one record until it is done or the process ends.
func (p *stagedWorker) deliver(e *staged) {
	r := p.s.random(fmt.Sprintf("runner %d %d", p.n, e.Offset))
	p.s.mu.Lock()
	begun, left := e.begun, e.left
	p.s.mu.Unlock()
	a := &kafka.Attempt{Record: e.Record, Played: &kafka.Played{
		Timeout: 8 * time.Second, Claimed: p.ctx,
		MayStart: func() bool { return p.ctx.Err() == nil }, Owned: func() bool { return p.ctx.Err() == nil },
		MayRepeat: func() bool { return begun }, Left: func() *kafka.Record { return left },
	}}
	if chance(r, 40) { // other records come first
		passes(r, 4*time.Second)
	}
	for p.ctx.Err() == nil {
		res := p.w.Handle(context.WithoutCancel(p.ctx), a)
		if !res.Again.IsZero() {
			a.Carry = res.Carry
			pause := time.NewTimer(time.Until(res.Again))
			select {
			case <-p.ctx.Done():
				pause.Stop()
			case <-pause.C:
			}
			continue
		}
		if p.ctx.Err() != nil {
			return // what it knows is lost
		}
		messages := res.Follow
		if res.Outcome != nil {
			messages = append(messages, kafka.Message{Topic: p.s.desk.Topics.Status(), Key: res.Outcome.Key, Value: res.Outcome.Value})
		}
		for _, m := range messages {
			if p.s.publish(p.ctx, r, func() { p.s.land(e, m) }) != nil {
				return
			}
		}
		p.s.mu.Lock()
		e.done = true
		p.s.mu.Unlock()
		if res.Ended != nil {
			res.Ended(res.Outcome)
		}
		return
	}
}

// kills ends the worker process at any moment, and starts the next one once the cluster has noticed.
func (s *stage) kills() {
	r := s.random("kills")
	for time.Now().Before(s.until) {
		passes(r, 15*time.Second)
		s.mu.Lock()
		p := s.proc
		s.mu.Unlock()
		p.kill()
		time.Sleep(100 * time.Millisecond) // what was in its sockets has landed, or never will
		passes(r, 4*time.Second)
		s.boot()
	}
}
