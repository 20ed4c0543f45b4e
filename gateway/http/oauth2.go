package http

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// tokens keeps the access token of an API until shortly before it expires. Concurrent calls are safe, and share one request for
// a token.
type tokens struct {
	host   string // of the token endpoint
	fetch  func() (*oauth2.Token, error)
	close  context.CancelFunc // ends a request for a token that nobody waits for any more
	flight gateway.TokenFlight

	mu    sync.Mutex
	token *oauth2.Token
	last  string // the last access token: no code of a failure may quote it
}

// newTokens returns nil for a section without OAuth 2.0.
func newTokens(cfg config.HTTPOAuth2, connections *gateway.Connections) *tokens {
	if !cfg.On() {
		return nil
	}
	life, cancel := context.WithCancel(context.Background())
	grant := clientcredentials.Config{
		ClientID: cfg.ClientID, ClientSecret: string(cfg.ClientSecret), TokenURL: cfg.TokenURL, Scopes: cfg.Scopes,
		AuthStyle: oauth2.AuthStyleInHeader, EndpointParams: url.Values{},
	}
	if cfg.Auth == "post" {
		grant.AuthStyle = oauth2.AuthStyleInParams
	}
	for name, value := range cfg.Params {
		grant.EndpointParams.Set(name, value)
	}
	ctx := context.WithValue(life, oauth2.HTTPClient, connections.TokenClient(life))
	endpoint, err := url.Parse(cfg.TokenURL)
	if err != nil {
		endpoint = &url.URL{} // the configuration has been checked
	}
	return &tokens{host: endpoint.Host, close: cancel, fetch: func() (*oauth2.Token, error) { return grant.Token(ctx) }}
}

// get returns the current token, or a new one. It blocks until there is a token or ctx ends. A nil tokens returns nil.
func (t *tokens) get(ctx context.Context) (token *oauth2.Token, err error) {
	if t == nil {
		return nil, nil
	}
	if token := t.current(); token.Valid() {
		return token, nil
	}
	return t.flight.Token(ctx, func() (*oauth2.Token, error) {
		token, err := t.fetch()
		if err == nil && !visible.MatchString(token.AccessToken) {
			err = errBadToken
		}
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.token, t.last = token, token.AccessToken
		return token, nil
	})
}

func (t *tokens) current() *oauth2.Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token
}

// secrets returns the texts that no failure may quote. A nil tokens has none.
func (t *tokens) secrets() []string {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return []string{t.last}
}

// forget drops a token that the API has refused.
func (t *tokens) forget(refused *oauth2.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == refused {
		t.token = nil
	}
}

func (t *tokens) stop() {
	if t != nil {
		t.close()
	}
}

var (
	visible     = regexp.MustCompile(`^[!-~]+$`)
	errorShape  = regexp.MustCompile(`^[a-z_]{1,64}$`)
	errBadToken = errors.New("the token has characters that no header may have")
)

// tokenFailure returns the failure of a missing access token. The message was not sent, whatever the token endpoint did.
func (s *Sender) tokenFailure(err error) *notify.Failure {
	var refused *oauth2.RetrieveError
	var lost *url.Error
	switch {
	case errors.As(err, &refused) && refused.Response != nil: // not wrapped: its text holds the whole answer
		return refusedTokenFailure(refused, "gateways."+s.name+".oauth2: check client_id, client_secret, scopes, params and auth")
	case !errors.As(err, &lost) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return &notify.Failure{
			Verdict: notify.Unavailable, Code: "token", Reason: "the answer of the token endpoint has no access token",
			Remedy: "gateways." + s.name + ".oauth2.token_url: check it against the provider's documents",
		}
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return &notify.Failure{
			Verdict: notify.Unavailable, Code: "token", Reason: "the token endpoint speaks no TLS",
			Remedy: "gateways." + s.name + ".oauth2.token_url: check it against the provider's documents",
		}
	}
	f := (&gateway.Exchange{Err: err}).Lost()
	f.Err = nil // a [url.Error] has the address with its query
	if lost != nil {
		f.Err = lost.Err
	}
	if f.Verdict == notify.Transient {
		f.Reason = "the token endpoint " + s.tokens.host + " cannot be reached"
	}
	return f
}

// refusedTokenFailure returns the failure of an answer of the token endpoint that has no token.
func refusedTokenFailure(r *oauth2.RetrieveError, remedy string) *notify.Failure {
	f := &notify.Failure{Verdict: notify.Unavailable, Code: "HTTP " + strconv.Itoa(r.Response.StatusCode), Reason: "the token endpoint gives no access token", Remedy: remedy}
	if errorShape.MatchString(r.ErrorCode) {
		f.Code = r.ErrorCode
	}
	wait := gateway.RetryAfter(r.Response.Header, time.Now())
	switch status := r.Response.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && wait > 0:
		f.Verdict = notify.Throttled
		f.After = wait
		f.Remedy = ""
	case status >= 500, r.ErrorCode == "temporarily_unavailable", r.ErrorCode == "server_error":
		f.Verdict, f.Remedy = notify.Transient, ""
	}
	return f
}
