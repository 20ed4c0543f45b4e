package http

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/oauth2"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// maxHeader is the longest header: servers accept 8 KiB for all headers, and an HTTP/2 connection breaks if there are more.
const maxHeader = 4 << 10

// call is one rendered request.
type call struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

// render returns the request for a message's data.
func (s *Sender) render(d map[string]any) (c call, refused *notify.Failure) {
	c = call{method: s.cfg.Method, header: http.Header{}}
	c.url, refused = s.address(s.templates.url, d)
	if refused != nil {
		return c, refused
	}
	for _, h := range s.templates.headers {
		if refused := c.set(h, d); refused != nil {
			return c, refused
		}
	}
	body, err := execute(s.templates.body, d)
	if err != nil {
		return c, invalid(describeExecError("body", err))
	}
	c.body = body
	if len(body) > 0 {
		c.header.Set("Content-Type", s.cfg.ContentType)
		if isJSON(s.cfg.ContentType) && !json.Valid(body) {
			return c, invalid("body: what the template gives is not JSON")
		}
	}
	return c, nil
}

// address renders an address and checks that its host is still the configured one.
func (s *Sender) address(t *template.Template, d map[string]any) (*url.URL, *notify.Failure) {
	text, err := execute(t, d)
	if err != nil {
		return nil, invalid(describeExecError(t.Name(), err))
	}
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme != s.base.Scheme || u.Host != s.base.Host || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, invalid(t.Name() + ": what the template gives is no address at the configured host")
	}
	return u, nil
}

// set renders a header. An empty header is left out; a value that could begin another header is refused.
func (c call) set(h header, d map[string]any) *notify.Failure {
	text, err := execute(h.value, d)
	field := "headers." + h.name
	switch value := strings.TrimSpace(string(text)); {
	case err != nil:
		return invalid(describeExecError(field, err))
	case strings.ContainsFunc(string(text), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return invalid(field + ": the value has a line end or another control character")
	case len(value) > maxHeader:
		return invalid(field + ": the value is longer than " + strconv.Itoa(maxHeader) + " bytes")
	case value != "":
		c.header.Set(h.name, value)
	}
	return nil
}

// checkCall returns the request of [Sender.Check]. Headers that need a message are left out.
func (s *Sender) checkCall() (c call, refused *notify.Failure) {
	c, none := call{method: s.cfg.Check.Method, header: http.Header{}}, map[string]any{}
	c.url, refused = s.address(s.templates.checkURL, none)
	if refused != nil {
		return c, refused
	}
	for _, h := range s.templates.headers {
		_ = c.set(h, none) // it needs a message
	}
	return c, nil
}

func execute(t *template.Template, d map[string]any) ([]byte, error) {
	var b bytes.Buffer
	err := t.Execute(&b, d)
	return b.Bytes(), err
}

// do makes the request once. If the API refuses an access token early, it has not processed the request, so do makes the
// request once more with a new token. Refused is the failure if there is no token.
func (s *Sender) do(ctx context.Context, c call) (x gateway.Exchange, refused *notify.Failure) {
	if s.closed.Load() {
		return gateway.Exchange{Err: gateway.ErrClosed}, nil
	}
	ctx, cancel := s.withTimeout(ctx)
	defer cancel()
	kept := s.tokens != nil && s.tokens.current().Valid()
	for {
		token, refused := s.token(ctx)
		if refused != nil {
			return x, refused
		}
		req := c.request(ctx)
		s.authorise(req, token, c.body, time.Now())
		x = s.http.Do(req)
		if x.Status != http.StatusUnauthorized || token == nil {
			return x, nil
		}
		s.tokens.forget(token)
		if !kept {
			return x, nil
		}
		kept = false
	}
}

// token returns the access token for a request; nil if the API takes none.
func (s *Sender) token(ctx context.Context) (*oauth2.Token, *notify.Failure) {
	token, err := s.tokens.get(ctx)
	if err != nil {
		return nil, s.tokenFailure(err)
	}
	return token, nil
}

// request returns c as a request of net/http without GetBody, and with a body that may be empty. Otherwise net/http could send
// a request that looks idempotent (a GET, an Idempotency-Key) a second time after it was written.
func (c call) request(ctx context.Context) *http.Request {
	req := &http.Request{
		Method: c.method, URL: c.url, Host: c.url.Host, Header: c.header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)),
	}
	idempotent := c.method == http.MethodGet || c.method == http.MethodHead || c.header.Get("Idempotency-Key")+c.header.Get("X-Idempotency-Key") != ""
	if len(c.body) == 0 && !idempotent {
		req.Body = http.NoBody // not "Transfer-Encoding: chunked"
	}
	return req.WithContext(ctx)
}

// withTimeout returns a context with the configured timeout.
func (s *Sender) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.cfg.Timeout > 0 {
		return context.WithTimeout(ctx, s.cfg.Timeout)
	}
	return context.WithCancel(ctx)
}
