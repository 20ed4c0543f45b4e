package smtp

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/smtp/smtptest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// stepTimeouts lets no step time out; a test sets the timeout that it checks.
func stepTimeouts(c *config.SMTP) {
	c.Timeout = time.Hour
	c.ConnectTimeout = time.Hour
	c.GreetingTimeout = time.Hour
	c.CommandTimeout = time.Hour
	c.ReplyTimeout = time.Hour
}

// Each step of the dialogue has its own timeout. Before the relay has the message, it was not sent; afterwards nobody knows.
func TestTimeout_OfEachStep(t *testing.T) {
	soon := 50 * time.Millisecond
	for _, c := range []struct {
		at      step
		set     func(*config.SMTP)
		verdict notify.Verdict
		reason  string
	}{
		{atGreeting, func(c *config.SMTP) { c.GreetingTimeout = soon }, notify.Transient, "did not answer in time at the greeting"},
		{atHello, func(c *config.SMTP) { c.CommandTimeout = soon }, notify.Transient, "did not answer in time at EHLO"},
		{atAuth, func(c *config.SMTP) { c.CommandTimeout = soon }, notify.Transient, "did not answer in time at AUTH"},
		{atMail, func(c *config.SMTP) { c.CommandTimeout = soon }, notify.Transient, "did not answer in time at MAIL, before it had the message"},
		{atRcpt, func(c *config.SMTP) { c.CommandTimeout = soon }, notify.Transient, "did not answer in time at RCPT, before it had the message"},
		{atData, func(c *config.SMTP) { c.CommandTimeout = soon }, notify.Transient, "did not answer in time at DATA, before it had the message"},
		{atDot, func(c *config.SMTP) { c.ReplyTimeout = soon }, notify.Ambiguous, "the relay has the message, and did not answer in time"},
		{atGreeting, func(c *config.SMTP) { c.Timeout = soon }, notify.Transient, "did not answer in time at the greeting"},
		{atRcpt, func(c *config.SMTP) { c.Timeout = soon }, notify.Transient, "did not answer in time at RCPT, before it had the message"},
	} {
		f := newFake(t, func(f *fake) { f.auth = true })
		f.on(c.at, act{silent: make(chan struct{})})
		s := newSender(t, f, stepTimeouts, c.set)
		_, err := s.Send(context.Background(), message("ada@example.com"))
		require.Equal(t, c.verdict, notify.Judge(err).Verdict, c.at)
		require.Contains(t, notify.Judge(err).Reason, c.reason)
	}
	f := newFake(t)
	f.on(atGreeting, act{silent: make(chan struct{})})
	s := newSender(t, f, stepTimeouts, func(c *config.SMTP) { c.Timeout = soon })
	require.Equal(t, notify.Transient, notify.Judge(s.Check(context.Background())).Verdict)
}

// The gateway waits for a slow relay: at each step if no other gateway can be called, and in any case once the relay has the
// message.
func TestTimeout_SlowRelayIsWaitedFor(t *testing.T) {
	for _, verb := range []string{smtptest.Greeting, "EHLO", "MAIL", "RCPT", "DATA", smtptest.Dot} {
		r := smtptest.New(t)
		reached, goOn := make(chan struct{}), make(chan struct{})
		r.Pause(func(c smtptest.Command) <-chan struct{} {
			if c.Verb != verb {
				return nil
			}
			close(reached)
			return goOn
		})
		s, err := New("mail", config.SMTP{Host: "127.0.0.1", Port: r.Port, TLS: plain, Timeout: time.Nanosecond}, zap.NewNop())
		require.NoError(t, err)
		failed := make(chan error, 1)
		go func() {
			_, err := s.SendPatiently(context.Background(), message("ada@example.com"))
			failed <- err
		}()
		<-reached
		close(goOn)
		require.NoError(t, <-failed, verb)
		require.Len(t, r.Mails(), 1)
		require.NoError(t, s.Close())
	}
}

// The wait for the final reply ends with the context, and nobody knows whether the message was sent.
func TestTimeout_ContextEndsTheWaitForTheFinalReply(t *testing.T) {
	f := newFake(t)
	reached := make(chan struct{})
	f.on(atDot, act{silent: reached})
	s := newSender(t, f, stepTimeouts)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	_, err := s.SendPatiently(ctx, message("ada@example.com"))
	require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict)
	require.Empty(t, f.mails())
}

// A pooled connection that says nothing may be dead: it is replaced before the command's own timeout.
func TestTimeout_DeadKeptConnectionIsReplaced(t *testing.T) {
	f := newFake(t)
	s := newSender(t, f, stepTimeouts, func(c *config.SMTP) { c.Timeout = 50 * time.Millisecond })
	_, err := s.SendPatiently(t.Context(), message("ada@example.com"))
	require.NoError(t, err)
	f.on(atMail, act{silent: make(chan struct{})}) // once: the next connection works
	_, err = s.SendPatiently(t.Context(), message("ada@example.com"))
	require.NoError(t, err)
	require.Equal(t, 2, f.connections())
	require.Len(t, f.mails(), 2)
}

func TestTimeout_OfTheConnectionIsNamed(t *testing.T) {
	r := relay{name: "mail", address: "relay.example:587"}
	f := notify.Judge(r.judge(t.Context(), nil, &stepFailure{at: atDial, err: &net.OpError{Op: "dial", Err: context.DeadlineExceeded}}))
	require.Equal(t, "relay.example:587 was not reached: no answer in time", f.Reason)
}
