package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newAll() *cobra.Command {
	c := &cobra.Command{
		Use:   "all",
		Short: "Run everything in one process",
		Long: `Runs the API and the workers of all channels in one process. With no kafka.brokers configured it brings a broker of its
own, durable and for this host alone. With no gateway configured at all it sends nothing: every message is captured as
a file, see laudspeaker outbox.`,
		Example: `  laudspeaker all
  LAUDSPEAKER_EMAIL='smtp://user:password@smtp.example.com:587?from=no-reply@acme.example' laudspeaker all
  laudspeaker all --config configs/development.yaml --data-dir /var/lib/laudspeaker`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		return runAll(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr())
	}
	return c
}

// broker (if no other is configured) ◀─▶ serve-api, work
func runAll(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) error {
	p, err := newProcess(cfg, stderr, "all", true)
	if err != nil {
		return err
	}
	if err := p.take(p.listenAPI, p.listenAdmin, p.makeDataDir); err != nil {
		return err
	}
	defer p.close()
	roles := []part{
		p.role("serve-api", p.serveAPI),
		p.role("work", func(ctx context.Context, started func()) error {
			return p.work(ctx, p.topics.Channels(), notify.Lanes(), started)
		}),
		{"ready", func(ctx context.Context) error { return p.announce(ctx, stdout) }},
	}
	if len(cfg.Kafka.Brokers) > 0 {
		p.warnOfLeftLog()
		return p.run(ctx, roles)
	}
	broker, err := p.bringBroker()
	if err != nil {
		return err
	}
	defer broker.Close()
	return p.run(ctx, roles, part{"broker", broker.Run})
}

// announce prints one line once everything is ready.
func (p *process) announce(ctx context.Context, stdout io.Writer) error {
	if !p.awaitReady(ctx) {
		return nil
	}
	fields := []string{"Ready. API " + p.apiURL(), "data " + p.dataDir, "Kafka " + strings.Join(p.kafka.Brokers, ",")}
	if len(p.cfg.Kafka.Brokers) == 0 {
		fields[2] += " (embedded, single host)"
	}
	if p.cfg.Captures() {
		fields = append(fields, "no gateway configured: messages are captured, NOT sent", "see them: laudspeaker outbox --follow"+p.serverFlag())
	} else {
		for _, channel := range p.topics.Channels() {
			var names []string
			for _, o := range p.routes[channel] {
				names = append(names, fmt.Sprintf("%s (%s)", o.Name, o.Gateway.Type))
			}
			fields = append(fields, fmt.Sprintf("%s by %s", channel, strings.Join(names, ", ")))
		}
	}
	fields = append(fields, "try: "+p.tryIt())
	_, err := fmt.Fprintln(stdout, strings.Join(fields, " · "))
	return err
}

// serverFlag is what the client commands need to find this server.
func (p *process) serverFlag() string {
	if p.apiURL() == "http://127.0.0.1:8080" {
		return ""
	}
	return " --server " + p.apiURL()
}

// awaitReady gives false when ctx ends first.
func (p *process) awaitReady(ctx context.Context) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for p.health.Ready() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// samples are requests that work on a channel whose gateway has a sender of its own.
var samples = map[string]string{
	"email": `{"channel":"email","recipient":"ada@example.com","payload":{"subject":"Hello","text":"It works."}}`,
	"sms":   `{"channel":"sms","recipient":"+14155550100","payload":{"body":"It works."}}`,
	"push":  `{"channel":"push","recipient":"news","recipient_type":"topic","payload":{"title":"Hello","body":"It works."}}`,
}

func (p *process) tryIt() string {
	channel := p.topics.Channels()[0]
	key := ""
	if len(p.cfg.API.Keys) > 0 {
		key = ` -H "authorization: Bearer $LAUDSPEAKER_API_KEY"`
	}
	return "curl -sS " + p.apiURL() + "/v1/notifications -H 'content-type: application/json'" + key + " -d '" + samples[string(channel)] + "'"
}
