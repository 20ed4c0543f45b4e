package http

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// requireShape fails unless the request has exactly the parts that the configuration gave it.
func requireShape(t *testing.T, c call) {
	t.Helper()
	require.Equal(t, "api.example.com", c.url.Host)
	require.Nil(t, c.url.User)
	require.Equal(t, 3, strings.Count(c.url.EscapedPath(), "/"))
	for name, values := range c.header {
		require.Contains(t, []string{"X-A", "X-B", "Content-Type"}, name)
		require.Len(t, values, 1)
		require.False(t, strings.ContainsAny(values[0], "\r\n\x00"))
	}
	var text struct {
		To, Text *string
		M        map[string]string
		All      map[string]any
	}
	d := json.NewDecoder(strings.NewReader(string(c.body)))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&text))
	require.Len(t, text.M, 1)
	require.Len(t, text.All, 14)
	require.ErrorIs(t, d.Decode(&text), io.EOF)
}

// once sends a message to a handler and returns the result.
func once(t *testing.T, h http.HandlerFunc, change func(*config.HTTP)) (notify.Receipt, *notify.Failure) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	cfg := base(server.URL)
	cfg.Body = "{{json .}}"
	change(&cfg)
	s := sender(t, &fake{}, cfg)
	defer s.Close()
	receipt, err := s.Send(t.Context(), gatewaytest.SMS(1))
	return receipt, notify.Judge(err)
}

func TestRequest_OfMessage(t *testing.T) {
	var got *http.Request
	var length int64
	_, f := once(t, func(_ http.ResponseWriter, r *http.Request) { got, length = r, r.ContentLength }, func(c *config.HTTP) {
		c.Method = "PUT"
		c.URL = c.URL + "/sms?x"
		c.Username = "user"
		c.Password = "word"
		c.Headers = map[string]string{"X-Empty": "{{.reference}}", "X-Id": " {{.id}} "}
	})
	require.Nil(t, f)
	user, password, _ := got.BasicAuth()
	require.Equal(t, []string{"PUT", "/sms?x", "user", "word"}, []string{got.Method, got.RequestURI, user, password})
	require.Equal(t, gatewaytest.SMS(1).ID, got.Header.Get("X-Id"))
	require.NotContains(t, got.Header, "X-Empty")
	require.Positive(t, length)

	_, f = once(t, func(_ http.ResponseWriter, r *http.Request) { got = r }, func(c *config.HTTP) {
		c.Method = "GET"
		c.Body = ""
		c.URL = c.URL + "/send?to={{query .address}}"
	})
	require.Nil(t, f)
	require.Equal(t, "to=%2B15550000001", got.URL.RawQuery)
	require.Empty(t, got.Header.Get("Content-Type"))
	require.Empty(t, got.TransferEncoding)

	_, f = once(t, func(_ http.ResponseWriter, r *http.Request) { got = r }, func(c *config.HTTP) { c.Body = "" })
	require.Nil(t, f)
	require.Empty(t, got.TransferEncoding)
}

// The expected values are from: printf '1700000000.{}' | openssl dgst -sha256 -hmac key
func TestRequest_Signature(t *testing.T) {
	for _, c := range []struct{ algorithm, encoding, at, want string }{
		{"sha256", "hex", "1700000000", "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"},
		{"sha256", "hex", "", "a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"},
		{"sha1", "base64", "", "yZY7g3GD3GZxBkYbPekdCIX1ObM="},
		{"sha512", "base64", "1700000000", "A72NX35D6ekgiltPRe8cZc961v0a3sR2MQiKaBAZqJdABVfAJNSS/1ZAxGhXQJbNz1HX+7OsQsl7Xa0qWxgs1A=="},
	} {
		got := signature(config.HTTPSigning{Secret: "key", Algorithm: c.algorithm, Encoding: c.encoding}, c.at, []byte("{}"))
		require.Equal(t, c.want, got, c.algorithm)
	}
}

func TestRequest_SignedBody(t *testing.T) {
	f := apitest.New(t, false)
	s := sender(t, f, section(f))
	_, err := s.Send(t.Context(), gatewaytest.SMS(1))
	require.NoError(t, err)
	require.NotEmpty(t, f.Accepted()[0].Header.Get("X-Signature"))
	cfg := section(f)
	cfg.Signing.Secret = "other"
	_, err = sender(t, f, cfg).Send(t.Context(), gatewaytest.SMS(1))
	require.Equal(t, notify.Unavailable, notify.Judge(err).Verdict)
}

// TestSender_OneTry: net/http repeats idempotent requests when a reused connection breaks. The provider may have processed the
// first one.
func TestSender_OneTry(t *testing.T) {
	for name, change := range map[string]func(*config.HTTP){
		"GET":  func(c *config.HTTP) { c.Method, c.Body, c.URL = "GET", "", c.URL+"/?to={{query .address}}" },
		"key":  func(c *config.HTTP) { c.Headers = map[string]string{"Idempotency-Key": "{{.id}}"} },
		"bare": func(c *config.HTTP) { c.Body, c.Headers = "", map[string]string{"X-Idempotency-Key": "{{.id}}"} },
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if calls.Add(1) > 1 {
					panic(http.ErrAbortHandler)
				}
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			defer server.Close()
			cfg := base(server.URL)
			cfg.Body = "{{json .}}"
			change(&cfg)
			s := sender(t, &fake{}, cfg)
			_, err := s.Send(t.Context(), gatewaytest.SMS(1))
			require.NoError(t, err)
			_, err = s.Send(t.Context(), gatewaytest.SMS(2))
			require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict)
			require.EqualValues(t, 2, calls.Load())
		})
	}
}

func TestSender_FollowsNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request went to another host") }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		_, f := once(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) }, func(*config.HTTP) {})
		require.Equal(t, notify.Unavailable, f.Verdict, status)
	}
}

// TestRequest_HostIsChecked: even a template that New has accepted by mistake sends to no other host.
func TestRequest_HostIsChecked(t *testing.T) {
	s, err := New("api", base(api))
	require.NoError(t, err)
	for _, url := range []string{"https://evil.example/v1", "http://api.example.com/v1", "https://api.example.com:444/v1", "https://a@api.example.com/v1", "//api.example.com/", "https:api.example.com", "/v1", "https://api.example.com/\x00"} {
		s.templates.url, _ = parseOne("url", url, "", inURL)
		_, refused := s.prepare(gatewaytest.SMS(1), time.Now())
		require.NotNil(t, refused, url)
		require.Equal(t, notify.Permanent, refused.Verdict, url)
	}
}

func TestAnswer_WithoutJSON(t *testing.T) {
	answers := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	none := func(*config.HTTP) {}
	receipt, f := once(t, answers(202, ""), none)
	require.Nil(t, f)
	require.Empty(t, receipt.ProviderID)
	_, f = once(t, answers(204, ""), func(c *config.HTTP) { c.CodePath = "/code" })
	require.Nil(t, f, "an API with codes in its errors may say yes without a body")
	_, f = once(t, answers(204, ""), func(c *config.HTTP) { c.Success.Status = config.Statuses{"200"} })
	require.Equal(t, notify.Permanent, f.Verdict)
	_, f = once(t, answers(409, ""), func(c *config.HTTP) { c.Success.Status = config.Statuses{"2xx", "409"} })
	require.Nil(t, f, "an endpoint that knows the message already")
	receipt, f = once(t, answers(200, `{"id": 12345678901234567890, "ok": true}`), func(c *config.HTTP) {
		c.IDPath, c.Success.Path = "/id", "/ok"
	})
	require.Nil(t, f)
	require.Equal(t, "12345678901234567890", receipt.ProviderID)
	_, f = once(t, answers(200, `{"ok": null}`), func(c *config.HTTP) { c.Success.Path = "/ok" })
	require.Equal(t, notify.Permanent, f.Verdict)
}

// TestJudge_NotFoundOfMessage: if the message is part of the address, a 404 is about the message, and does not stop the
// gateway.
func TestJudge_NotFoundOfMessage(t *testing.T) {
	for url, want := range map[string]notify.Verdict{
		"/users/{{path .address}}": notify.Permanent, "/users?to={{query .address}}": notify.Unavailable,
		"/bot{{secret | path}}/send": notify.Unavailable, "/users": notify.Unavailable,
	} {
		_, f := once(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, func(c *config.HTTP) { c.URL, c.Secret = c.URL+url, "key" })
		require.Equal(t, want, f.Verdict, url)
	}
}

func TestAnswer_Pointers(t *testing.T) {
	a := read([]byte(`{"a": [{"b/c": 1.50, "d~e": "x"}], "": false, "n": null}`))
	for pointer, want := range map[string]string{
		"/a/0/b~1c": "1.50", "/a/0/d~0e": "x", "/": "false", "/n": "", "/a": "", "/a/1": "", "/a/-1": "", "/a/x": "", "/a/0/d~0e/f": "", "/z": "", "": "",
	} {
		require.Equal(t, want, cmp.Or(a.texts(pointer, nil)...), pointer)
	}
	require.True(t, read([]byte("\ufeff{}\r\n")).isJSON, "a byte order mark is no part of the text")
	for _, body := range []string{"", "{", "{} {}", "<html>", `{"a": 1} ,`} {
		require.False(t, read([]byte(body)).isJSON, body)
	}
}

// TestSender_Timeout: the configured timeout bounds an attempt whose context has none.
func TestSender_Timeout(t *testing.T) {
	f := apitest.New(t, false)
	f.Hang(gatewaytest.AtRequest)
	cfg := section(f)
	cfg.Timeout = 50 * time.Millisecond
	_, err := sender(t, f, cfg).Send(context.Background(), gatewaytest.SMS(1))
	require.Equal(t, notify.Ambiguous, notify.Judge(err).Verdict)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestCheck_SendsHeadersWithoutMessage: the check has the credentials, and the headers that need no message.
func TestCheck_SendsHeadersWithoutMessage(t *testing.T) {
	got := http.Header{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer server.Close()
	cfg := base(server.URL)
	cfg.Body = "{{json .}}"
	cfg.Secret = "key"
	cfg.Check.URL = server.URL + "/account"
	cfg.Headers = map[string]string{"X-Key": "{{secret}}", "X-Id": "{{.id}}"}
	require.NoError(t, sender(t, &fake{}, cfg).Check(t.Context()))
	require.Equal(t, "key", got.Get("X-Key"))
	require.NotContains(t, got, "X-Id")
}

// TestCheck_BehindProxy: without sending, only the proxy can be reached.
func TestCheck_BehindProxy(t *testing.T) {
	f := apitest.New(t, false)
	proxy, err := url.Parse(f.URL)
	require.NoError(t, err)
	s := sender(t, f, base(api))
	s.http.Proxy = http.ProxyURL(proxy)
	require.NoError(t, s.Check(t.Context()))
}

// TestCheck_WithoutRequest: the check connects, and verifies the provider's certificate.
func TestCheck_WithoutRequest(t *testing.T) {
	f := apitest.New(t, true)
	cfg := section(f)
	cfg.Check.URL = ""
	s := sender(t, f, cfg)
	require.NoError(t, s.Check(t.Context()))
	require.Empty(t, f.Accepted())

	stranger, err := New("api", cfg)
	require.NoError(t, err)
	require.Equal(t, notify.Unavailable, notify.Judge(stranger.Check(t.Context())).Verdict)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, notify.Transient, notify.Judge(s.Check(ctx)).Verdict)
	require.NoError(t, s.Close())
	require.Error(t, s.Check(t.Context()))

	plain := apitest.New(t, false)
	require.NoError(t, sender(t, plain, base(plain.URL)).Check(t.Context()))
	gone := httptest.NewServer(nil)
	gone.Close()
	err = sender(t, &fake{}, base(gone.URL)).Check(t.Context())
	require.Equal(t, notify.Transient, notify.Judge(err).Verdict)
}
