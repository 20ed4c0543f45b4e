// Package apns sends push messages to Apple's devices through Apple's Push Notification service
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
//
// It alone knows APNs' headers and payload, its reasons for a refusal and the provider token by which it knows us. It makes one
// request a try; only one that is refused for the age of our token, and so has not been looked at, is made again with a new one.
// APNs has no idempotency key, so a message carries a collapse id by which a device shows a repeated one once (headers.go).
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

// Sender is one key of one team, with a topic of its own.
type Sender struct {
	timeout  time.Duration
	base     *url.URL
	topic    string
	provider *provider
	http     *gateway.Connections
}

var _ gateway.Sender = (*Sender)(nil)

// New checks the section of the gateway called name and reads its key; APNs is not asked before the first message.
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

// newConnections keeps connections for an hour, as Apple asks: opening and closing them often is taken for an attack. Pings find
// out which of them are still good
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

// nobody is a well-formed token that APNs has given to no device.
const nobody = "0000000000000000000000000000000000000000000000000000000000000000"

// Check sends nothing to nobody: APNs answers BadDeviceToken once it has found the provider token and the topic good. Were
// there a device after all, it would show nothing.
func (s *Sender) Check(ctx context.Context) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	_, f := s.post(ctx, &message{
		device: nobody, payload: []byte(`{"aps":{"content-available":1}}`),
		header: http.Header{"Apns-Topic": {s.topic}, "Apns-Push-Type": {"background"}, "Apns-Priority": {"5"}, "Apns-Expiration": {"0"}},
	})
	if f != nil && !f.Gone {
		return f
	}
	return nil
}

// Close ends the connections.
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

// message is one request, but for the provider token.
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
		s.provider.reread()           // so that the next attempt takes what the operator has mended
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

// blame finds out who is at fault when a message with a topic of its own is refused as if we were: APNs calls our token
// invalid too when the topic is not our team's. One such message must not stop the gateway, and wrong credentials must not
// cost one message.
func (s *Sender) blame(ctx context.Context, f *notify.Failure) *notify.Failure {
	switch other := notify.Judge(s.Check(ctx)); {
	case other == nil:
		return &notify.Failure{Verdict: notify.Permanent, Code: f.Code, Reason: "APNs does not let this gateway's key send to the apns-topic of the message"}
	case other.Verdict == notify.Unavailable:
		return f
	default: // nobody knows yet, and this message was not sent
		return &notify.Failure{Verdict: notify.Transient, Code: f.Code, Reason: f.Reason}
	}
}
