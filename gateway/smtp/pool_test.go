package smtp

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func connections(n int) func(*config.SMTP) { return func(c *config.SMTP) { c.Connections = n } }

// TestPool_DeadConnectionIsReplaced: a connection that died while idle costs no try, however the death shows.
func TestPool_DeadConnectionIsReplaced(t *testing.T) {
	for name, die := range map[string]func(*fake){
		"closed":         func(f *fake) { f.hangUp() },
		"421 when used":  func(f *fake) { f.once(atMail, act{reply: "421 4.4.2 idle too long", drop: true}) },
		"gone when used": func(f *fake) { f.once(atMail, act{drop: true}) },
	} {
		for variant, set := range map[string]func(*fake){"pipelined": pipelined, "one by one": oneByOne} {
			t.Run(name+" "+variant, func(t *testing.T) {
				f := newFake(t, set)
				s := newSender(t, f, connections(1))
				_, failure := send(t, s, message("ada@example.com"))
				require.Nil(t, failure)
				die(f)
				_, failure = send(t, s, message("ada@example.com"))
				require.Nil(t, failure)
				require.Len(t, f.mails(), 2)
				require.Equal(t, 2, f.connections())
			})
		}
	}
}

// TestPool_AnsweredConnectionIsNotReplaced: once the relay has answered a command of this message, a lost connection is a
// failure.
func TestPool_AnsweredConnectionIsNotReplaced(t *testing.T) {
	f := newFake(t)
	s := newSender(t, f, connections(1))
	_, failure := send(t, s, message("ada@example.com"))
	require.Nil(t, failure)
	f.once(atRcpt, act{drop: true})
	_, failure = send(t, s, message("ada@example.com"))
	require.Equal(t, notify.Transient, failure.Verdict)
	require.Equal(t, 1, f.connections())
}

// TestPool_BoundsConnections: senders wait for a connection, and a sender that gets none before its deadline fails.
func TestPool_BoundsConnections(t *testing.T) {
	f := newFake(t, pipelined)
	s := newSender(t, f, connections(2))
	var wg sync.WaitGroup
	sent := make(chan error, 32)
	for range cap(sent) {
		wg.Go(func() {
			_, err := s.Send(t.Context(), message("ada@example.com"))
			sent <- err
		})
	}
	wg.Wait()
	for range cap(sent) {
		require.NoError(t, <-sent)
	}
	require.LessOrEqual(t, f.connections(), 2)
	require.Len(t, f.mails(), 32)

	busy := make([]chan struct{}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range busy {
		busy[i] = make(chan struct{})
		f.on(atMail, act{silent: busy[i]})
		wg.Go(func() { _, _ = s.Send(ctx, message("ada@example.com")) })
		<-busy[i]
	}
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err := s.Send(short, message("ada@example.com"))
	require.Equal(t, notify.Transient, notify.Judge(err).Verdict)
	require.Contains(t, notify.Judge(err).Reason, "became free")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cancel()
	wg.Wait()
}

// TestPool_ClosesIdleAndOldConnections: a connection is closed with QUIT after its idle time or its lifetime.
func TestPool_ClosesIdleAndOldConnections(t *testing.T) {
	f := newFake(t)
	s := newSender(t, f, func(c *config.SMTP) { c.IdleTimeout = 10 * time.Millisecond })
	_, failure := send(t, s, message("ada@example.com"))
	require.Nil(t, failure)
	require.Eventually(t, func() bool { return f.open() == 0 && last(f.commands()) == "QUIT" }, time.Minute, time.Millisecond)

	f = newFake(t)
	s = newSender(t, f, func(c *config.SMTP) { c.ConnectionLifetime, c.Connections = time.Nanosecond, 1 })
	for range 3 {
		_, failure := send(t, s, message("ada@example.com"))
		require.Nil(t, failure)
	}
	require.Equal(t, 3, f.connections())
}

func last(s []string) string { return s[len(s)-1] }

func TestNew_NamesFaults(t *testing.T) {
	good := config.SMTP{Host: "relay.example"}
	for field, change := range map[string]func(*config.SMTP){
		"host":        func(c *config.SMTP) { c.Host = "" },
		"port":        func(c *config.SMTP) { c.Port = 70000 },
		"tls":         func(c *config.SMTP) { c.TLS = "maybe" },
		"connections": func(c *config.SMTP) { c.Connections = -1 },
		"password":    func(c *config.SMTP) { c.Username = "u" },
		"timeout":     func(c *config.SMTP) { c.Timeout = -1 },
		"from":        func(c *config.SMTP) { c.From = "nobody" },
		"ca_file":     func(c *config.SMTP) { c.CAFile = "testdata/none.pem" },
	} {
		cfg := good
		change(&cfg)
		_, err := New("mail", cfg, zap.NewNop())
		require.ErrorContains(t, err, "gateways.mail."+field+":")
	}
	s, err := New("mail", good, zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
