package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// provider is a fake without a network. Its sender is sound, or has one chosen fault.
type provider struct {
	mu      sync.Mutex
	got     []string
	answer  *notify.Failure
	refused bool
	hang    chan struct{} // not nil: fall silent and close it
	written bool          // when silent: the message was written before
}

func (p *provider) accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = nil
	p.refused = false
	p.hang = nil
	p.written = false
}

func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

type sender struct {
	p      *provider
	log    *zap.Logger
	fault  string
	mu     sync.Mutex
	closed bool
	sent   int
}

var errUnspoken = errors.New("no such word")

func (s *sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	if err := ctx.Err(); err != nil && s.fault != "sends too late" {
		return notify.Receipt{}, err
	}
	s.mu.Lock()
	s.sent++
	closed, sent := s.closed, s.sent
	s.mu.Unlock()
	if closed && s.fault != "sends after close" {
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Transient, Reason: "the gateway is closed"}
	}
	if s.fault == "logs the recipient" {
		s.log.Info("sending", zap.String("to", m.Recipient))
	}
	if err := s.answer(ctx, m); err != nil {
		return notify.Receipt{}, err
	}
	s.p.set(func() {
		if s.fault != "loses" || sent%10 != 0 {
			s.p.got = append(s.p.got, m.Email.Text)
		}
		if s.fault == "repeats" {
			s.p.got = append(s.p.got, m.Email.Text)
		}
	})
	if s.fault == "no receipt" {
		return notify.Receipt{}, nil
	}
	return notify.Receipt{ProviderID: "p1"}, nil
}

func (s *sender) answer(ctx context.Context, m *notify.Message) error {
	s.p.mu.Lock()
	answer := s.p.answer
	refused := s.p.refused
	hang := s.p.hang
	written := s.p.written
	s.p.mu.Unlock()
	switch {
	case refused:
		return s.refusal()
	case hang != nil:
		close(hang)
		if s.fault != "ignores its context" {
			<-ctx.Done()
		} else {
			<-make(chan struct{})
		}
		if written && s.fault != "takes lost for failed" {
			return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the answer was lost", Err: ctx.Err()}
		}
		return ctx.Err()
	case answer == nil:
		return nil
	}
	f := *answer
	if s.fault == "wraps the recipient" {
		f.Err = fmt.Errorf("reply: %w", errors.Join(errUnspoken, fmt.Errorf("to %s", m.Address)))
	}
	if s.fault == "delivers what it rejects" {
		s.p.set(func() { s.p.got = append(s.p.got, m.Email.Text) })
	}
	return fmt.Errorf("send: %w", &f)
}

func (s *sender) refusal() error {
	f := &notify.Failure{Verdict: notify.Unavailable, Reason: "refused", Remedy: "set the password"}
	if s.fault == "no remedy" {
		f.Remedy = ""
	}
	return f
}

func (s *sender) Check(context.Context) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.refused {
		return s.refusal()
	}
	if s.fault == "sends to check" {
		s.p.got = append(s.p.got, Mark(999))
	}
	return nil
}

func (s *sender) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == "leaves a goroutine" && !s.closed {
		go func() { time.Sleep(time.Minute) }()
	}
	s.closed = true
	return nil
}

func suite(fault string) Suite[*provider] {
	fails := func(f notify.Failure) func(*provider) {
		f.Code = "x1"
		f.Reason = "because"
		f.Remedy = "pay"
		return func(p *provider) { p.set(func() { p.answer = &f }) }
	}
	reply := func(v notify.Verdict, gone bool) func(*provider) {
		return fails(notify.Failure{Verdict: v, Gone: gone})
	}
	hang := func(written bool) func(*provider) <-chan struct{} {
		return func(p *provider) <-chan struct{} {
			reached := make(chan struct{})
			p.set(func() { p.hang, p.written = reached, written })
			return reached
		}
	}
	return Suite[*provider]{
		Fake: func(testing.TB) *provider { return &provider{} },
		New: func(_ testing.TB, p *provider, log *zap.Logger) gateway.Sender {
			return &sender{p: p, log: log, fault: fault}
		},
		Messages:  []func(int) *notify.Message{Email},
		Accept:    (*provider).accept,
		Refuse:    func(p *provider) { p.set(func() { p.refused = true }) },
		Delivered: func(p *provider) []string { p.mu.Lock(); defer p.mu.Unlock(); return append([]string(nil), p.got...) },
		Replies: []Case[*provider]{
			{Name: "policy", Reply: reply(notify.Permanent, false), Want: notify.Permanent, WantCode: "x1", WantReason: "beca"},
			{Name: "no such user", Reply: reply(notify.Permanent, true), Want: notify.Permanent, WantGone: true},
			{Name: "busy", Reply: reply(notify.Transient, false), Want: notify.Transient},
			{Name: "too fast", Reply: reply(notify.Throttled, false), Want: notify.Throttled},
			{Name: "not our domain", Reply: fails(notify.Failure{Verdict: notify.Permanent, Next: true}), Want: notify.Permanent, WantNext: true},
			{Name: "too many", Reply: fails(notify.Failure{Verdict: notify.Throttled, Crowded: true}), Want: notify.Throttled, WantFewer: true},
			{Name: "used up", Reply: fails(notify.Failure{Verdict: notify.Unavailable, After: time.Hour}), Want: notify.Unavailable, WantAfter: time.Hour},
			{Name: "unpaid", Reply: reply(notify.Unavailable, false), Want: notify.Unavailable, WantRemedy: "pay"},
		},
		Steps: []Step[*provider]{
			{Name: "before", Hang: hang(false)},
			{Name: "after", Written: true, Hang: hang(true)},
		},
		patience: 2 * time.Second,
		Exempt:   map[Kind]string{Garbled: "no wire", Partial: "no wire", LossBefore: "no wire", LossAfter: "no wire"},
	}
}
