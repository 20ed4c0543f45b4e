package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeInbound answers err, or what block leads to, and keeps what it was given.
type fakeInbound struct {
	err   error
	block bool // until ctx ends
	got   []string
}

func (f *fakeInbound) Take(ctx context.Context, gateway string, r *http.Request, body []byte) (notify.InboundTaken, error) {
	if f.block {
		<-ctx.Done()
		return notify.InboundTaken{}, ctx.Err()
	}
	f.got = append(f.got, gateway+" "+r.URL.RawQuery+" "+string(body))
	return notify.InboundTaken{Result: "stop", ContentType: "text/xml; charset=utf-8", Answer: []byte("<Response/>")}, f.err
}

const toBring = "/v1/inbound/texts?from=eve@test.example"

// inboundProblemCases are those of providers that bring texts.
func inboundProblemCases() []problemCase {
	says := func(err error) Config { return Config{Inbound: &fakeInbound{err: fmt.Errorf("take: %w", err)}} }
	later := map[string]string{"Retry-After": "5"}
	faults := notify.Faults{{Pointer: "#/MessageSid", Code: notify.FaultRequired, Detail: "send what Twilio sends of an incoming message"}}
	return []problemCase{
		{name: "inbound-ends-early", status: 400, code: codeMalformed, cfg: says(nil), path: toBring, change: func(r *http.Request) {
			r.Body = io.NopCloser(failing{io.ErrUnexpectedEOF})
		}},
		{name: "inbound-forged", status: 403, code: codeForbidden, cfg: says(notify.ErrForged), path: toBring},
		{name: "no-inbound", status: 404, code: codeNotFound, path: toBring},
		{name: "inbound-of-no-gateway", status: 404, code: codeNotFound, cfg: says(notify.ErrUnknownGateway), path: toBring},
		{name: "inbound-to-a-foreign-sender", status: 404, code: codeNotFound, cfg: says(notify.ErrForeignSender), path: toBring},
		{name: "inbound-too-large", status: 413, code: codeTooLarge, cfg: says(nil), path: toBring, body: strings.Repeat("a", maxReceipt+1)},
		{name: "inbound-invalid", status: 422, code: codeInvalidInbound, cfg: says(faults), path: toBring},
		{name: "inbound-internal", status: 500, code: codeInternal, cfg: Config{Inbound: &fakeInbound{err: errors.New("the cause")}}, path: toBring},
		{name: "inbound-without-bus", status: 503, code: codeBusUnavailable, cfg: says(notify.ErrBusUnavailable), path: toBring, headers: later},
		{name: "inbound-without-store", status: 503, code: codeStatusUnavailable, cfg: says(notify.ErrStatusUnavailable), path: toBring, headers: later},
		{name: "inbound-frozen", status: 503, code: codeStatusUnavailable, cfg: Config{Inbound: &fakeInbound{block: true}, Timeouts: Timeouts{Dispatch: time.Millisecond}}, path: toBring, headers: later},
	}
}

// respond serves r; the answer to a text is no JSON.
func respond(s *Server, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// TestInbound_IsHandedOnAsItCame, under the public name without a key, and is answered as its provider expects.
func TestInbound_IsHandedOnAsItCame(t *testing.T) {
	_, key := GenerateKey("shop", ScopeSend)
	taker, log := &fakeInbound{}, &journal{}
	s := newServer(t, Config{Inbound: taker, Log: log.logger(), PublicHost: "notify.test.example", Keys: []Key{key}})
	r := request(http.MethodPost, toBring, "Body=STOP&From=eve@test.example")
	r.Host = "notify.test.example"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := respond(s, r)
	require.Equal(t, []any{http.StatusOK, "text/xml; charset=utf-8", "<Response/>"}, []any{answer.Code, answer.Header().Get("Content-Type"), answer.Body.String()})
	require.Equal(t, []string{"texts from=eve@test.example Body=STOP&From=eve@test.example"}, taker.got)
	require.Contains(t, log.text(), `"gateway":"texts","result":"stop"`)
	require.NotContains(t, log.text(), "eve@test.example")
	r = request(http.MethodGet, toBring, "")
	require.Equal(t, http.StatusMethodNotAllowed, respond(s, r).Code)
}
