package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(t *testing.T, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("body"))
	require.NoError(t, err)
	return req
}

// do makes a POST request to a server with this handler, over TLS and HTTP/2 if secure.
func do(t *testing.T, secure bool, h http.HandlerFunc) Exchange {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	rt := NewTransport()
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
		rt.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		s.Start()
	}
	defer s.Close()
	defer rt.CloseIdleConnections()
	return Do(rt, request(t, t.Context(), s.URL))
}

func TestDo_KeepsResponse(t *testing.T) {
	for _, secure := range []bool{false, true} {
		x := do(t, secure, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.Copy(w, r.Body)
		})
		require.Equal(t, 429, x.Status)
		require.Equal(t, "body", string(x.Body))
		require.Equal(t, 3*time.Second, RetryAfter(x.Header, time.Now()))
		require.Nil(t, x.Lost())
		require.False(t, x.OK())
	}
}

func TestDo_FollowsNoRedirect(t *testing.T) {
	calls := 0
	x := do(t, false, func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	require.Equal(t, 307, x.Status)
	require.Equal(t, 1, calls)
}

func TestDo_BoundsBody(t *testing.T) {
	x := do(t, false, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for range 64 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	require.True(t, x.OK())
	require.Len(t, x.Body, maxBody)
}

func TestDo_KeepsStatusOfCutResponse(t *testing.T) {
	x := do(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("half"))
	})
	require.Equal(t, 400, x.Status)
	require.Equal(t, "half", string(x.Body))
	require.Nil(t, x.Lost())
}

func TestExchange_LostAfterRequestIsAmbiguous(t *testing.T) {
	for _, secure := range []bool{false, true} {
		x := do(t, secure, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		require.Equal(t, notify.Ambiguous, x.Lost().Verdict)
	}
}

func TestExchange_LostBeforeRequestIsTransient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	x := Do(NewTransport(), request(t, t.Context(), "http://"+l.Addr().String()))
	require.Equal(t, notify.Transient, x.Lost().Verdict)
	require.Error(t, errors.Unwrap(x.Lost()))
}

func TestExchange_EndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := Do(NewTransport(), request(t, ctx, "http://127.0.0.1:1"))
	require.Equal(t, notify.Transient, x.Lost().Verdict)
	require.ErrorIs(t, x.Lost(), context.Canceled)
}

// TestExchange_UntrustedPeer: the peer is not the provider, so the failure is not about the message.
func TestExchange_UntrustedPeer(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	rt := NewTransport()
	defer rt.CloseIdleConnections()
	x := Do(rt, request(t, t.Context(), s.URL))
	require.Equal(t, notify.Unavailable, x.Lost().Verdict)
	require.NotEmpty(t, x.Lost().Remedy)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, x.Lost(), &unknown)

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	x = Do(rt, request(t, t.Context(), strings.Replace(plain.URL, "http:", "https:", 1)))
	require.Equal(t, notify.Unavailable, x.Lost().Verdict)
}

// TestConnections_AreReused: many concurrent messages do not open a connection each.
func TestConnections_AreReused(t *testing.T) {
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	rt := NewTransport()
	defer rt.CloseIdleConnections()
	var senders sync.WaitGroup
	for range 32 {
		senders.Go(func() {
			for range 50 {
				if x := Do(rt, request(t, t.Context(), s.URL)); !x.OK() {
					t.Error(x.Err)
				}
			}
		})
	}
	senders.Wait()
	require.Less(t, opened.Load(), int32(2*32))
}
