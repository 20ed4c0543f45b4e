// Package http sends e-mail, SMS and push through any provider's HTTP API, or an endpoint of one's own, as the
// configuration describes it: url, headers and body are Go templates, and rules say what the answers mean.
//
// It alone knows the templates' data and functions, and the usual table of statuses (judge.go). It makes one request a
// try, to the configured host and no other, and never follows a redirect. What cannot be rendered is no request at all:
// permanent where the message lacks something, unavailable where the templates serve no message of its channel.
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

// Sender is one API.
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

// New checks the section of the gateway called name and tries its templates on made-up messages; nothing is connected
// before the first message.
func New(name string, cfg config.HTTP) (*Sender, error) {
	at := "gateways." + name
	var faults []error
	for _, f := range cfg.Faults(at) {
		faults = append(faults, errors.New(f))
	}
	s := &Sender{name: name, cfg: cfg, http: gateway.NewConnections()}
	if len(faults) == 0 {
		var err error
		if s.base, err = gateway.BaseURL(cfg.Base()); err != nil {
			faults = append(faults, fmt.Errorf("%s.url %w", at, err))
		}
	}
	parsed, wrong := parseAll(at, cfg)
	if faults = append(faults, wrong...); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.templates, s.patterns = parsed, compilePatterns(cfg)
	if faults = s.try(at); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.tokens = newTokens(cfg.OAuth2, s.http)
	return s, nil
}

// Send makes one request of m.
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

// Originator is the sender that templates have as {{.from}}.
func (s *Sender) Originator(m *notify.Message) string {
	if m.SMS == nil {
		return ""
	}
	return cmp.Or(m.SMS.From, s.cfg.From)
}

// Check makes the configured request, with the credentials and those headers that need no message. Without one it
// connects and says no more.
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

// Close ends the connections.
func (s *Sender) Close() error {
	s.closed.Store(true)
	s.tokens.end()
	s.http.Close()
	return nil
}

// prepare renders m.
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
