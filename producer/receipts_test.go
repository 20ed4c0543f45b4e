package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fakeReceipts answers err, or what block leads to, and keeps what it was given.
type fakeReceipts struct {
	err   error
	block bool // until ctx ends
	got   []string
}

func (f *fakeReceipts) Handle(ctx context.Context, gateway string, r *http.Request, body []byte) (string, error) {
	if f.block {
		<-ctx.Done()
		return "", ctx.Err()
	}
	f.got = append(f.got, gateway+" "+r.URL.RawQuery+" "+string(body))
	return "recorded", f.err
}

const toReceive = "/v1/receipts/texts?id=eve@test.example"

// receiptProblemCases are those of providers.
func receiptProblemCases() []problemCase {
	says := func(err error) Config { return Config{Receipts: &fakeReceipts{err: fmt.Errorf("take: %w", err)}} }
	later := map[string]string{"Retry-After": "5"}
	faults := notify.Faults{{Pointer: "#/state", Code: notify.FaultInvalid, Detail: "say delivered or bounced"}}
	large := strings.Repeat("a", maxReceipt+1)
	return []problemCase{
		{name: "receipt-ends-early", status: 400, code: codeMalformed, cfg: says(nil), path: toReceive, change: func(r *http.Request) {
			r.Body = io.NopCloser(failing{io.ErrUnexpectedEOF})
		}},
		{name: "receipt-forged", status: 403, code: codeForbidden, cfg: says(notify.ErrForged), path: toReceive},
		{name: "receipt-for-another-host", status: 403, code: codeForbidden, cfg: says(nil), path: toReceive, change: func(r *http.Request) {
			r.Host = "rebound.test.example"
		}},
		{name: "no-receipts", status: 404, code: codeNotFound, path: toReceive},
		{name: "receipt-of-no-gateway", status: 404, code: codeNotFound, cfg: says(notify.ErrUnknownGateway), path: toReceive},
		{name: "receipt-of-nothing", status: 404, code: codeNotFound, cfg: says(notify.ErrUnknownNotification), path: toReceive},
		{name: "receipt-too-large", status: 413, code: codeTooLarge, cfg: says(nil), path: toReceive, body: large},
		{name: "receipt-invalid", status: 422, code: codeInvalidReceipt, cfg: says(faults), path: toReceive},
		{name: "receipt-internal", status: 500, code: codeInternal, cfg: Config{Receipts: &fakeReceipts{err: errors.New("the cause")}}, path: toReceive},
		{name: "receipt-early", status: 503, code: codeNotSentYet, cfg: says(notify.ErrEarly), path: toReceive, headers: later},
		{name: "receipt-without-bus", status: 503, code: codeBusUnavailable, cfg: says(notify.ErrBusUnavailable), path: toReceive, headers: later},
		{name: "receipt-without-store", status: 503, code: codeStatusUnavailable, cfg: says(notify.ErrStatusUnavailable), path: toReceive, headers: later},
		{name: "receipt-frozen", status: 503, code: codeStatusUnavailable, cfg: Config{Receipts: &fakeReceipts{block: true}, Timeouts: Timeouts{Dispatch: time.Millisecond}}, path: toReceive, headers: later},
	}
}

func TestAReceiptIsHandedOnAsItCame(t *testing.T) {
	taker, log := &fakeReceipts{}, &journal{}
	s := newServer(t, Config{Receipts: taker, Log: log.logger()})
	r := request(http.MethodPost, toReceive, "MessageStatus=delivered")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, body := do(t, s, r)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.JSONEq(t, `{"result":"recorded"}`, body)
	require.Equal(t, []string{"texts id=eve@test.example MessageStatus=delivered"}, taker.got)
	require.Contains(t, log.text(), `"gateway":"texts","result":"recorded"`)
	require.NotContains(t, log.text(), "eve@test.example")
}

// TestProvidersCallWithoutAKeyUnderThePublicName: that name opens this route and no other.
func TestProvidersCallWithoutAKeyUnderThePublicName(t *testing.T) {
	_, key := GenerateKey("shop", ScopeSend)
	const public = "Notify.test.example:8443"
	for _, c := range []struct {
		host      string
		keys      []Key
		anonymous bool
		receipt   int
		send      int
	}{
		{"localhost:8080", nil, false, 200, 202},
		{"notify.test.example:8443", nil, false, 200, 403},
		{"notify.test.example", nil, false, 403, 403},
		{"rebound.test.example", nil, false, 403, 403},
		{"proxied.test.example", nil, true, 200, 202},
		{"notify.test.example:8443", []Key{key}, false, 200, 401},
		{"proxied.test.example", []Key{key}, false, 200, 401},
	} {
		s := newServer(t, Config{Receipts: &fakeReceipts{}, PublicHost: public, Keys: c.keys, AllowAnonymous: c.anonymous})
		for path, want := range map[string]int{toReceive: c.receipt, "/v1/notifications": c.send} {
			r := request(http.MethodPost, path, sound)
			r.Host = c.host
			answer, _ := do(t, s, r)
			require.Equal(t, want, answer.StatusCode, "%+v %s", c, path)
		}
	}
	s := newServer(t, Config{Receipts: &fakeReceipts{}})
	r := request(http.MethodPost, toReceive, "")
	r.Host = ""
	answer, _ := do(t, s, r)
	require.Equal(t, http.StatusForbidden, answer.StatusCode, "without a public name there is none to call by")
}
