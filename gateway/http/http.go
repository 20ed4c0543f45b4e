// Package http sends e-mail, SMS and push through the HTTP API of any provider, or to an endpoint of the operator. The configuration
// describes the API: url, headers and body are Go templates, and rules classify the answers.
//
// Only this package knows the data and functions of the templates, and the default verdicts of HTTP statuses (judge.go).
//
// Failure policy: it makes one request per try, only to the configured host, and never follows a redirect. A message that cannot be
// rendered makes no request: the verdict is permanent if the message lacks a field, and unavailable if the templates can render no
// message of its channel.
package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Sender sends through one API.
type Sender struct {
	name      string
	cfg       config.HTTP
	base      *url.URL
	templates templates
	patterns  patterns
	serves    map[notify.Channel]bool // the channels whose messages the templates can render
	http      *gateway.Connections
	tokens    *tokens // nil: the API takes no access tokens
	closed    atomic.Bool
}

var _ interface {
	gateway.Sender
	gateway.Originator
} = (*Sender)(nil)

// New returns a sender for a valid section of the gateway called name. It renders the templates for sample messages and does
// not connect yet.
func New(name string, cfg config.HTTP) (*Sender, error) {
	at := "gateways." + name
	var faults []error
	for _, f := range cfg.Faults(at) {
		faults = append(faults, errors.New(f))
	}
	s := &Sender{name: name, cfg: cfg, http: gateway.NewConnections()}
	if len(faults) == 0 {
		var err error
		s.base, err = gateway.BaseURL(cfg.Base())
		if err != nil {
			faults = append(faults, fmt.Errorf("%s.url %w", at, err))
		}
	}
	parsed, wrong := parseAll(at, cfg)
	faults = append(faults, wrong...)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.templates, s.patterns = parsed, compilePatterns(cfg)
	faults = s.try(at)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.tokens = newTokens(cfg.OAuth2, s.http)
	return s, nil
}

// Send makes one request for m.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return notify.Receipt{}, notify.Judge(err)
	}
	c, refused := s.prepare(m, time.Now())
	if refused != nil {
		return notify.Receipt{}, refused
	}
	x, refused := s.do(ctx, c)
	if refused != nil {
		return notify.Receipt{}, refused
	}
	id, f := s.judge(x, m, time.Now())
	if f != nil {
		return notify.Receipt{}, f
	}
	return notify.Receipt{ProviderID: id, Awaited: s.cfg.Receipts.Secret != ""}, nil
}

// Originator returns the sender that templates have as {{.from}}.
func (s *Sender) Originator(m *notify.Message) string {
	if m.SMS == nil {
		return ""
	}
	return cmp.Or(m.SMS.From, s.cfg.From)
}

// Check makes the configured request with the credentials, and with the headers that need no message. Without a configured
// request it only connects.
func (s *Sender) Check(ctx context.Context) error {
	if s.cfg.Check.URL == "" {
		if _, refused := s.token(ctx); refused != nil {
			return refused
		}
		return s.connect(ctx)
	}
	c, refused := s.checkCall()
	if refused != nil {
		return refused
	}
	x, refused := s.do(ctx, c)
	if refused != nil {
		return refused
	}
	if f := s.judgeCheck(x, time.Now()); f != nil {
		return f
	}
	return nil
}

// Close closes the connections.
func (s *Sender) Close() error {
	s.closed.Store(true)
	s.tokens.stop()
	s.http.Close()
	return nil
}

// prepare renders the request for m.
func (s *Sender) prepare(m *notify.Message, now time.Time) (call, *notify.Failure) {
	channel := m.Channel
	switch {
	case m.Email == nil && m.SMS == nil && m.Push == nil:
		return call{}, invalid("the message has no payload")
	case m.Push != nil && !slices.Contains(s.cfg.RecipientTypes, m.RecipientType):
		return call{}, invalid("this gateway does not take the recipient type")
	case !s.serves[channel]:
		return call{}, &notify.Failure{
			Verdict: notify.Unavailable, Reason: "the gateway's templates cannot render a message of channel " + string(channel),
			Remedy: fmt.Sprintf("make url, headers and body of gateways.%s serve channel %s, or give the channel another gateway", s.name, channel),
		}
	}
	return s.render(data(m, s.cfg.From, now))
}

func invalid(why string) *notify.Failure {
	return &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": " + why}
}
