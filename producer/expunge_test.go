package producer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeExpunger keeps what it was asked for, and answers n and err; block waits for ctx first.
type fakeExpunger struct {
	n     int
	err   error
	block bool

	mu  sync.Mutex
	got []notify.Expunge
}

func (f *fakeExpunger) Expunge(ctx context.Context, which notify.Expunge) (int, error) {
	f.mu.Lock()
	f.got = append(f.got, which)
	f.mu.Unlock()
	if f.block {
		<-ctx.Done()
		return f.n, fmt.Errorf("expunge: %w: %w", notify.ErrStatusUnavailable, ctx.Err())
	}
	return f.n, f.err
}

const toExpunge = "/v1/expunge"

func TestExpunge(t *testing.T) {
	f := &fakeExpunger{n: 3}
	log := &journal{}
	s := newServer(t, Config{Expunger: f, Log: log.logger()})
	for _, body := range []string{
		`{"ids":["` + strings.ToUpper(capturedID) + `"]}`, `{"tenant":"shop"}`, `{"before":"2020-01-01T01:00:00+01:00","ids":null}`,
	} {
		answer, got := do(t, s, request(http.MethodPost, toExpunge, body))
		require.Equal(t, http.StatusOK, answer.StatusCode, got)
		require.JSONEq(t, `{"expunged":3,"complete":true}`, got)
	}
	require.Equal(t, []notify.Expunge{
		{IDs: []string{capturedID}}, {Tenant: "shop"}, {Before: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
	}, f.got)
	require.Contains(t, log.text(), `"expunged":3`)
}

// What takes longer than a request is said to be incomplete, and the rest is asked for again.
func TestExpungeInSeveralRequests(t *testing.T) {
	s := newServer(t, Config{Expunger: &fakeExpunger{n: 7, block: true}, Timeouts: Timeouts{Expunge: time.Millisecond}})
	answer, got := do(t, s, request(http.MethodPost, toExpunge, `{"tenant":"shop"}`))
	require.Equal(t, http.StatusOK, answer.StatusCode, got)
	require.JSONEq(t, `{"expunged":7,"complete":false}`, got)
}

// What is not understood to the last word expunges nothing.
func TestARefusedExpungeRemovesNothing(t *testing.T) {
	f := &fakeExpunger{}
	s := newServer(t, Config{Expunger: f})
	for _, body := range []string{
		"", "[]", "null", "{}", `{"ids":[]}`, `{"ids":null}`, `{"ids":"` + capturedID + `"}`, `{"ids":["eve@test.example"]}`, `{"tenant":""}`,
		`{"tenant":"a/b"}`, `{"tenant":"` + strings.Repeat("a", 65) + `"}`, `{"before":"yesterday"}`, `{"before":"2999-01-01T00:00:00Z"}`,
		`{"tenant":"shop","before":"2020-01-01T00:00:00Z"}`, `{"tenant":"shop","recipient":"eve@test.example"}`, `{"tenant":"shop"}{"tenant":"shop"}`,
		`{"ids":[` + strings.Repeat(`"`+capturedID+`",`, mostExpunged) + `"` + capturedID + `"]}`,
	} {
		answer, got := do(t, s, request(http.MethodPost, toExpunge, body))
		require.Contains(t, []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, answer.StatusCode, body)
		require.NotContains(t, got, "eve@")
	}
	require.Empty(t, f.got)
}

// expungeProblemCases are those of who asks to expunge.
func expungeProblemCases(readKey string, keys []Key) []problemCase {
	fails := func(err error) Config { return Config{Expunger: &fakeExpunger{err: err}} }
	all := `{"tenant":"shop"}`
	return []problemCase{
		{name: "wrong-scope-to-expunge", status: 403, code: codeForbidden, cfg: Config{Keys: keys}, path: toExpunge, body: all, change: func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+readKey)
		}},
		{name: "expunge-malformed", status: 400, code: codeMalformed, path: toExpunge, body: `{"ids":["eve@test.example`},
		{name: "expunge-nothing-chosen", status: 422, code: codeInvalidParameter, path: toExpunge, body: `{}`},
		{name: "expunge-unknown-member", status: 422, code: codeInvalidParameter, path: toExpunge, body: `{"recipient":"eve@test.example"}`},
		{name: "expunge-no-uuid", status: 422, code: codeInvalidParameter, path: toExpunge, body: `{"ids":["` + capturedID + `","eve@test.example"]}`},
		{name: "expunge-with-parameter", status: 422, code: codeInvalidParameter, path: toExpunge + "?tenant=eve@test.example", body: all},
		{name: "expunge-no-content-type", status: 415, code: codeUnsupportedMedia, path: toExpunge, body: all, change: func(r *http.Request) { r.Header.Del("Content-Type") }},
		{name: "expunge-internal", status: 500, code: codeInternal, cfg: fails(errors.New("the cause")), path: toExpunge, body: all},
		{
			name: "expunge-status-unavailable", status: 503, code: codeStatusUnavailable, cfg: fails(fmt.Errorf("%w: the cause", notify.ErrStatusUnavailable)),
			path: toExpunge, body: all, headers: map[string]string{"Retry-After": "1"},
		},
	}
}
