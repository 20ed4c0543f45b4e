package cmd

import (
	"context"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// link is the way of one worker to Kafka.
type link struct{ proxy *toxiproxy.Proxy }

// newLink opens a proxy at the address, on the way to another.
func newLink(t testing.TB, listen, to string) *link {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{toxiproxy.NewProxy(server, listen, listen, to)}
	require.NoError(t, l.proxy.Start())
	t.Cleanup(l.proxy.Stop)
	return l
}

// hurts are the toxics that a link may have.
var hurts = map[string]string{
	"latency":    `{"name":"hurt","type":"latency","stream":"upstream","attributes":{"latency":300,"jitter":50}}`,
	"timeout":    `{"name":"hurt","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`, // what the broker says does not arrive
	"reset_peer": `{"name":"hurt","type":"reset_peer","stream":"downstream","attributes":{"timeout":200}}`,
}

// hurt harms the link until heal is called: cut, or one of hurts.
func (l *link) hurt(t testing.TB, kind string) (heal func()) {
	if kind == "cut" {
		l.proxy.Stop()
		return func() { require.NoError(t, l.proxy.Start()) }
	}
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(hurts[kind]))
	require.NoError(t, err)
	return func() { require.NoError(t, l.proxy.Toxics.RemoveToxic(context.Background(), "hurt")) }
}
