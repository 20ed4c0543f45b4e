package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"firebase.google.com/go/v4/messaging"
	gofcm "github.com/appleboy/go-fcm"
	"github.com/jackc/puddle/v2"
	twilioclient "github.com/twilio/twilio-go/client"
	twilio "github.com/twilio/twilio-go/rest/api/v2010"
	gomail "github.com/wneessen/go-mail"
	gosmtp "github.com/wneessen/go-mail/smtp"
	"google.golang.org/api/option"
)

// directSettings say what the library of a gateway is to send, and where to.
type directSettings struct {
	Channel     string    `json:"channel"`
	Sink        addresses `json:"sink"`
	InFlight    int       `json:"in_flight"`
	Connections int       `json:"connections"`
	Size        int       `json:"size"`
}

// order asks the direct process for messages: the numbers from 0 on.
type order struct {
	Messages int `json:"messages"`
}

// done answers an order.
type done struct {
	Failed int    `json:"failed"`
	Error  string `json:"error"` // one of the failures
}

// direct sends with the library of a gateway alone: it logs nothing, judges nothing and repeats nothing.
type direct struct {
	send  func(ctx context.Context, m message) error
	close func()
}

func newDirect(s directSettings) (*direct, error) {
	switch s.Channel {
	case "email":
		return directMail(s)
	case "sms":
		return directSMS(s), nil
	default:
		return directPush(s)
	}
}

// runDirect sends what the run orders, with as many goroutines as the worker has messages in flight.
func runDirect(ctx context.Context, s directSettings, p *parent) error {
	d, err := newDirect(s)
	if err != nil {
		return err
	}
	defer d.close()
	if err := p.tell(addresses{}); err != nil {
		return err
	}
	for {
		var o order
		ok, err := p.ask(ctx, &o)
		if !ok || err != nil {
			return err
		}
		if err := p.tell(d.carryOut(ctx, s, o)); err != nil {
			return err
		}
	}
}

func (d *direct) carryOut(ctx context.Context, s directSettings, o order) (result done) {
	var next, failed atomic.Int64
	var first atomic.Pointer[string]
	var senders sync.WaitGroup
	for range s.InFlight {
		senders.Go(func() {
			for number := next.Add(1) - 1; number < int64(o.Messages) && ctx.Err() == nil; number = next.Add(1) - 1 {
				if err := d.send(ctx, message{channel: s.Channel, number: int(number), size: s.Size}); err != nil {
					failed.Add(1)
					text := err.Error()
					first.CompareAndSwap(nil, &text)
				}
			}
		})
	}
	senders.Wait()
	result.Failed = int(failed.Load())
	if text := first.Load(); text != nil {
		result.Error = *text
	}
	return result
}

// directMail is go-mail on a pool of kept connections.
func directMail(s directSettings) (*direct, error) {
	host, port, err := net.SplitHostPort(s.Sink.SMTP)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	mailer, err := gomail.NewClient(host, gomail.WithPort(number), gomail.WithTLSPolicy(gomail.NoTLS),
		gomail.WithoutNoop(), gomail.WithoutRset(), gomail.WithoutSMTPUTF8())
	if err != nil {
		return nil, err
	}
	pool, err := puddle.NewPool(&puddle.Config[*gosmtp.Client]{
		MaxSize:     int32(s.Connections),
		Constructor: mailer.DialToSMTPClientWithContext,
		Destructor:  func(c *gosmtp.Client) { _ = mailer.CloseWithSMTPClient(c) }, // the sink has ended too
	})
	if err != nil {
		return nil, err
	}
	send := func(ctx context.Context, m message) error {
		mail := gomail.NewMsg()
		if err := mail.From(sender); err != nil {
			return err
		}
		if err := mail.To(m.recipient()); err != nil {
			return err
		}
		mail.Subject(m.title())
		mail.SetBodyString(gomail.TypeTextPlain, m.text())
		connection, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		if err := mailer.SendWithSMTPClient(connection.Value(), mail); err != nil {
			connection.Destroy()
			return err
		}
		connection.Release()
		return nil
	}
	return &direct{send, pool.Close}, nil
}

// elsewhere sends what is meant for a provider to the sink, and keeps a connection for each message in flight.
func elsewhere(s directSettings) (*http.Client, func()) {
	transport := &http.Transport{MaxIdleConnsPerHost: s.InFlight, ResponseHeaderTimeout: patience}
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		r.URL.Scheme, r.URL.Host, r.Host = "http", s.Sink.HTTP, s.Sink.HTTP
		response, err := transport.RoundTrip(r)
		if err == nil && response.StatusCode >= http.StatusBadRequest {
			// twilio-go leaves the body of a refusal open.
			var body []byte
			body, err = io.ReadAll(response.Body)
			response.Body.Close()
			response.Body = io.NopCloser(bytes.NewReader(body))
		}
		return response, err
	})}, transport.CloseIdleConnections
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// directSMS is twilio-go.
func directSMS(s directSettings) *direct {
	web, end := elsewhere(s)
	c := &twilioclient.Client{Credentials: twilioclient.NewCredentials(account, "none"), HTTPClient: web}
	c.SetAccountSid(account)
	service := twilio.NewApiService(&twilioclient.RequestHandler{Client: c})
	return &direct{func(_ context.Context, m message) error {
		params := new(twilio.CreateMessageParams).SetTo(m.recipient()).SetFrom("+14155550100").SetBody(m.title() + " " + m.text())
		_, err := service.CreateMessage(params)
		return err
	}, end}
}

// directPush is go-fcm, one message for each call, as it has to be where one invalid message must not fail the others.
func directPush(s directSettings) (*direct, error) {
	web, end := elsewhere(s)
	c, err := gofcm.NewClient(context.Background(), gofcm.WithProjectID(project), gofcm.WithEndpoint("http://"+s.Sink.HTTP+"/v1"),
		gofcm.WithCustomClientOption(option.WithHTTPClient(web)))
	if err != nil {
		end()
		return nil, err
	}
	return &direct{func(ctx context.Context, m message) error {
		batch, err := c.Send(ctx, &messaging.Message{
			Token: m.recipient(), Notification: &messaging.Notification{Title: m.title(), Body: m.text()},
		})
		if err == nil && batch.FailureCount > 0 {
			err = fmt.Errorf("push: %w", batch.Responses[0].Error)
		}
		return err
	}, end}, nil
}
