package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	clientID     = "acme client"
	clientSecret = "gwclient:secret/+%"
)

// issuer is a token endpoint, and an API that accepts its last token.
type issuer struct {
	*httptest.Server
	t      testing.TB
	lasts  int                 // seconds that tokens last; 0: it does not say
	answer http.HandlerFunc    // instead of a token; nil issues one
	fields map[string][]string // of the last request for a token

	mu       sync.Mutex
	issued   int
	token    string // the one that the API takes
	messages int
}

func newIssuer(t testing.TB) *issuer {
	i := &issuer{t: t, lasts: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", i.serveToken)
	mux.HandleFunc("/messages", i.serveMessage)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if i.answer != nil {
		i.answer(w, r)
		return
	}
	_ = r.ParseForm()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fields = r.PostForm
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749, 2.3.1: both are form-encoded first
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	w.Header().Set("Content-Type", "application/json")
	if id != clientID || secret != clientSecret || r.PostForm.Get("grant_type") != "client_credentials" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "wrong: %s"}`, r.Header.Get("Authorization"))
		return
	}
	i.issued++
	i.token = fmt.Sprintf("gwissued%d", i.issued)
	answer := map[string]any{"access_token": i.token, "token_type": "bearer"}
	if i.lasts != 0 {
		answer["expires_in"] = i.lasts
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (i *issuer) serveMessage(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+i.token {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error": {"code": %q}}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		return
	}
	i.messages++
	fmt.Fprintf(w, `{"id": "m%d"}`, i.messages)
}

func (i *issuer) counts() (issued, messages int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issued, i.messages
}

// sender returns a sender of messages to the API, with tokens of the issuer.
func (i *issuer) sender(change func(*config.HTTP)) *Sender {
	cfg := base(i.URL + "/messages")
	cfg.Body = `{"to": {{json .address}}}`
	cfg.IDPath = "/id"
	cfg.CodePath = "/error/code"
	cfg.OAuth2 = config.HTTPOAuth2{TokenURL: i.URL + "/token", ClientID: clientID, ClientSecret: clientSecret, Auth: "basic"}
	if change != nil {
		change(&cfg)
	}
	s, err := New("api", cfg)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { s.Close() })
	return s
}

func TestOAuth2_OneTokenServesManyMessages(t *testing.T) {
	i := newIssuer(t)
	s := i.sender(func(c *config.HTTP) {
		c.OAuth2.Scopes, c.OAuth2.Params = []string{"send", "read"}, map[string]string{"audience": "https://api.example.com"}
	})
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			if _, err := s.Send(t.Context(), gatewaytest.SMS(n)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	issued, messages := i.counts()
	require.Equal(t, []int{1, 30}, []int{issued, messages})
	require.Equal(t, "send read", url.Values(i.fields).Get("scope"))
	require.Equal(t, "https://api.example.com", url.Values(i.fields).Get("audience"))
	require.Empty(t, url.Values(i.fields).Get("client_secret"), "it went in the header")
}

func TestOAuth2_SecretAsField(t *testing.T) {
	i := newIssuer(t)
	s := i.sender(func(c *config.HTTP) { c.OAuth2.Auth = "post" })
	_, err := s.Send(t.Context(), gatewaytest.SMS(1))
	require.NoError(t, err)
	require.NoError(t, s.Check(t.Context()), "without check.url it asks for a token, too")
}

func TestOAuth2_ExpiredTokenIsReplaced(t *testing.T) {
	for _, lasts := range []int{5, -1} { // shorter than the time by which a token is renewed early
		i := newIssuer(t)
		i.lasts = lasts
		s := i.sender(nil)
		for n := range 3 {
			_, err := s.Send(t.Context(), gatewaytest.SMS(n))
			require.NoError(t, err)
		}
		issued, messages := i.counts()
		require.Equal(t, []int{3, 3}, []int{issued, messages})
	}
	i := newIssuer(t)
	i.lasts = 0
	s := i.sender(nil)
	for n := range 3 {
		_, err := s.Send(t.Context(), gatewaytest.SMS(n))
		require.NoError(t, err)
	}
	issued, _ := i.counts()
	require.Equal(t, 1, issued, "no time is for ever")
}

// A token that the API refuses early costs no attempt of a message, and refused credentials are not tried without end.
func TestOAuth2_RevokedTokenIsReplacedAtOnce(t *testing.T) {
	i := newIssuer(t)
	s := i.sender(nil)
	_, err := s.Send(t.Context(), gatewaytest.SMS(1))
	require.NoError(t, err)
	i.mu.Lock()
	i.token = "another"
	i.mu.Unlock()
	receipt, err := s.Send(t.Context(), gatewaytest.SMS(2))
	require.NoError(t, err)
	require.Equal(t, "m2", receipt.ProviderID)
	issued, _ := i.counts()
	require.Equal(t, 2, issued)

	i.mu.Lock()
	i.token = "none that is issued"
	i.mu.Unlock()
	refusing := newIssuer(t)
	other := i.sender(func(c *config.HTTP) { c.OAuth2.TokenURL = refusing.URL + "/token" }) // its tokens mean nothing to the API
	for range 3 {
		_, err = other.Send(t.Context(), gatewaytest.SMS(3))
		f := notify.Judge(err)
		require.Equal(t, notify.Unavailable, f.Verdict)
		require.Equal(t, "HTTP 401", f.Code, "a code that quotes the token is left out")
	}
	issued, _ = refusing.counts()
	require.Equal(t, 3, issued, "one request for each try")
}

// A failure of the token endpoint is no fault of the message, and its text shows no secret.
func TestOAuth2_NoToken(t *testing.T) {
	answer := func(status int, body string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for n := 0; n < len(headers); n += 2 {
				w.Header().Set(headers[n], headers[n+1])
			}
			w.WriteHeader(status)
			fmt.Fprint(w, strings.ReplaceAll(body, "SECRET", r.Header.Get("Authorization")+clientSecret))
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		change func(*config.HTTP)
		want   notify.Verdict
		code   string
		after  time.Duration
		remedy string
		reason string
	}{
		"wrong secret":         {change: func(c *config.HTTP) { c.OAuth2.ClientSecret = "x" }, want: notify.Unavailable, code: "invalid_client", remedy: "gateways.api.oauth2: check client_id"},
		"wrong way":            {answer: answer(400, `{"error": "invalid_request", "error_description": "SECRET"}`), want: notify.Unavailable, code: "invalid_request", remedy: "auth"},
		"wrong scope":          {answer: answer(400, `{"error": "invalid_scope"}`), want: notify.Unavailable, code: "invalid_scope", remedy: "scopes"},
		"an error in a 200":    {answer: answer(200, `{"error": "unauthorized_client"}`), want: notify.Unavailable, code: "unauthorized_client"},
		"an error that quotes": {answer: answer(400, `{"error": "SECRET"}`), want: notify.Unavailable, code: "HTTP 400"},
		"403 as a page":        {answer: answer(403, `<html>SECRET`), want: notify.Unavailable, code: "HTTP 403"},
		"404":                  {answer: answer(404, ``), want: notify.Unavailable, code: "HTTP 404"},
		"redirect":             {answer: answer(302, ``, "Location", "https://elsewhere.example/"), want: notify.Unavailable, code: "HTTP 302"},
		"429":                  {answer: answer(429, ``, "Retry-After", "7"), want: notify.Throttled, after: 7 * time.Second},
		"500":                  {answer: answer(500, `SECRET`), want: notify.Transient, code: "HTTP 500"},
		"503 with a time":      {answer: answer(503, ``, "Retry-After", "7"), want: notify.Throttled, after: 7 * time.Second},
		"503":                  {answer: answer(503, ``), want: notify.Transient},
		"for now":              {answer: answer(400, `{"error": "temporarily_unavailable"}`), want: notify.Transient},
		"a page":               {answer: answer(200, `<html>SECRET`), want: notify.Unavailable, code: "token", remedy: "token_url"},
		"nothing":              {answer: answer(204, ``), want: notify.Unavailable, code: "token", remedy: "token_url"},
		"no token in it":       {answer: answer(200, `{"token": "SECRET"}`), want: notify.Unavailable, code: "token"},
		"a wrong type":         {answer: answer(200, `{"access_token": {"SECRET": 1}}`), want: notify.Unavailable, code: "token"},
		"a line end in it":     {answer: answer(200, `{"access_token": "a\r\nX-Injected: 1"}`), want: notify.Unavailable, code: "token"},
		"megabytes":            {answer: answer(200, `{"access_token": "`+strings.Repeat("x", 2<<20)+`"}`), want: notify.Unavailable, code: "token"},
		"cut off":              {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: notify.Transient},
		"nobody there": {change: func(c *config.HTTP) {
			c.OAuth2.TokenURL = "http://127.0.0.1:1/token?key=" + url.QueryEscape(clientSecret)
		}, want: notify.Transient, reason: "the token endpoint 127.0.0.1:1 cannot be reached"},
		"no TLS there": {change: func(c *config.HTTP) { c.OAuth2.TokenURL = strings.Replace(c.OAuth2.TokenURL, "http:", "https:", 1) }, want: notify.Unavailable, remedy: "token_url"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.answer = c.answer
			i.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
			s := i.sender(c.change)
			for what, do := range map[string]func() error{
				"send":  func() error { _, err := s.Send(t.Context(), gatewaytest.SMS(1)); return err },
				"check": func() error { return s.Check(t.Context()) },
			} {
				f := notify.Judge(do())
				require.NotNil(t, f, what)
				require.Equal(t, c.want, f.Verdict, what)
				if c.code != "" {
					require.Equal(t, c.code, f.Code)
				}
				require.Equal(t, c.after, f.After)
				require.Contains(t, f.Remedy, c.remedy)
				require.Contains(t, f.Reason, c.reason)
				if f.Verdict == notify.Unavailable {
					require.NotEmpty(t, f.Remedy)
				}
				for _, secret := range []string{clientSecret, url.QueryEscape(clientSecret), "Basic "} {
					require.NotContains(t, fmt.Sprintf("%v %v %v %+v", f, f.Reason, f.Remedy, f.Err), secret)
				}
			}
			_, messages := i.counts()
			require.Zero(t, messages)
		})
	}
}

// A silent token endpoint delays an attempt no longer than its timeout, and its request ends when the gateway is closed.
func TestOAuth2_SilentEndpoint(t *testing.T) {
	i := newIssuer(t)
	asked, over := make(chan struct{}, 10), make(chan struct{})
	i.answer = func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}
	t.Cleanup(func() { close(over) })
	s := i.sender(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := s.Send(ctx, gatewaytest.SMS(1)); ended <- err }()
	<-asked
	cancel()
	require.Equal(t, notify.Transient, notify.Judge(<-ended).Verdict, "nothing was sent")
	require.NoError(t, s.Close())
}

func TestConformance_OAuth2(t *testing.T) {
	i := newIssuer(t)
	i.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": %q, "expires_in": 3600}`, apitest.Token)
	}
	conform(t, gatewaytest.Suite[*fake]{
		Fake: overTLS,
		New: func(t testing.TB, f *fake, _ *zap.Logger) gateway.Sender {
			cfg := section(f)
			cfg.Token = ""
			cfg.OAuth2 = config.HTTPOAuth2{TokenURL: i.URL + "/token", ClientID: clientID, ClientSecret: clientSecret, Auth: "basic"}
			return sender(t, f, cfg)
		},
		Messages: []func(int) *notify.Message{gatewaytest.SMS},
		Secrets:  []string{clientSecret},
		Replies: []reply{
			{Name: "opted out", Reply: fails(400, "opted_out"), Want: notify.Permanent, WantGone: true, WantReason: notify.ReasonOptedOut},
			{Name: "unknown", Reply: fails(404, "unknown"), Want: notify.Permanent, WantGone: true},
			{Name: "400", Reply: fails(400, "other"), Want: notify.Permanent, WantCode: "other"},
			{Name: "throttled", Reply: failsAfter(429, "x", "7"), Want: notify.Throttled, WantAfter: 7 * time.Second},
			{Name: "503", Reply: plain(503, "", ""), Want: notify.Transient},
			{Name: "500", Reply: fails(500, "crash"), Want: notify.Ambiguous},
			{Name: "a refused token, and its successor", Reply: fails(401, apitest.Token), Want: notify.Unavailable, WantCode: "HTTP 401", WantRemedy: "oauth2"},
			{Name: "a page", Kind: gatewaytest.Garbled, Reply: plain(200, "", "<html>"), Want: notify.Ambiguous},
			{Name: "a part", Kind: gatewaytest.Partial, Reply: plain(200, "", `{"messages": [{"id": "a", "status": 0}, {"status": 4}]}`), Want: notify.Permanent},
		},
	})
}
