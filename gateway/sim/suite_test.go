package sim

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake sees the messages that the simulated provider accepts, and can make it silent.
type fake struct {
	mu      sync.Mutex
	got     []string
	reached chan struct{} // not nil: fall silent
}

func (f *fake) onAccepted(m *notify.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case m.Email != nil:
		f.got = append(f.got, m.Email.Text)
	case m.SMS != nil:
		f.got = append(f.got, m.SMS.Body)
	default:
		f.got = append(f.got, m.Push.Body)
	}
}

func (f *fake) wait(ctx context.Context, d time.Duration) error {
	f.mu.Lock()
	reached := f.reached
	f.mu.Unlock()
	if reached == nil {
		return sleep(ctx, d)
	}
	close(reached)
	<-ctx.Done()
	return ctx.Err()
}

func (f *fake) hang(reached chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reached = reached
}

func (f *fake) delivered() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.got...)
}

func newSender(t testing.TB, cfg config.Sim) *Sender {
	s, err := New("drill", cfg)
	require.NoError(t, err)
	return s
}

// to returns messages to the recipient of a keyword, on every channel.
func to(word, digit string) func(*notify.Message) {
	return func(m *notify.Message) {
		switch {
		case m.Email != nil:
			m.Address = word + "+gw@example.com"
		case m.SMS != nil:
			m.Address = "+1500555" + digit + "007"
		default:
			m.Address = word + ":gwtoken"
		}
		m.Recipient = m.Address
	}
}

func TestConformance(t *testing.T) {
	const noCredentials, noAnswer = "nothing checks credentials", "no recipient plays it"
	gatewaytest.Run(t, gatewaytest.Suite[*fake]{
		Fake: func(testing.TB) *fake { return &fake{} },
		New: func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender {
			s := newSender(t, config.Sim{Latency: time.Millisecond, Timeout: 30 * time.Second})
			s.onAccepted, s.wait = f.onAccepted, f.wait
			return s
		},
		Messages:  []func(int) *notify.Message{gatewaytest.Email, gatewaytest.SMS, gatewaytest.Push},
		Accept:    func(f *fake) { f.hang(nil) },
		Delivered: (*fake).delivered,
		Simulated: true,
		Replies: []gatewaytest.Case[*fake]{
			{Name: "soft-2x", Message: to("soft-2x", "1"), Want: notify.Transient, WantCode: "sim soft"},
			{Name: "hard", Message: to("hard", "2"), Want: notify.Permanent, WantCode: "sim hard"},
			{Name: "throttle-3s", Message: to("throttle-3s", "3"), Want: notify.Throttled, WantAfter: 3 * time.Second},
			{Name: "drop-after-write", Message: to("drop-after-write", "5"), Want: notify.Ambiguous},
		},
		Steps: []gatewaytest.Step[*fake]{{
			Name: "latency", Written: true,
			Hang: func(f *fake) <-chan struct{} {
				reached := make(chan struct{})
				f.hang(reached)
				return reached
			},
		}},
		Exempt: map[gatewaytest.Kind]string{
			gatewaytest.Elsewhere: noAnswer, gatewaytest.Crowded: noAnswer, gatewaytest.Paused: noAnswer,
			gatewaytest.OptedOut: noAnswer, gatewaytest.Originated: "it plays recipients, and shows them no sender",
			gatewaytest.Gone: noAnswer, gatewaytest.Unavailable: noAnswer, gatewaytest.Garbled: noAnswer, gatewaytest.Partial: noAnswer,
			gatewaytest.CheckRefused: noCredentials, gatewaytest.Recovery: noCredentials,
			gatewaytest.LossBefore: "the provider has a message as soon as it is handed over", gatewaytest.HangBefore: "the same",
			gatewaytest.CancelBefore: "the same", gatewaytest.LossAfter: "drop-after-write plays it",
		},
	})
}
