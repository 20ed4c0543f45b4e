package producer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// problemCase is one way to get a problem; its body is in testdata/problems, in the file of its name.
type problemCase struct {
	name    string
	status  int
	code    code
	cfg     Config
	method  string // POST when empty
	path    string // /v1/notifications when empty
	body    string // sound when empty; none when it is a dash
	change  func(*http.Request)
	headers map[string]string // of the answer
}

func problemCases(sendKey, readKey string, keys []Key) []problemCase {
	const post, get = http.MethodPost, http.MethodGet
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	keyed := Config{Keys: keys, Outbox: fakeOutbox{}}
	bus := func(err error) Config { return Config{Dispatcher: &fakeBus{err: err}} }
	cancel := func(f *fakeCanceller) Config {
		return Config{Canceller: f, Timeouts: Timeouts{Dispatch: time.Millisecond}}
	}
	taken := func(by bool) Config { // the key of the case, by something else or by the same
		print, _ := fingerprint(soundest(), "eve@test.example")
		if by {
			print[0]++
		}
		return Config{Idempotency: &fakeKeys{rows: map[[2]string]*fakeRow{{"default", keyName("eve@test.example")}: {Claim: notify.Claim{Fingerprint: print}}}}}
	}
	asked := map[string]string{"WWW-Authenticate": `Bearer realm="laudspeaker"`}
	busy := map[string]string{"Retry-After": "5"}
	closing := map[string]string{"Connection": "close"}
	return []problemCase{
		{name: "not-json", status: 400, code: codeMalformed, body: "eve@test.example"},
		{name: "empty-body", status: 400, code: codeMalformed, body: " "},
		{name: "cut-off-json", status: 400, code: codeMalformed, body: sound[:60]},
		{name: "body-ends-early", status: 400, code: codeMalformed, change: func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"channel"`), failing{io.ErrUnexpectedEOF}))
		}},
		{name: "no-key", status: 401, code: codeUnauthorized, cfg: keyed, headers: asked},
		{name: "other-scheme", status: 401, code: codeUnauthorized, cfg: keyed, change: set("Authorization", "Basic "+sendKey), headers: asked},
		{name: "unknown-key", status: 401, code: codeUnauthorized, cfg: keyed, change: set("Authorization", "Bearer ls_aaaa_bbbb"), headers: asked},
		{name: "wrong-secret", status: 401, code: codeUnauthorized, cfg: keyed, change: set("Authorization", "Bearer "+sendKey+"x"), headers: asked},
		{name: "wrong-scope", status: 403, code: codeForbidden, cfg: keyed, change: set("Authorization", "Bearer "+readKey)},
		{name: "wrong-scope-to-read", status: 403, code: codeForbidden, cfg: keyed, method: get, path: "/v1/outbox", change: set("Authorization", "Bearer "+sendKey)},
		{name: "wrong-scope-to-cancel", status: 403, code: codeForbidden, cfg: keyed, path: toCancel, body: "-", change: set("Authorization", "Bearer "+readKey)},
		{name: "foreign-host", status: 403, code: codeForbidden, change: func(r *http.Request) { r.Host = "rebound.test.example:8080" }},
		{name: "foreign-origin", status: 403, code: codeForbidden, change: set("Origin", "https://page.test.example")},
		{name: "null-origin", status: 403, code: codeForbidden, change: set("Origin", "null")},
		{name: "no-path", status: 404, code: codeNotFound, method: get, path: "/v1/nothing/eve@test.example"},
		{name: "no-outbox", status: 404, code: codeNotFound, method: get, path: "/v1/outbox"},
		{name: "not-captured", status: 404, code: codeNotFound, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox/0190163d-8694-739b-aea5-966c26f8ad99"},
		{name: "no-such-id", status: 404, code: codeNotFound, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox/..%2F..%2Fetc%2Fpasswd"},
		{name: "cancel-no-uuid", status: 404, code: codeNotFound, path: "/v1/notifications/eve@test.example/cancel", body: "-"},
		{name: "put-notifications", status: 405, code: codeMethodNotAllowed, method: http.MethodPut, headers: map[string]string{"Allow": "GET, POST"}},
		{name: "get-batch", status: 405, code: codeMethodNotAllowed, method: get, path: batchPath, headers: map[string]string{"Allow": "POST"}},
		{name: "post-outbox", status: 405, code: codeMethodNotAllowed, method: post, path: "/v1/outbox", headers: map[string]string{"Allow": "GET"}},
		{name: "get-cancel", status: 405, code: codeMethodNotAllowed, method: get, path: toCancel, headers: map[string]string{"Allow": "POST"}},
		{name: "preflight", status: 405, code: codeMethodNotAllowed, method: "OPTIONS", headers: map[string]string{"Allow": "GET, POST", "Access-Control-Allow-Origin": ""}},
		{name: "odd-method", status: 405, code: codeMethodNotAllowed, method: "BREW", headers: map[string]string{"Allow": "GET, POST"}},
		{name: "slow-body", status: 408, code: codeTimeout, headers: closing, change: func(r *http.Request) { r.Body = io.NopCloser(failing{os.ErrDeadlineExceeded}) }},
		{name: "announced-too-large", status: 413, code: codeTooLarge, cfg: Config{MaxBody: 100}, headers: closing},
		{name: "streamed-too-large", status: 413, code: codeTooLarge, cfg: Config{MaxBody: 100}, change: func(r *http.Request) { r.ContentLength = -1 }},
		{name: "record-too-large", status: 413, code: codeTooLarge, cfg: bus(fmt.Errorf("publish: %w", notify.ErrTooLarge))},
		{name: "form", status: 415, code: codeUnsupportedMedia, change: set("Content-Type", "application/x-www-form-urlencoded"), headers: map[string]string{"Accept": "application/json"}},
		{name: "text", status: 415, code: codeUnsupportedMedia, change: set("Content-Type", "text/plain")},
		{name: "no-content-type", status: 415, code: codeUnsupportedMedia, change: func(r *http.Request) { r.Header.Del("Content-Type") }},
		{name: "latin-1", status: 415, code: codeUnsupportedMedia, change: set("Content-Type", "application/json; charset=iso-8859-1")},
		{name: "two-types", status: 415, code: codeUnsupportedMedia, change: set("Content-Type", "application/json, text/plain")},
		{name: "gzip", status: 415, code: codeUnsupportedMedia, change: set("Content-Encoding", "gzip"), headers: map[string]string{"Accept-Encoding": "identity"}},
		{name: "idempotency-key", status: 422, code: codeInvalidParameter, change: set("Idempotency-Key", "eve@test.example ")},
		{name: "idempotency-mismatch", status: 422, code: codeIdempotencyMismatch, cfg: taken(true), change: set("Idempotency-Key", "eve@test.example")},
		{name: "idempotency-in-flight", status: 409, code: codeIdempotencyInFlight, cfg: taken(false), change: set("Idempotency-Key", "eve@test.example"), headers: map[string]string{"Retry-After": "1"}},
		{name: "id-conflict", status: 409, code: codeIDConflict, cfg: Config{IDs: &fakeIDs{rows: map[string]*fakeIDRow{soundest().ID: {}}}}, headers: map[string]string{"Retry-After": ""}},
		{name: "store-down", status: 503, code: codeStatusUnavailable, cfg: Config{Idempotency: &fakeKeys{claimErr: errors.New("the cause")}}, change: set("Idempotency-Key", "eve@test.example"), headers: busy},
		{name: "batch-key", status: 422, code: codeInvalidParameter, path: batchPath, body: batch(sound), change: set("Idempotency-Key", "eve@test.example")},
		{name: "batch-too-many", status: 422, code: codeInvalid, path: batchPath, body: batch(slices.Repeat([]string{"{}"}, 1001)...)},
		{name: "batch-empty", status: 422, code: codeInvalid, path: batchPath, body: batch()},
		{name: "batch-absent", status: 422, code: codeInvalid, path: batchPath, body: "{}"},
		{name: "batch-no-array", status: 422, code: codeInvalid, path: batchPath, body: `{"notifications":` + sound + `,"more":"eve@test.example"}`},
		{name: "batch-single", status: 422, code: codeInvalid, path: batchPath},
		{name: "batch-not-json", status: 400, code: codeMalformed, path: batchPath, body: `{"notifications":[` + sound},
		{name: "batch-too-large", status: 413, code: codeTooLarge, cfg: Config{MaxBody: 50}, path: batchPath, body: batch(sound, sound), headers: closing},
		{name: "batch-form", status: 415, code: codeUnsupportedMedia, path: batchPath, change: set("Content-Type", "text/plain")},
		{name: "not-an-object", status: 422, code: codeInvalid, body: "[]"},
		{name: "faults-of-form-and-content", status: 422, code: codeInvalid, body: `{"channel":"email","recipient":"nobody","refrence":1,"metadata":7,"payload":{"subject":5}}`},
		{name: "faults", status: 422, code: codeInvalid, body: `{"channel":"sms","recipient":"12345","payload":{}}`},
		{name: "expired", status: 422, code: codeInvalid, body: `{"expires_at":"2020-01-01T00:00:00Z",` + sound[1:]},
		{name: "expired-and-more", status: 422, code: codeInvalid, body: `{"expires_at":"2020-01-01T00:00:00Z","tenant":1,` + sound[1:]},
		{name: "not-supported-yet", status: 422, code: codeNotSupportedYet, body: `{"template":{},"reference":"a\nb",` + sound[1:]},
		{name: "channel-not-configured", status: 422, code: codeChannelNotConfigured, cfg: bus(fmt.Errorf("dispatch: %w", notify.ErrChannelNotConfigured))},
		{name: "limit-not-a-number", status: 422, code: codeInvalidParameter, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox?limit=eve@test.example"},
		{name: "limit-too-high", status: 422, code: codeInvalidParameter, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox?limit=501"},
		{name: "limit-twice", status: 422, code: codeInvalidParameter, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox?limit=5&limit=5"},
		{name: "unknown-parameter", status: 422, code: codeInvalidParameter, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox?limit=5&cursor=x"},
		{name: "broken-query", status: 422, code: codeInvalidParameter, cfg: Config{Outbox: fakeOutbox{}}, method: get, path: "/v1/outbox?limit=%zz"},
		{name: "cancel-with-body", status: 422, code: codeInvalidParameter, path: toCancel, body: `{"id":"eve@test.example"}`},
		{name: "cancel-with-parameter", status: 422, code: codeInvalidParameter, path: toCancel + "?id=eve@test.example", body: "-"},
		{name: "internal", status: 500, code: codeInternal, cfg: bus(errors.New("the cause"))},
		{name: "outbox-broken", status: 500, code: codeInternal, cfg: Config{Outbox: fakeOutbox{errors.New("the cause")}}, method: get, path: "/v1/outbox"},
		{name: "message-broken", status: 500, code: codeInternal, cfg: Config{Outbox: fakeOutbox{errors.New("the cause")}}, method: get, path: "/v1/outbox/" + capturedID},
		{name: "panic", status: 500, code: codeInternal, cfg: Config{Dispatcher: &fakeBus{panic: true}}},
		{name: "bus-unavailable", status: 503, code: codeBusUnavailable, cfg: bus(fmt.Errorf("publish: %w: the cause", notify.ErrBusUnavailable)), headers: busy},
		{name: "bus-frozen", status: 503, code: codeBusUnavailable, cfg: Config{Dispatcher: &fakeBus{block: true}, Timeouts: Timeouts{Dispatch: time.Millisecond}}, headers: busy},
		{name: "cancel-bus-unavailable", status: 503, code: codeBusUnavailable, path: toCancel, body: "-", cfg: cancel(&fakeCanceller{err: fmt.Errorf("publish: %w: the cause", notify.ErrBusUnavailable)}), headers: busy},
		{name: "cancel-bus-frozen", status: 503, code: codeBusUnavailable, path: toCancel, body: "-", cfg: cancel(&fakeCanceller{block: true}), headers: busy},
		{name: "cancel-internal", status: 500, code: codeInternal, path: toCancel, body: "-", cfg: cancel(&fakeCanceller{err: errors.New("the cause")})},
	}
}

// TestProblems: every status of the table, as callers see it.
func TestProblems(t *testing.T) {
	sendKey, send := GenerateKey("shop", ScopeSend)
	readKey, read := GenerateKey("eyes", ScopeRead)
	seen := map[code]bool{}
	for _, c := range slices.Concat(problemCases(sendKey, readKey, []Key{send, read}), readProblemCases(sendKey, []Key{send, read}), letterProblemCases(sendKey, readKey, []Key{send, read}), expungeProblemCases(readKey, []Key{send, read}), receiptProblemCases(), inboundProblemCases()) {
		t.Run(c.name, func(t *testing.T) {
			log := &journal{}
			c.cfg.Log = log.logger()
			answer, body := do(t, newServer(t, c.cfg), c.request())
			require.Equal(t, c.status, answer.StatusCode, body)
			for name, value := range c.headers {
				require.Equal(t, value, answer.Header.Get(name), name)
			}
			var p problem
			require.NoError(t, json.Unmarshal([]byte(body), &p))
			require.Equal(t, c.code, p.Code)
			require.Equal(t, c.status, p.Status)
			require.Equal(t, "request-1", p.RequestID)
			require.Equal(t, "urn:laudspeaker:problem:"+string(c.code), p.Type)
			for _, text := range []string{body, log.text()} {
				for _, secret := range []string{"eve@test.example", "A subject", "Some text", "order 4711", sendKey, readKey, "passwd"} {
					require.NotContains(t, text, secret)
				}
			}
			require.Equal(t, 1, strings.Count(log.text(), "\n"), log.text())
			require.Contains(t, log.text(), `"request_id":"request-1"`)
			require.Contains(t, log.text(), fmt.Sprintf(`"status":%d`, c.status))
			require.Equal(t, strings.Contains(c.name, "internal"), strings.Contains(log.text(), `"cause":"the cause"`) && c.cfg.Outbox == nil && c.cfg.Idempotency == nil)
			var indented bytes.Buffer
			require.NoError(t, json.Indent(&indented, []byte(body), "", "  "))
			golden(t, filepath.Join("testdata", "problems", c.name+".json"), indented.String())
			seen[c.code] = true
		})
	}
	seen[codeShedding] = true // see TestThereIsAnEndToStreams
	for code := range problems {
		require.True(t, seen[code], "no case ends in %s", code)
	}
}

// soundest is sound as the API reads it.
func soundest() *notify.Notification {
	n, _, _ := validate.Decode([]byte(sound), true)
	validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelEmail: true}}.Check(n)
	return n
}

func (c problemCase) request() *http.Request {
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.path == "" {
		c.path = "/v1/notifications"
	}
	switch c.body {
	case "":
		c.body = sound
	case "-":
		c.body = ""
	}
	r := request(c.method, c.path, c.body)
	if c.change != nil {
		c.change(r)
	}
	return r
}

// failing is a body that ends in an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
