package kafka

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A broker that takes connections and never answers must not keep anybody from ending.
func TestASilentBrokerIsLeftAtOnce(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	cfg := Config{Brokers: []string{silent.Addr().String()}}
	for name, ask := range map[string]func(context.Context) error{
		"topics":    func(ctx context.Context) error { _, err := Ensure(ctx, cfg, nil, true); return err },
		"publisher": func(ctx context.Context) error { return NewPublisher(cfg, PublisherConfig{Persistent: true}).Run(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- ask(ctx) }()
			conn, err := silent.Accept()
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Read(make([]byte, 1)) // it has asked, and waits
			require.NoError(t, err)
			cancel()
			select {
			case <-ended:
			case <-time.After(3 * time.Second): // less than any read timeout
				require.Fail(t, "it waits for an answer")
			}
		})
	}
}
