package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxBody is how much of a response body is read. Providers answer with a few KB; a longer body comes from something else.
const maxBody = 1 << 20

// Exchange is one request to a provider's HTTP API with its response. The SDKs of providers lose the status, the headers or the
// cause of a failure; a gateway that sends through [Do] keeps them.
type Exchange struct {
	Status int // 0: no response
	Header http.Header
	Body   []byte // at most 1 MiB; it may be incomplete, as the status alone tells the outcome
	Cut    bool   // the connection was lost, or the time ran out, within the body

	Err     error // why there is no response
	Written bool  // the provider may have the request
}

// ErrClosed is the error of a request after Close.
var ErrClosed = errors.New("the gateway is closed")

// Do makes one request. It does not follow redirects, so that credentials go to no other host.
func Do(rt http.RoundTripper, req *http.Request) Exchange {
	if err := req.Context().Err(); err != nil {
		return Exchange{Err: err}
	}
	var written atomic.Bool
	// GotConn and not WroteHeaders: WroteHeaders is called from another goroutine, and can come after ctx has ended the call
	// although bytes are on their way. A transport that retries, which it does only if nothing was written, gets a connection
	// again.
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { written.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { written.Store(true) },
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	watchTransportRetries(req, func() { written.Store(false) })
	res, err := rt.RoundTrip(req)
	if err != nil {
		return Exchange{Err: err, Written: written.Load() && !isGoAway(err)}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody)) // see Body and Cut
	return Exchange{Status: res.StatusCode, Header: res.Header, Body: body, Cut: err != nil, Written: true}
}

// OK reports whether the answer is a 2xx.
func (x *Exchange) OK() bool { return x.Status >= 200 && x.Status < 300 }

// Response returns the response in the form that an SDK expects, with the given status.
func (x *Exchange) Response(req *http.Request, status int) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: x.Header, Body: io.NopCloser(bytes.NewReader(x.Body)), ContentLength: int64(len(x.Body)), Request: req,
	}
}

// Lost returns the failure of an exchange without a response, or nil if there is a response. If the provider may have the request,
// the failure is ambiguous. Otherwise it is unavailable if the peer's identity is not proven, and transient in all other cases.
func (x *Exchange) Lost() *notify.Failure {
	if x.Status != 0 {
		return nil
	}
	switch {
	case errors.Is(x.Err, ErrClosed):
		return &notify.Failure{Verdict: notify.Transient, Reason: ErrClosed.Error(), Err: x.Err}
	case x.Written && errors.Is(x.Err, context.DeadlineExceeded):
		return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the attempt's time ran out before the answer came", Err: x.Err}
	case x.Written && errors.Is(x.Err, context.Canceled):
		return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the attempt was cancelled before the answer came", Err: x.Err}
	case x.Written:
		return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the connection was lost before the answer came", Err: x.Err}
	case errors.Is(x.Err, errUnprocessed):
		return &notify.Failure{Verdict: notify.Transient, Reason: errUnprocessed.Error(), Err: x.Err}
	case isUntrusted(x.Err):
		return &notify.Failure{
			Verdict: notify.Unavailable, Reason: "the provider's certificate cannot be trusted", Err: x.Err,
			Remedy: "check that the address in the configuration is the provider's and that this host has the CA of its certificate and the right time",
		}
	case errors.Is(x.Err, context.DeadlineExceeded), errors.Is(x.Err, context.Canceled):
		return notify.Judge(x.Err)
	}
	return &notify.Failure{Verdict: notify.Transient, Reason: "the provider cannot be reached", Err: x.Err}
}

// isUntrusted reports whether the certificate of the peer cannot be trusted, or the peer does not speak TLS at all.
func isUntrusted(err error) bool {
	var certificate *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	return errors.As(err, &certificate) || errors.As(err, &plain)
}
