package fcm

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Statuses that stand for others on the way to the SDK, which tries a 503 and every transport error four more times.
const (
	statusUnavailable = 598
	statusLost        = 599
)

// record is what the transport saw of one call, past the SDK, which gives back neither the cause of a failure nor how far
// it came. It travels in ctx, as an httptrace does.
type record struct {
	gateway.Exchange
	denied *notify.Failure // there was no access token to send with
}

type recordKey struct{}

func (r *record) attach(ctx context.Context) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// stay keeps tokens with the host that they are for.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// roundTrip never fails, as the SDK sees it: see the statuses above.
func (s *Sender) roundTrip(req *http.Request) (*http.Response, error) {
	r, ok := req.Context().Value(recordKey{}).(*record)
	if !ok {
		return nil, errors.New("a request of the SDK's own making is not sent")
	}
	token, err := s.credentials.token(req.Context())
	if err != nil {
		r.denied = denied(err)
		return r.Response(req, statusLost), nil
	}
	req = req.Clone(req.Context())
	token.SetAuthHeader(req)
	req.URL.Scheme, req.URL.Host, req.Host = s.base.Scheme, s.base.Host, s.base.Host // whatever the environment tells the SDK
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

// denied judges why there is no access token. Nothing has been sent.
func denied(err error) *notify.Failure {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return (&gateway.Exchange{Err: err}).Lost()
	}
	// Not wrapped: its text holds the whole answer.
	if status := refused.Response.StatusCode; status >= 500 || status == http.StatusTooManyRequests {
		return &notify.Failure{Verdict: notify.Transient, Reason: "Google gives no access token at present"}
	}
	return &notify.Failure{
		Verdict: notify.Unavailable, Code: refused.ErrorCode, Reason: "Google gives no access token for the credentials",
		Remedy: "check that the service account still exists and its key is not revoked, that credentials_file is its JSON, and that the clock of this host is right",
	}
}
