// Package twilio sends SMS and MMS through Twilio's Messages API
// (https://www.twilio.com/docs/messaging/api/message-resource).
//
// Only this package knows Twilio's parameters, limits and error codes. It makes one request per try, and judges the answer by the
// tables in judge.go. Nothing is retried here. Twilio has no idempotency key: a request whose answer is lost may have been sent, so
// it is ambiguous.
//
// If the API has a public address, each message asks Twilio to report its status there; [Receipts] reads these reports.
package twilio

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Sender sends through one Twilio account, or through a compatible API.
type Sender struct {
	cfg    config.Twilio
	base   *url.URL
	http   *gateway.Connections
	closed atomic.Bool
}

var _ interface {
	gateway.Sender
	gateway.Originator
} = (*Sender)(nil)

// New returns a sender for a valid section of the gateway called name. It does not connect yet.
func New(name string, cfg config.Twilio) (*Sender, error) {
	base, err := check(name, cfg)
	if err != nil {
		return nil, err
	}
	return &Sender{cfg: cfg, base: base, http: gateway.NewConnections()}, nil
}

// Send creates one Message resource.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	params, refused := s.params(m, time.Now())
	if refused != nil {
		return notify.Receipt{}, refused
	}
	var created *api.ApiV2010Message
	x, err := s.call(ctx, func(service *api.ApiService) error {
		var err error
		created, err = service.CreateMessage(params)
		return err
	})
	if f := judge(x, err, time.Now()); f != nil {
		return notify.Receipt{}, f
	}
	if created.Sid == nil || *created.Sid == "" {
		return notify.Receipt{}, notOurs(x)
	}
	return notify.Receipt{ProviderID: *created.Sid, Awaited: s.cfg.Callback != ""}, nil
}

// Check reads the newest message of the account: an API key may read it, while it may not read the account.
func (s *Sender) Check(ctx context.Context) error {
	x, err := s.call(ctx, func(service *api.ApiService) error {
		_, err := service.PageMessage(new(api.ListMessageParams).SetPageSize(1), "", "")
		return err
	})
	if f := judge(x, err, time.Now()); f != nil {
		return f
	}
	return nil
}

// Close closes the connections.
func (s *Sender) Close() error {
	s.closed.Store(true)
	s.http.Close()
	return nil
}

// call makes one request with twilio-go. twilio-go supports neither contexts nor response headers, so each call has its own
// client (a few words of memory) whose transport supports both.
func (s *Sender) call(ctx context.Context, do func(*api.ApiService) error) (x gateway.Exchange, err error) {
	if s.closed.Load() {
		return gateway.Exchange{Err: gateway.ErrClosed}, nil
	}
	if s.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
	}
	user, password := s.cfg.AccountSID, string(s.cfg.AuthToken)
	if s.cfg.APIKey != "" {
		user, password = s.cfg.APIKey, string(s.cfg.APISecret)
	}
	once := transport(func(req *http.Request) (*http.Response, error) {
		req = req.WithContext(ctx)
		req.URL.Scheme = s.base.Scheme
		req.URL.Host = s.base.Host
		req.Host = s.base.Host
		req.URL.Path = s.base.Path + req.URL.Path
		x = s.http.Do(req)
		if x.Status == 0 {
			return nil, x.Err
		}
		return x.Response(req, x.Status), nil
	})
	c := &client.Client{
		Credentials: client.NewCredentials(user, password),
		HTTPClient:  &http.Client{Transport: once, CheckRedirect: stay},
	}
	c.SetAccountSid(s.cfg.AccountSID)
	// Not client.NewRequestHandler: it takes the host from the environment.
	err = do(api.NewApiService(&client.RequestHandler{Client: c}))
	return x, err
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// stay follows no redirect, so that the credentials go to no other host: a redirect is judged like any other answer.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
