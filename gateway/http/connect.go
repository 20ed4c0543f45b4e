package http

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"

	"github.com/laudspeaker/laudspeaker/gateway"
)

// connect connects to the API, or to the proxy before it, and verifies its certificate. It sends no request.
func (s *Sender) connect(ctx context.Context) error {
	if s.closed.Load() {
		return (&gateway.Exchange{Err: gateway.ErrClosed}).Lost()
	}
	ctx, cancel := s.withTimeout(ctx)
	defer cancel()
	to, err := s.firstHop()
	if err != nil {
		return (&gateway.Exchange{Err: err}).Lost()
	}
	conn, err := s.http.DialContext(ctx, "tcp", hostPort(to))
	if err == nil {
		defer conn.Close()
		if to.Scheme == "https" {
			settings := s.http.TLSClientConfig.Clone()
			if settings == nil {
				settings = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			settings.ServerName = to.Hostname()
			err = tls.Client(conn, settings).HandshakeContext(ctx)
		}
	}
	if err != nil {
		return (&gateway.Exchange{Err: err}).Lost()
	}
	return nil
}

// firstHop returns the address that a request would connect to first.
func (s *Sender) firstHop() (*url.URL, error) {
	proxy, err := s.http.Proxy(&http.Request{URL: s.base})
	if proxy != nil || err != nil {
		return proxy, err
	}
	return s.base, nil
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme])
}
