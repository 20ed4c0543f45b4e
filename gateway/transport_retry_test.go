package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// serveFrames is an HTTP/2 server that works on frames. It calls answer with the stream of each request, and answer returns
// whether the connection goes on. It returns a transport that trusts the server, its address, and the number of requests so
// far.
func serveFrames(t *testing.T, answer func(f *http2.Framer, stream uint32) bool) (*http.Transport, string, *atomic.Int32) {
	requests := new(atomic.Int32)
	s := httptest.NewUnstartedServer(nil)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{NextProtos: []string{"h2"}}
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) {
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type != http2.FrameData || !frame.Header().Flags.Has(http2.FlagDataEndStream) {
				continue
			}
			requests.Add(1)
			if !answer(f, frame.Header().StreamID) {
				_, _ = io.Copy(io.Discard, c) // the client reads what was written, and leaves
				return
			}
		}
	}}
	s.StartTLS()
	rt := NewTransport()
	rt.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(func() { rt.CloseIdleConnections(); s.Close() })
	return rt, s.URL, requests
}

func ok(f *http2.Framer, stream uint32) bool {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	return true
}

func goAway(last uint32, code http2.ErrCode) func(*http2.Framer, uint32) bool {
	return func(f *http2.Framer, _ uint32) bool {
		_ = f.WriteGoAway(last, code, []byte(`{"reason":"Shutdown"}`))
		return false
	}
}

// TestTransportRetry_UnprocessedIsRetried: a connection that the server is closing causes no failure.
func TestTransportRetry_UnprocessedIsRetried(t *testing.T) {
	var calls atomic.Int32
	rt, url, requests := serveFrames(t, func(f *http2.Framer, stream uint32) bool {
		if calls.Add(1) == 1 {
			return goAway(0, http2.ErrCodeNo)(f, stream)
		}
		return ok(f, stream)
	})
	x := Do(rt, request(t, t.Context(), url))
	require.Equal(t, 200, x.Status, "%v", x.Err)
	require.EqualValues(t, 2, requests.Load())
}

// TestTransportRetry_UnprocessedIsTransient: the server says that it did not process the request, so the failure is not
// ambiguous.
func TestTransportRetry_UnprocessedIsTransient(t *testing.T) {
	refuse := func(f *http2.Framer, stream uint32) bool {
		_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		return true
	}
	for name, answer := range map[string]func(*http2.Framer, uint32) bool{
		"every connection ends":        goAway(0, http2.ErrCodeNo),
		"the first ends with an error": goAway(0, http2.ErrCodeEnhanceYourCalm),
		"every stream is refused":      refuse,
	} {
		t.Run(name, func(t *testing.T) {
			rt, url, requests := serveFrames(t, answer)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // a second refusal of a stream is waited out
			defer cancel()
			x := Do(rt, request(t, ctx, url))
			require.Equal(t, notify.Transient, x.Lost().Verdict, "%v", x.Err)
			require.LessOrEqual(t, requests.Load(), int32(maxTransportRetries))
		})
	}
}

// TestTransportRetry_ProcessedAndLostIsAmbiguous: a GOAWAY that includes the stream says nothing about the outcome of the
// request.
func TestTransportRetry_ProcessedAndLostIsAmbiguous(t *testing.T) {
	rt, url, requests := serveFrames(t, func(f *http2.Framer, stream uint32) bool {
		_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
		_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		return false
	})
	x := Do(rt, request(t, t.Context(), url))
	require.Equal(t, notify.Ambiguous, x.Lost().Verdict, "%v", x.Err)
	require.EqualValues(t, 1, requests.Load())
}
