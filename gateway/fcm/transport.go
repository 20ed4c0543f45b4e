package fcm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Statuses that replace others on the way to the SDK, which retries a 503 and every transport error four times.
const (
	statusUnavailable = 598
	statusLost        = 599
)

// record is what the transport has seen of one call. The SDK returns neither the cause of a failure nor how far the request
// came. A record is passed in the context, like an httptrace.
type record struct {
	gateway.Exchange
	extras extras          // added to the request
	denied *notify.Failure // there was no access token to send with
}

type recordKey struct{}

func (r *record) attach(ctx context.Context) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// stay follows no redirect, so that tokens go to no other host.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// roundTrip returns no error to the SDK: see the statuses above.
func (s *Sender) roundTrip(req *http.Request) (*http.Response, error) {
	r, ok := req.Context().Value(recordKey{}).(*record)
	if !ok {
		return nil, errors.New("a request of the SDK's own making is not sent")
	}
	token, err := s.credentials.token(req.Context())
	if err != nil {
		r.denied = tokenFailure(err)
		return r.Response(req, statusLost), nil
	}
	req = req.Clone(req.Context())
	token.SetAuthHeader(req)
	req, r.Err = r.extras.addTo(req)
	if r.Err != nil {
		return r.Response(req, statusLost), nil
	}
	req.URL.Scheme = s.base.Scheme // regardless of the environment variables that the SDK reads
	req.URL.Host = s.base.Host
	req.Host = s.base.Host
	r.Exchange = s.http.Do(req)
	status := r.Status
	switch {
	case status == 0:
		status = statusLost
	case status == http.StatusServiceUnavailable:
		status = statusUnavailable
	}
	return r.Response(req, status), nil
}

// addTo adds the extras to a request of the SDK.
func (e extras) addTo(req *http.Request) (*http.Request, error) {
	if e.none() || req.Body == nil {
		return req, nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return req, err
	}
	var call map[string]json.RawMessage
	if err := json.Unmarshal(body, &call); err != nil {
		return req, err
	}
	if call["message"], err = e.add(call["message"]); err != nil {
		return req, err
	}
	body, err = json.Marshal(call)
	if err != nil {
		return req, err
	}
	req.Body, req.GetBody = io.NopCloser(bytes.NewReader(body)), nil
	req.ContentLength = int64(len(body))
	return req, nil
}

// tokenFailure returns the failure of a call without an access token. Nothing was sent.
func tokenFailure(err error) *notify.Failure {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return (&gateway.Exchange{Err: err}).Lost()
	}
	// Not wrapped: its text contains the whole answer.
	if status := refused.Response.StatusCode; status >= 500 || status == http.StatusTooManyRequests {
		return &notify.Failure{Verdict: notify.Transient, Reason: "Google gives no access token at present"}
	}
	return &notify.Failure{
		Verdict: notify.Unavailable, Code: refused.ErrorCode, Reason: "Google gives no access token for the credentials",
		Remedy: "check that the service account still exists and its key is not revoked, that credentials_file is its JSON, and that the clock of this host is right",
	}
}
