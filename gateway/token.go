package gateway

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// tokenTimeout bounds one request for an access token, which may serve many attempts.
const tokenTimeout = 10 * time.Second

// TokenClient returns a client for requests for access tokens. The client makes each request once over c and follows no redirect,
// so that credentials go to no other host. A request ends with parent or after [tokenTimeout], not with its own context.
func (c *Connections) TokenClient(parent context.Context) *http.Client {
	return &http.Client{
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(parent, tokenTimeout)
			defer cancel()
			x := c.Do(req.WithContext(ctx))
			if x.Status == 0 {
				return nil, x.Err
			}
			return x.Response(req, x.Status), nil
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return rt(req) }

// TokenFlight lets attempts share one request for an access token. The zero value is ready to use. Concurrent calls are safe.
type TokenFlight struct{ group singleflight.Group }

// Token returns the result of fetch, or of another caller's fetch that is in flight. It blocks until then, or until ctx ends; fetch
// goes on for the other callers.
func (f *TokenFlight) Token(ctx context.Context, fetch func() (*oauth2.Token, error)) (*oauth2.Token, error) {
	answer := f.group.DoChan("", func() (any, error) { return fetch() })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-answer:
		token, _ := a.Val.(*oauth2.Token)
		return token, a.Err
	}
}
