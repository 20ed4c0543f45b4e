package cmd

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
)

func newServeAPI() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve-api",
		Short: "Run the HTTP API",
		Long: `Runs the HTTP API, which makes notifications durable in Kafka; workers deliver them (laudspeaker work). It starts in any
order with Kafka and the workers, and takes notifications while no worker runs.`,
		Example: `  laudspeaker serve-api --brokers kafka-1:9092,kafka-2:9092
  laudspeaker serve-api --config configs/production.yaml`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		return runServeAPI(c.Context(), cfg, c.ErrOrStderr())
	}
	return c
}

func runServeAPI(ctx context.Context, cfg *config.Config, stderr io.Writer) error {
	if err := needsKafkaAndGateways(cfg); err != nil {
		return err
	}
	p, err := newProcess(cfg, stderr, "serve-api", false)
	if err != nil {
		return err
	}
	if err := p.take(p.listenAPI, p.listenAdmin, p.makeDataDir); err != nil {
		return err
	}
	defer p.close()
	return p.run(ctx, []part{p.role("serve-api", p.serveAPI), {"ready", p.logReady}})
}

// needsKafkaAndGateways: only the role all brings a broker, and only it captures.
func needsKafkaAndGateways(cfg *config.Config) error {
	if len(cfg.Kafka.Brokers) == 0 {
		return errors.New("kafka.brokers is empty: set it to your Kafka, such as --brokers kafka-1:9092, or run \"laudspeaker all\", which brings a broker of its own")
	}
	if cfg.Captures() {
		return errors.New("no gateway is configured, so no channel is on: configure one, such as LAUDSPEAKER_EMAIL=smtp://user:password@host:587?from=…, or run \"laudspeaker all\", which captures messages instead")
	}
	return nil
}

func (p *process) logReady(ctx context.Context) error {
	if p.awaitReady(ctx) {
		p.log.Info("ready")
	}
	return nil
}
