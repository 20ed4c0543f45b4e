package producer

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	capturedID = "0190163d-8694-739b-aea5-966c26f8ad91"
	sound      = `{"id":"0190163d-8694-739b-aea5-966c26f8ad92","channel":"email","recipient":"eve@test.example","reference":"order 4711",` +
		`"payload":{"subject":"A subject","text":"Some text"}}`
)

// fakeBus validates as the dispatcher does and then answers err, or what block leads to.
type fakeBus struct {
	err   error
	block bool // until ctx ends
	panic bool

	mu    sync.Mutex
	calls int
	at    time.Time // of the last call
	got   []notify.Notification
}

func (b *fakeBus) Dispatch(ctx context.Context, at time.Time, ns []*notify.Notification) (jobs []*notify.Notification, errs []error) {
	b.mu.Lock()
	b.calls++
	b.at = at
	b.mu.Unlock()
	for _, n := range ns {
		job, err := b.one(ctx, n)
		jobs, errs = append(jobs, job), append(errs, err)
	}
	return jobs, errs
}

func (b *fakeBus) one(ctx context.Context, n *notify.Notification) (*notify.Notification, error) {
	if b.panic {
		panic("eve@test.example")
	}
	rules := validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true, notify.ChannelSMS: true}}
	job := *n
	if _, faults := rules.Check(&job); len(faults) > 0 {
		return nil, faults
	}
	if faults := validate.Times(n, time.Now()); len(faults) > 0 {
		return nil, faults
	}
	if b.block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if b.err != nil {
		return nil, b.err
	}
	if job.ID == "" {
		job.ID = notify.NewID()
	}
	expires := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	job.ExpiresAt = &expires
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, job)
	return &job, nil
}

// fakeCanceller keeps the ids and then answers err, or what block leads to.
type fakeCanceller struct {
	err   error
	block bool // until ctx ends

	mu  sync.Mutex
	got []string
}

func (f *fakeCanceller) Cancel(ctx context.Context, id string) (requested, effective time.Time, err error) {
	if f.block {
		<-ctx.Done()
		return requested, effective, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, id)
	requested = time.Date(2030, 1, 1, 0, 0, 0, 123_456_789, time.UTC)
	return requested, requested.Add(time.Second), f.err
}

// fakeOutbox holds one message.
type fakeOutbox struct{ err error }

func (o fakeOutbox) List(limit int) ([]notify.Captured, error) {
	if limit == 1 {
		return nil, o.err
	}
	return []notify.Captured{captured("")}, o.err
}

func (o fakeOutbox) Get(id string) (notify.Captured, error) {
	if id != capturedID && o.err == nil {
		return notify.Captured{}, fs.ErrNotExist
	}
	return captured("Subject: A subject"), o.err
}

func captured(content string) notify.Captured {
	return notify.Captured{
		ID: capturedID, Channel: notify.ChannelEmail, Recipient: "eve@test.example", Summary: "A subject",
		At: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), File: "/data/outbox/a.eml", Content: content,
	}
}

// journal keeps every log line as text.
type journal struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}

func (j *journal) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(j), zap.DebugLevel))
}

func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Dispatcher == nil {
		cfg.Dispatcher = &fakeBus{}
	}
	if cfg.Canceller == nil {
		cfg.Canceller = &fakeCanceller{}
	}
	if cfg.Idempotency == nil {
		cfg.Idempotency = &fakeKeys{}
	}
	if cfg.Expunger == nil {
		cfg.Expunger = &fakeExpunger{}
	}
	if cfg.Lives == nil {
		cfg.Lives = &fakeLives{}
	}
	if cfg.DeadLetters == nil {
		cfg.DeadLetters = &fakeLetters{}
	}
	if cfg.Feed == nil {
		cfg.Feed = &fakeFeed{}
	}
	s, err := New(cfg)
	require.NoError(t, err)
	return s
}

// request is a POST of body to this host, as its own program sends it.
func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8080"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("X-Request-Id", "request-1")
	return r
}

// do answers r and makes sure that the answer is one that the API's description has.
func do(t testing.TB, s *Server, r *http.Request) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	answer := w.Result()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	requireDescribed(t, r, answer, body)
	return answer, string(body)
}

func requireDescribed(t testing.TB, r *http.Request, answer *http.Response, body []byte) {
	t.Helper()
	kind, schema := "application/problem+json", "Problem"
	if answer.StatusCode < 300 {
		kind, schema = "application/json", schemaOf(r)
	}
	require.Equal(t, kind, answer.Header.Get("Content-Type"))
	require.NotEmpty(t, answer.Header.Get("X-Request-Id"))
	if r.URL.Path == "/openapi.json" && answer.StatusCode < 300 {
		return
	}
	var tree any
	require.NoError(t, json.Unmarshal(body, &tree), string(body))
	requireSchema(t, schema, tree)
	require.NotContains(t, tree, "$schema")
}

// schemaOf names the schema of r's answer.
func schemaOf(r *http.Request) string {
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/cancel"):
		return "Cancelled"
	case strings.HasSuffix(path, "/batch"):
		return "BatchResults"
	case path == toRedrive:
		return "Redriven"
	case path == "/v1/stats":
		return "Stats"
	case path == "/v1/dead-letters":
		return "LetterPage"
	case path == toExpunge:
		return "Expunged"
	case strings.HasPrefix(path, "/v1/receipts/"):
		return "Heard"
	case r.Method == http.MethodPost:
		return "Accepted"
	case path == "/v1/outbox":
		return "CapturedPage"
	case path == "/v1/notifications":
		return "LifePage"
	case strings.HasPrefix(path, "/v1/outbox/"):
		return "Captured"
	default:
		return "Life"
	}
}

var schemasOnce = sync.OnceValue(func() huma.Registry {
	r := newSchemas()
	for _, s := range r.Map() {
		s.PrecomputeMessages()
	}
	return r
})

func requireSchema(t testing.TB, name string, tree any) {
	t.Helper()
	schemas := schemasOnce()
	var found huma.ValidateResult
	huma.Validate(schemas, ref(name), huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, tree, &found)
	require.Empty(t, found.Errors)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
