// Package fcm sends push messages through Firebase Cloud Messaging (FCM), HTTP v1
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).
//
// Only this package knows FCM's messages, its error codes, and Google's credentials. It makes one request per try. The retries of the
// SDK are switched off (transport.go), because FCM has delivered messages that it had answered with a 503. FCM has no idempotency
// key. So each message has IDs by which a device shows a repeated message once (message.go).
package fcm

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"firebase.google.com/go/v4/messaging"
	gofcm "github.com/appleboy/go-fcm"
	"google.golang.org/api/option"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const google = "https://fcm.googleapis.com"

// Sender sends for one Firebase project.
type Sender struct {
	timeout     time.Duration
	base        *url.URL
	http        *gateway.Connections
	credentials *credentials
	client      *gofcm.Client
	closed      atomic.Bool
}

var _ gateway.Sender = (*Sender)(nil)

// New returns a sender for a valid section of the gateway called name. It reads the credentials and does not connect yet.
func New(name string, cfg config.FCM) (*Sender, error) {
	base, err := check(name, cfg)
	if err != nil {
		return nil, err
	}
	s := &Sender{timeout: cfg.Timeout, base: base, http: gateway.NewConnections()}
	project, err := s.authenticate(name, cfg)
	if err != nil {
		return nil, err
	}
	// The HTTP client is passed as an option of the SDK: go-fcm's own WithHTTPClient would need the JSON of a service account,
	// and would follow redirects.
	s.client, err = gofcm.NewClient(context.Background(),
		gofcm.WithProjectID(project),
		gofcm.WithEndpoint(base.String()+"/v1"),
		gofcm.WithCustomClientOption(option.WithHTTPClient(&http.Client{Transport: transport(s.roundTrip), CheckRedirect: stay})),
	)
	if err != nil {
		s.credentials.close()
		return nil, fault(name, "", "the Firebase client cannot be made: "+err.Error())
	}
	return s, nil
}

// Send sends one message to a device, a topic or a condition.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	message, more, err := build(m, time.Now())
	if err != nil {
		return notify.Receipt{}, &notify.Failure{Verdict: notify.Permanent, Reason: notify.ReasonInvalid + ": " + err.Error()}
	}
	id, f := s.call(ctx, s.client.Send, message, more)
	if f != nil {
		return notify.Receipt{}, f
	}
	return notify.Receipt{ProviderID: id}, nil
}

// Check asks FCM to validate a message to a topic without sending it.
func (s *Sender) Check(ctx context.Context) error {
	_, f := s.call(ctx, s.client.SendDryRun, &messaging.Message{Topic: "laudspeaker-check"}, extras{})
	if f != nil {
		return f
	}
	return nil
}

// Close closes the connections.
func (s *Sender) Close() error {
	s.closed.Store(true)
	s.credentials.close()
	s.http.Close()
	return nil
}

// send makes one call of the SDK. The SDK takes many messages, but one invalid message fails all of them, so each is sent
// alone.
type send func(context.Context, ...*messaging.Message) (*messaging.BatchResponse, error)

func (s *Sender) call(ctx context.Context, send send, m *messaging.Message, more extras) (id string, f *notify.Failure) {
	if s.closed.Load() {
		return "", (&gateway.Exchange{Err: gateway.ErrClosed}).Lost()
	}
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	r := record{extras: more}
	batch, err := send(r.attach(ctx), m)
	if err == nil {
		id, err = batch.Responses[0].MessageID, batch.Responses[0].Error
	}
	f = judge(&r, id, err, time.Now())
	if f != nil && f.Verdict == notify.Unavailable {
		s.credentials.forget() // so that the next attempt uses the operator's new credentials
	}
	return id, f
}
