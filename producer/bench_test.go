package producer

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

type nowhere struct{}

func (nowhere) Dispatch(_ context.Context, _ time.Time, ns []*notify.Notification) ([]*notify.Notification, []error) {
	return ns, make([]error, len(ns))
}

// BenchmarkPost is what the API costs of its own: everything but the connection and the bus.
func BenchmarkPost(b *testing.B) {
	key, held := GenerateKey("shop", ScopeSend)
	s := newServer(b, Config{Dispatcher: nowhere{}, Keys: []Key{held}})
	body := strings.Replace(sound, "Some text", strings.Repeat("Some text to read. ", 50), 1)
	r := request(http.MethodPost, "/v1/notifications", body)
	r.Header.Set("Authorization", "Bearer "+key)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = readCloser{strings.NewReader(body)}
		w := &discard{header: http.Header{}}
		if s.ServeHTTP(w, r); w.status != http.StatusAccepted {
			b.Fatal(w.status)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

type discard struct {
	header http.Header
	status int
}

func (w *discard) Header() http.Header         { return w.header }
func (w *discard) Write(b []byte) (int, error) { return len(b), nil }
func (w *discard) WriteHeader(status int)      { w.status = status }
