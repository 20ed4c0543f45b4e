package cmd

import (
	"context"
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/apns"
	"github.com/laudspeaker/laudspeaker/gateway/capture"
	"github.com/laudspeaker/laudspeaker/gateway/fcm"
	"github.com/laudspeaker/laudspeaker/gateway/sim"
	"github.com/laudspeaker/laudspeaker/gateway/smtp"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/producer"
	"github.com/laudspeaker/laudspeaker/worker"
)

// newSender makes the gateway called name. A new type of gateway is one line here.
func newSender(name string, g config.Gateway, log *zap.Logger) (gateway.Sender, error) {
	switch g.Type {
	case "smtp":
		return smtp.New(name, *g.SMTP, log)
	case "twilio":
		return twilio.New(name, *g.Twilio)
	case "fcm":
		return fcm.New(name, *g.FCM)
	case "apns":
		return apns.New(name, *g.APNs)
	case "capture":
		return capture.New(name, *g.Capture)
	case "sim":
		return sim.New(name, *g.Sim)
	}
	return nil, fmt.Errorf("gateways.%s.type: %q has no gateway in this build", name, g.Type)
}

// serveAPI is the role that takes notifications in.
//
//	POST /v1/notifications ─▶ producer ─▶ dispatcher ─▶ admission ─▶ publisher ─▶ Kafka
//	GET  /v1/outbox        ─▶ producer ─▶ data_dir/outbox
func (p *process) serveAPI(ctx context.Context, started func()) error {
	log := p.log.With(zap.String("role", "serve-api"))
	publisher := kafka.NewPublisher(p.kafka, kafka.PublisherConfig{MaxMessageBytes: recordBytes(p.cfg), Log: log})
	dispatch := dispatcher.New(dispatcher.Config{
		Topics: p.topics, Rules: p.rules(), Publisher: admission{publisher, p.full},
		ExpiresAfter: p.cfg.ExpiresAfter.Normal, MaxBytes: recordBytes(p.cfg),
	})
	outbox, err := p.outbox()
	if err != nil {
		return err
	}
	api, err := producer.New(producer.Config{
		Dispatcher: dispatch, Outbox: outbox, Keys: apiKeys(p.cfg.API.Keys), AllowAnonymous: p.cfg.API.AllowAnonymous,
		MaxBody: int64(p.cfg.API.MaxBody), Livez: p.pages.livez, Readyz: p.pages.readyz, MetricsPage: p.pages.metrics,
		Log: log, Metrics: producer.NewMetrics(p.metrics),
	})
	if err != nil {
		return err
	}
	log.Info("api listens", zap.String("url", p.apiURL()))
	p.health.add("publisher", publisher.Ready)
	p.health.add("bus", p.full)
	started()
	return inOrder(
		ctx,
		part{"limits", func(ctx context.Context) error {
			if r, ok := p.awaitTopics(ctx); ok && r.MaxMessageBytes > 0 {
				publisher.LimitRecords(r.MaxMessageBytes)
				dispatch.SetLimit(r.MaxMessageBytes)
				api.LowerMaxBody(int64(max(r.MaxMessageBytes-dispatcher.Headroom, 1)))
			}
			return nil
		}},
		part{"http", func(ctx context.Context) error { return api.Serve(ctx, p.api) }},
		part{"publisher", publisher.Run},
	)
}

// work is the role that delivers the jobs of some channels.
//
//	Kafka ─▶ runner ─▶ worker ─▶ gateway ─▶ provider
//	  ▲         │         └─ desk: where the job goes next
//	  └─────────┴─ publisher: dead letters, outcomes on the ledger
func (p *process) work(ctx context.Context, channels []notify.Channel, started func()) error {
	log := p.log.With(zap.String("role", "work"))
	ledger, err := kafka.NewLedger(p.kafka, p.topics.Status(), log)
	if err != nil {
		return err
	}
	publisher := kafka.NewPublisher(p.kafka, kafka.PublisherConfig{Persistent: true, MaxMessageBytes: recordBytes(p.cfg), Log: log})
	p.health.add("publisher of outcomes", publisher.Ready)
	metrics := worker.NewMetrics(p.metrics)
	senders, err := p.senders(channels, log)
	if err != nil {
		return err
	}
	defer senders.close()

	var runners []part
	for _, channel := range channels {
		outlet, settings := p.outlets[channel], p.cfg.Channels.ByName()[string(channel)]
		runner, err := kafka.NewRunner(kafka.RunnerConfig{
			Kafka: p.kafka, Group: p.topics.Group(channel), Topics: []string{p.topics.Job(channel)},
			Handler: worker.New(worker.Config{
				Channel: channel, Gateway: outlet.Name, Sender: senders[outlet.Name], Desk: dispatcher.Desk{Topics: p.topics}, Rules: p.rules(),
				DeadLetterRejected: settings.DeadLetterRejected, ExpiresAfter: p.cfg.ExpiresAfter.Normal,
				Metrics: metrics, Log: log, Recipients: p.cfg.Log.Recipients,
			}),
			Ledger: ledger, Publisher: publisher, Log: log, AttemptTimeout: outlet.Gateway.Timeout(),
			Concurrency: settings.Concurrency, Drain: p.cfg.Kafka.Drain, Shrink: dispatcher.TooLarge,
		})
		if err != nil {
			return err
		}
		p.health.add("worker of "+string(channel), runner.Ready)
		p.count(channel, runner.Stats)
		runners = append(runners, part{string(channel), func(ctx context.Context) error {
			r, ok := p.awaitTopics(ctx)
			if !ok {
				return nil
			}
			if r.MaxMessageBytes > 0 {
				publisher.LimitRecords(r.MaxMessageBytes)
			}
			return runner.Run(ctx)
		}})
	}
	started()
	return inOrder(
		ctx,
		part{"runners", func(ctx context.Context) error { return together(ctx, runners...) }},
		part{"publisher", publisher.Run},
		part{"ledger", ledger.Run},
	)
}

func apiKeys(keys []config.APIKey) []producer.Key {
	var list []producer.Key
	for _, k := range keys {
		scopes := make([]producer.Scope, len(k.Scopes))
		for i, s := range k.Scopes {
			scopes[i] = producer.Scope(s)
		}
		list = append(list, producer.Key{ID: k.ID, Name: k.Name, SHA256: k.SHA256, Scopes: scopes})
	}
	return list
}

// apiURL is where this host reaches the API.
func (p *process) apiURL() string {
	address := p.api.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", address.Port)
	}
	return "http://" + address.String()
}
