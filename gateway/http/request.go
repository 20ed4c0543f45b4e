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

// maxHeader is how long a header may be: servers take 8 KiB of all of them, and an HTTP/2 connection breaks at more.
const maxHeader = 4 << 10

// call is one rendered request.
type call struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

// render makes the request of a message out of its data.
func (s *Sender) render(d map[string]any) (c call, refused *notify.Failure) {
	c = call{method: s.cfg.Method, header: http.Header{}}
	if c.url, refused = s.address(s.templates.url, d); refused != nil {
		return c, refused
	}
	for _, h := range s.templates.headers {
		if refused := c.set(h, d); refused != nil {
			return c, refused
		}
	}
	body, err := execute(s.templates.body, d)
	if err != nil {
		return c, invalid(lacking("body", err))
	}
	if c.body = body; len(body) > 0 {
		c.header.Set("Content-Type", s.cfg.ContentType)
		if isJSON(s.cfg.ContentType) && !json.Valid(body) {
			return c, invalid("body: what the template gives is not JSON")
		}
	}
	return c, nil
}

// address renders an address and makes sure that it is still at the configured host.
func (s *Sender) address(t *template.Template, d map[string]any) (*url.URL, *notify.Failure) {
	text, err := execute(t, d)
	if err != nil {
		return nil, invalid(lacking(t.Name(), err))
	}
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme != s.base.Scheme || u.Host != s.base.Host || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, invalid(t.Name() + ": what the template gives is no address at the configured host")
	}
	return u, nil
}

// set renders a header. One that is empty is left out; one that could begin another is refused.
func (c call) set(h header, d map[string]any) *notify.Failure {
	text, err := execute(h.value, d)
	field := "headers." + h.name
	switch value := strings.TrimSpace(string(text)); {
	case err != nil:
		return invalid(lacking(field, err))
	case strings.ContainsFunc(string(text), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return invalid(field + ": the value has a line end or another control character")
	case len(value) > maxHeader:
		return invalid(field + ": the value is longer than " + strconv.Itoa(maxHeader) + " bytes")
	case value != "":
		c.header.Set(h.name, value)
	}
	return nil
}

// checkCall is the request of [Sender.Check]. Headers that need a message are left out.
func (s *Sender) checkCall() (c call, refused *notify.Failure) {
	c, none := call{method: s.cfg.Check.Method, header: http.Header{}}, map[string]any{}
	if c.url, refused = s.address(s.templates.checkURL, none); refused != nil {
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

// do makes the request once. An API that refuses an access token before its time has not looked at the request: it is made
// once more with a new one. refused says why there is no token to call with.
func (s *Sender) do(ctx context.Context, c call) (x gateway.Exchange, refused *notify.Failure) {
	if s.closed.Load() {
		return gateway.Exchange{Err: gateway.ErrClosed}, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	kept := s.tokens != nil && s.tokens.kept().Valid()
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

// token returns the access token to call with; nil where the API takes none.
func (s *Sender) token(ctx context.Context) (*oauth2.Token, *notify.Failure) {
	token, err := s.tokens.get(ctx)
	if err != nil {
		return nil, s.denied(err)
	}
	return token, nil
}

// request gives c as net/http wants it, but without GetBody, and with a body that may be empty: otherwise a request
// that looks idempotent (a GET, an Idempotency-Key) may be sent a second time after it has been written.
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

// bounded keeps an attempt within the configured time.
func (s *Sender) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.cfg.Timeout > 0 {
		return context.WithTimeout(ctx, s.cfg.Timeout)
	}
	return context.WithCancel(ctx)
}
