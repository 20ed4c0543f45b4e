package gatewaytest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// silence is the deadline of a Send whose provider hangs.
const silence = 300 * time.Millisecond

// Run checks every kind in [Kinds].
func Run[F any](t *testing.T, s Suite[F]) {
	if s.patience == 0 {
		s.patience = 10 * time.Second
	}
	require.Empty(t, s.missing(), "kinds")
	require.NotEmpty(t, s.Messages, "a maker of messages for each channel")
	t.Run(string(Accepted), s.accepted)
	for _, c := range s.Replies {
		t.Run(string(c.kind())+"/"+c.Name, func(t *testing.T) { s.reply(t, c) })
	}
	for _, st := range s.Steps {
		t.Run("step/"+st.Name, func(t *testing.T) { s.step(t, st) })
	}
	t.Run("ended before it began", s.ended)
	t.Run(string(Concurrent), s.concurrent)
	t.Run(string(Check), s.check)
	if s.Origins != nil {
		t.Run(string(Originated), s.originated)
	}
	if s.Refuse != nil {
		t.Run(string(Recovery), s.recovery)
	}
	t.Run(string(Close), s.close)
}

// rig is one sender with its provider, new in each test.
type rig[F any] struct {
	Suite[F]
	t      testing.TB
	fake   F
	sender gateway.Sender
	mu     sync.Mutex
	next   int
	hidden []string
}

func (s Suite[F]) rig(t testing.TB) *rig[F] {
	r := &rig[F]{Suite: s, t: t, fake: s.Fake(t), hidden: s.Secrets}
	r.sender = s.New(t, r.fake, watchedLog(t, r.secrets))
	t.Cleanup(func() { require.NoError(t, r.sender.Close()) })
	return r
}

func (r *rig[F]) secrets() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.hidden...)
}

// message returns the next message, of each channel in turn.
func (r *rig[F]) message() (*notify.Message, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.next
	r.next++
	m := r.Messages[n%len(r.Messages)](n)
	r.hidden = append(r.hidden, private(m)...)
	return m, n
}

func (r *rig[F]) hide(m *notify.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = append(r.hidden, private(m)...)
}

// deliver sends one message to a provider without faults.
func (r *rig[F]) deliver() {
	r.t.Helper()
	m, n := r.message()
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	receipt, err := r.sender.Send(ctx, m)
	require.NoError(r.t, err)
	require.NotEmpty(r.t, receipt.ProviderID)
	require.Equal(r.t, r.Simulated, receipt.Simulated)
	require.Equal(r.t, 1, r.deliveries(r.t, r.fake)[n], "times that the provider has accepted the message")
}

// fails checks the verdict of err and searches err for secrets.
func (r *rig[F]) fails(err error, want notify.Verdict) *notify.Failure {
	r.t.Helper()
	require.Error(r.t, err)
	require.Empty(r.t, leak(err, r.secrets()), "shown in the error: %v", err)
	f := notify.Judge(err)
	require.Equal(r.t, want, f.Verdict, "verdict of: %v", err)
	require.NotEmpty(r.t, f.Reason, "a failure says why")
	if want == notify.Unavailable {
		require.NotEmpty(r.t, f.Remedy, "unavailable says what an operator does about it")
		require.Empty(r.t, shown(f.Remedy, r.secrets()), "shown in the remedy: %s", f.Remedy)
	}
	return f
}

func (s Suite[F]) accepted(t *testing.T) {
	r := s.rig(t)
	for range s.Messages {
		r.deliver()
	}
}

func (s Suite[F]) reply(t *testing.T, c Case[F]) {
	for i := range s.Messages {
		r := s.rig(t)
		r.next = i
		r.deliver() // so that the following calls use an open connection, as in production
		r.next = i + len(s.Messages)
		if c.Reply != nil {
			c.Reply(r.fake)
		}
		m, n := r.message()
		if c.Message != nil {
			c.Message(m)
			r.hide(m)
		}
		ctx, cancel := context.WithTimeout(context.Background(), r.patience)
		_, err := r.sender.Send(ctx, m)
		cancel()
		f := r.fails(err, c.Want)
		if c.WantCode != "" {
			require.Equal(t, c.WantCode, f.Code)
		}
		require.Contains(t, f.Reason, c.WantReason)
		require.Contains(t, f.Remedy, c.WantRemedy)
		require.Equal(t, c.WantGone, f.Gone, "gone")
		require.Equal(t, c.WantAfter, f.After, "after")
		require.Equal(t, c.WantNext, f.Next, "the next gateway may take it")
		require.Equal(t, c.WantFewer, f.Crowded, "too many calls at once")
		if c.Want != notify.Ambiguous {
			require.Zero(t, r.deliveries(t, r.fake)[n], "a message that failed must not have been delivered")
		}
		s.Accept(r.fake)
		r.deliver()
	}
}

func (s Suite[F]) step(t *testing.T, st Step[F]) {
	if st.Lose != nil {
		t.Run("lost", func(t *testing.T) {
			r := s.rig(t)
			st.Lose(r.fake)
			r.failsThenDelivers(context.Background(), nil, st)
		})
	}
	if st.Hang == nil {
		return
	}
	t.Run("timeout", func(t *testing.T) {
		r := s.rig(t)
		st.Hang(r.fake)
		ctx, cancel := context.WithTimeout(context.Background(), silence)
		defer cancel()
		r.failsThenDelivers(ctx, nil, st)
	})
	t.Run("cancelled", func(t *testing.T) {
		r := s.rig(t)
		reached := st.Hang(r.fake)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.failsThenDelivers(ctx, func() {
			select {
			case <-reached:
			case <-time.After(r.patience):
				t.Error("the provider was never reached at this step")
			}
			cancel()
		}, st)
	})
}

// failsThenDelivers sends one message that must fail as st says while meanwhile runs, and then one that must arrive.
func (r *rig[F]) failsThenDelivers(ctx context.Context, meanwhile func(), st Step[F]) {
	r.t.Helper()
	m, n := r.message()
	done := make(chan error, 1)
	go func() {
		_, err := r.sender.Send(ctx, m)
		done <- err
	}()
	if meanwhile != nil {
		meanwhile()
	}
	select {
	case err := <-done:
		r.fails(err, st.want())
	case <-time.After(r.patience): // a second after the deadline is promised; a busy machine gets more
		require.Fail(r.t, "Send outlives its context")
	}
	if !st.Written {
		require.Zero(r.t, r.deliveries(r.t, r.fake)[n], "a message that was not written must not have been delivered")
	}
	r.Accept(r.fake)
	r.deliver()
}

// ended checks that nothing is sent with an ended context.
func (s Suite[F]) ended(t *testing.T) {
	r := s.rig(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m, n := r.message()
	_, err := r.sender.Send(ctx, m)
	r.fails(err, notify.Transient)
	require.Zero(t, s.deliveries(t, r.fake)[n])
}

func (s Suite[F]) concurrent(t *testing.T) {
	const senders, each = 16, 25
	r := s.rig(t)
	var wg sync.WaitGroup
	errs := make(chan error, senders*each)
	for range senders {
		wg.Go(func() {
			for range each {
				m, n := r.message()
				ctx, cancel := context.WithTimeout(context.Background(), 3*r.patience)
				if _, err := r.sender.Send(ctx, m); err != nil {
					errs <- fmt.Errorf("message %d: %w", n, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	count := s.deliveries(t, r.fake)
	require.Len(t, count, senders*each)
	for n, times := range count {
		require.Equal(t, 1, times, "times that message %d was delivered", n)
	}
}

func (s Suite[F]) check(t *testing.T) {
	r := s.rig(t)
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	require.NoError(t, r.sender.Check(ctx))
	require.Empty(t, s.deliveries(t, r.fake), "a check sends nothing")
}

// recovery checks that a sender whose credentials were refused works once they are valid. It sends nothing before the refusal,
// as an authenticated connection may stay valid.
func (s Suite[F]) recovery(t *testing.T) {
	r := s.rig(t)
	s.Refuse(r.fake)
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	r.fails(r.sender.Check(ctx), notify.Unavailable)
	m, n := r.message()
	_, err := r.sender.Send(ctx, m)
	r.fails(err, notify.Unavailable)
	require.Zero(t, s.deliveries(t, r.fake)[n])
	s.Accept(r.fake)
	require.NoError(t, r.sender.Check(ctx))
	r.deliver()
}

// close checks that Close leaves nothing open. The provider keeps running, so that an open connection also shows as a goroutine
// of the provider.
func (s Suite[F]) close(t *testing.T) {
	f := s.Fake(t)
	before := goleak.IgnoreCurrent()
	r := &rig[F]{Suite: s, t: t, fake: f}
	r.sender = s.New(t, f, watchedLog(t, r.secrets))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m, _ := r.message()
			_, _ = r.sender.Send(context.Background(), m)
		})
	}
	wg.Wait()
	require.NoError(t, r.sender.Close())
	goleak.VerifyNone(t, before)
	m, n := r.message()
	_, err := r.sender.Send(context.Background(), m)
	require.Error(t, err, "a closed sender sends nothing")
	require.Zero(t, s.deliveries(t, f)[n])
	require.NoError(t, r.sender.Close(), "closing twice is harmless")
}
