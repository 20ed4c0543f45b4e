// Package apns sends push messages to Apple devices through Apple's Push Notification service (APNs)
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
//
// Only this package knows APNs' headers, payload, reasons for a refusal, and provider tokens. It makes one request per try, with one
// exception: a request that APNs refuses for the age of the provider token, and so has not processed, is made again with a new
// token. APNs has no idempotency key. So each message has a collapse ID, by which a device shows a repeated message once
// (headers.go).
package apns

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Sender sends with one key of one team, and has a default topic.
type Sender struct {
	timeout  time.Duration
	base     *url.URL
	topic    string
	provider *provider
	http     *gateway.Connections
}

var _ gateway.Sender = (*Sender)(nil)

// New returns a sender for a valid section of the gateway called name. It reads the key and does not connect yet.
func New(name string, cfg config.APNs) (*Sender, error) {
	base, key, err := check(name, cfg)
	if err != nil {
		return nil, err
	}
	return &Sender{
		timeout: cfg.Timeout, base: base, topic: cfg.Topic, http: newConnections(),
		provider: &provider{team: cfg.TeamID, keyID: cfg.KeyID, file: cfg.KeyFile, key: key},
	}, nil
}

// newConnections keeps idle connections for an hour: Apple treats frequent opening and closing as an attack. Pings find dead
// connections
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns#Follow-best-practices-while-sending-push-notifications-with-APNs).
func newConnections() *gateway.Connections {
	c := gateway.NewConnections()
	c.IdleConnTimeout = time.Hour
	c.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second}
	return c
}

// Send sends one message to one device.
func (s *Sender) Send(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
	r, refused := s.build(m)
	if refused != nil {
		return notify.Receipt{}, refused
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	id, f := s.post(ctx, r)
	if f != nil && f.Verdict == notify.Unavailable && r.ownTopic {
		f = s.blame(ctx, f)
	}
	if f != nil {
		return notify.Receipt{}, f
	}
	return notify.Receipt{ProviderID: id}, nil
}

// unknownToken is a well-formed token that APNs has given to no device.
const unknownToken = "0000000000000000000000000000000000000000000000000000000000000000"

// Check sends a push that shows nothing to a token without a device. APNs answers BadDeviceToken if it accepts the provider
// token and the topic.
func (s *Sender) Check(ctx context.Context) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	_, f := s.post(ctx, &message{
		device: unknownToken, payload: []byte(`{"aps":{"content-available":1}}`),
		header: http.Header{"Apns-Topic": {s.topic}, "Apns-Push-Type": {"background"}, "Apns-Priority": {"5"}, "Apns-Expiration": {"0"}},
	})
	if f != nil && !f.Gone {
		return f
	}
	return nil
}

// Close closes the connections.
func (s *Sender) Close() error {
	s.http.Close()
	return nil
}

func (s *Sender) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// message is one request without the provider token.
type message struct {
	device   string
	header   http.Header
	payload  []byte
	ownTopic bool // the message names another topic than the configuration
}

func (s *Sender) post(ctx context.Context, m *message) (id string, f *notify.Failure) {
	token, err := s.provider.token(time.Now())
	if err != nil {
		return "", &notify.Failure{Verdict: notify.Unavailable, Reason: "the provider token cannot be signed", Remedy: fixKey}
	}
	x := s.try(ctx, m, token)
	if x.Status == http.StatusForbidden && reason(&x) == expiredProviderToken {
		if fresh, ok := s.provider.renew(token, time.Now()); ok {
			x = s.try(ctx, m, fresh)
		}
	}
	id, f = judge(&x, m.ownTopic, time.Now())
	if f != nil && f.Verdict == notify.Unavailable {
		s.provider.reloadKey()        // so that the next attempt uses the operator's new credentials
		s.http.CloseIdleConnections() // APNs ties a connection to the first key that it has seen there
	}
	return id, f
}

func (s *Sender) try(ctx context.Context, m *message, token string) gateway.Exchange {
	at := *s.base
	at.Path += "/3/device/" + m.device
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), bytes.NewReader(m.payload))
	if err != nil {
		return gateway.Exchange{Err: err}
	}
	req.Header = m.header.Clone()
	req.Header.Set("Authorization", "bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	return s.http.Do(req)
}

// blame finds out whether the message or the gateway is at fault after a refusal of the provider token for a message with its
// own topic: APNs also calls the token invalid if the topic is not the team's. One such message must not stop the gateway, and
// wrong credentials must not make a dead letter of a message.
func (s *Sender) blame(ctx context.Context, f *notify.Failure) *notify.Failure {
	switch other := notify.Judge(s.Check(ctx)); {
	case other == nil:
		return &notify.Failure{Verdict: notify.Permanent, Code: f.Code, Reason: "APNs does not let this gateway's key send to the apns-topic of the message"}
	case other.Verdict == notify.Unavailable:
		return f
	default: // not known yet, and this message was not sent
		return &notify.Failure{Verdict: notify.Transient, Code: f.Code, Reason: f.Reason}
	}
}
