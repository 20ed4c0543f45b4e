package cmd

import (
	"context"
	"fmt"
	"net"
	"slices"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/apns"
	"github.com/laudspeaker/laudspeaker/gateway/capture"
	"github.com/laudspeaker/laudspeaker/gateway/fcm"
	"github.com/laudspeaker/laudspeaker/gateway/http"
	"github.com/laudspeaker/laudspeaker/gateway/sim"
	"github.com/laudspeaker/laudspeaker/gateway/smtp"
	"github.com/laudspeaker/laudspeaker/gateway/twilio"
	"github.com/laudspeaker/laudspeaker/internal/backlog"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/producer"
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
	case "http":
		return http.New(name, *g.HTTP)
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
//	POST /v1/notifications ─▶ producer ─▶ status store (idempotency keys)
//	                             └─────▶ shedding ─▶ dispatcher ─▶ admission ─▶ publisher ─▶ Kafka
//	POST /v1/…/{id}/cancel ─▶ producer ─▶ canceller ─▶ publisher ─▶ control topic
//	GET  /v1/notifications ─▶ producer ─▶ keeper: status store
//	…    /v1/dead-letters  ─▶ producer ─▶ dead letters ─▶ topics, status store; admission ─▶ publisher
//	POST /v1/expunge       ─▶ producer ─▶ status store
//	POST /v1/receipts/…    ─▶ producer ─▶ receipts ─▶ publisher ─▶ status topic ◀─ reconciler
//	                                       └─ early ─▶ publisher ─▶ control topic
//	POST /v1/inbound/…     ─▶ producer ─▶ inbound ─▶ publisher ─▶ control topic, status topic
//	GET  /v1/stats         ─▶ producer ─▶ drain ─▶ ends of topics, commits of groups
//	     both GETs         ─▶ producer ─▶ waits ◀─ control topic: gateways that refuse, pauses
//	GET  /v1/outbox        ─▶ producer ─▶ data_dir/outbox
func (p *process) serveAPI(ctx context.Context, started func()) error {
	log := p.log.With(zap.String("role", "serve-api"))
	publisher := kafka.NewPublisher(p.kafka, kafka.PublisherConfig{MaxMessageBytes: recordBytes(p.cfg), Log: log})
	admitted := admission{publisher, p.full}
	dispatch := dispatcher.New(dispatcher.Config{
		Topics: p.topics, Rules: p.rules(), Publisher: admitted,
		ExpiresAfter: lifetimes(p.cfg), MaxBytes: recordBytes(p.cfg),
	})
	outbox, err := p.outbox()
	if err != nil {
		return err
	}
	keeper, err := p.newKeeper(log)
	if err != nil {
		return err
	}
	tell := teller{dispatcher.Desk{Topics: p.topics}, publisher}
	on := settler{p.topics.Control(), publisher}
	desk, err := p.newReceipts(told{keeper.reader, keeper.store}, tell, on)
	if err != nil {
		return err
	}
	letters, closeLetters, err := p.letters(keeper.reader, admitted)
	if err != nil {
		return err
	}
	early := p.keepEarly(desk, on, keeper.recorder.Recording, log)
	state, waits, err := p.newWaits(publisher, log, hearEarly(early))
	if err != nil {
		return err
	}
	backlogs, monitoring, err := p.newDrain(waits, log)
	if err != nil {
		return err
	}
	api, err := producer.New(producer.Config{
		Dispatcher: backlog.Shedder{Next: dispatch, Refuse: backlogs.Refuse}, Canceller: canceller(on), Drains: backlogs, Waits: waits,
		Idempotency: keeper.store, IDs: keeper.store, Lives: keeper.reader, Expunger: keeper.store, Feed: keeper.store, Fed: keeper.recorder.Woken(),
		DeadLetters: letters, Receipts: desk, Inbound: p.newInbound(keeper, tell, on, state), PublicHost: p.cfg.API.PublicHost(), Outbox: outbox,
		Keys: apiKeys(p.cfg.API.Keys), AllowAnonymous: p.cfg.API.AllowAnonymous, MaxBody: int64(p.cfg.API.MaxBody),
		Livez: p.pages.livez, Readyz: p.pages.readyz, MetricsPage: p.pages.metrics, Log: log, Metrics: producer.NewMetrics(p.metrics),
	})
	if err != nil {
		return err
	}
	log.Info("api listens", zap.String("url", p.apiURL()))
	p.health.add("publisher", publisher.Ready)
	p.health.add("bus", p.full)
	started()
	return inOrder(ctx, slices.Concat([]part{
		p.limits(publisher, dispatch, api),
		{"http", func(ctx context.Context) error { return api.Serve(ctx, p.api) }},
		{"reconciler", keeper.reconciler(tell).Run},
		{"early receipts", early.Run},
		closeLetters,
		{"publisher", publisher.Run},
		monitoring,
		{"control", state.Run},
	}, keeper.parts())...)
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
