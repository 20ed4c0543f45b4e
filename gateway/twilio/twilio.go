// Package twilio sends SMS and MMS through Twilio's Messages API
// (https://www.twilio.com/docs/messaging/api/message-resource).
//
// It alone knows Twilio's parameters, limits and error codes. It makes one request a try and judges the answer by the
// tables in judge.go; nothing is retried here. Twilio has no idempotency key: a request whose answer is lost may have
// been sent, and the verdict says so.
//
// Where the API has a public address, each message asks Twilio to say there what becomes of it; [Receipts] reads that.
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

// Sender is one Twilio account, or what speaks like it.
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

// New checks the section of the gateway called name; nothing is connected before the first message.
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
	x, err := s.call(ctx, func(service *api.ApiService) (err error) {
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

// Check reads the newest message of the account: unlike the account itself, an API key may read that too.
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

// Close ends the connections.
func (s *Sender) Close() error {
	s.closed.Store(true)
	s.http.Close()
	return nil
}

// call lets twilio-go make one request. It knows neither ctx nor headers of answers, so each call has a client of its own
// (a few words of memory) whose transport does.
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
		req.URL.Scheme, req.URL.Host, req.Host = s.base.Scheme, s.base.Host, s.base.Host
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
	// Not client.NewRequestHandler: that one takes the host from the environment.
	err = do(api.NewApiService(&client.RequestHandler{Client: c}))
	return x, err
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// stay keeps the credentials with the host that they are for: a redirect is an answer like any other, and no good one.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
