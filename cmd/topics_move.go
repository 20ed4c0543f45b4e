package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
)

func newTopicsMove() *cobra.Command {
	c := &cobra.Command{
		Use:   "move --from DIR",
		Short: "Move what an embedded broker still holds to another Kafka",
		Long: `Publishes what is unfinished, waiting or dead in the log of an embedded broker to kafka.brokers: for a host that had its own
broker and is given a Kafka. DIR is a data_dir, or its folder kafka; no process may be using it. What has been published is
noted in the log, so that a second run moves only what the first one did not. What waits is
never sent earlier than it was to be, and may be later where much waits with it. What must not be sent twice
(on_ambiguous: hold) and was being sent when the log ended is moved as a dead letter, held for a person. Names of topics (kafka.prefix, channels.*.topic) have to be what they were.`,
		Example: `  laudspeaker topics move --from ./data --brokers kafka-1:9092 --dry-run
  laudspeaker topics move --from ./data --config configs/production.yaml`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	from := c.Flags().String("from", "", "data_dir of the embedded broker, or its folder kafka (required)")
	dry := c.Flags().Bool("dry-run", false, "count, and publish nothing")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		return runMove(c.Context(), cfg, *from, *dry, c.OutOrStdout(), c.ErrOrStderr())
	}
	return c
}

// log in DIR ─▶ embedded broker ─▶ what is left of each group ─▶ kafka.brokers
//
//	▲                                                       │
//	└───────────────── the group's offset ◀── acknowledged ─┘
func runMove(ctx context.Context, cfg *config.Config, from string, dry bool, out, said io.Writer) error {
	if len(cfg.Kafka.Brokers) == 0 {
		return errors.New("kafka.brokers is empty: say which Kafka to move to, such as --brokers kafka-1:9092")
	}
	dir, err := logDir(from)
	if err != nil {
		return err
	}
	p, err := newProcess(cfg, io.Discard, "topics move", true)
	if err != nil {
		return err
	}
	broker, err := openLeft(dir, cfg, said)
	if err != nil {
		return err
	}
	defer broker.Close()
	m := &move{topics: p.topics, desk: dispatcher.Desk{Topics: p.topics}, progress: newProgress(said)}
	if m.source, err = kafka.NewReader(kafka.Config{Brokers: []string{broker.Addr()}}); err != nil {
		return err
	}
	defer m.source.Close()
	if !dry {
		target, end, err := p.openTarget(ctx, said)
		if err != nil {
			return err
		}
		defer end()
		m.publish = target.publishAll
	}
	if err := m.run(ctx); err != nil && m.jobs+m.held+m.waiting+m.letters == 0 {
		return err
	} else if err != nil {
		return fmt.Errorf("stopped: %s; %w; run it again, it goes on from there", m.summary(), err)
	}
	fmt.Fprintln(out, m.summary())
	return m.leftBehind(ctx, everyTopic(cfg), said)
}

// logDir finds the log in what the user names.
func logDir(from string) (string, error) {
	if from == "" {
		return "", errors.New("--from is missing: name the data_dir that holds the log, such as --from ./data")
	}
	for _, dir := range []string{from, filepath.Join(from, "kafka")} {
		if embedded.Exists(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("--from: %s holds no log of an embedded broker: name its data_dir, or the folder kafka in it", from)
}

// openLeft opens the broker on a port of its own. What it may delete at its start is what it might have before.
func openLeft(dir string, cfg *config.Config, said io.Writer) (*embedded.Broker, error) {
	broker, err := embedded.Open(brokerConfig(dir, "127.0.0.1:0", cfg.Kafka.Embedded, everyTopic(cfg), newLogger(cfg.Log, said)))
	var locked *embedded.LockedError
	if errors.As(err, &locked) {
		who := "another process"
		if locked.PID != "" {
			who = "the process " + locked.PID
		}
		return nil, fmt.Errorf("--from: %s is in use by %s: stop it first, then move what it leaves", locked.Dir, who)
	}
	return broker, err
}

// openTarget connects to kafka.brokers, and makes the topics as a role does at its start.
func (p *process) openTarget(ctx context.Context, said io.Writer) (*openedBus, func(), error) {
	target, end, err := openBus(ctx, p.cfg)
	if err != nil {
		return nil, nil, err
	}
	report, err := kafka.Ensure(ctx, p.kafka, p.specs(), p.cfg.Kafka.CreateTopics)
	if err != nil {
		end()
		return nil, nil, err
	}
	if report.MaxMessageBytes > 0 {
		target.publisher.LimitRecords(report.MaxMessageBytes)
	}
	for _, fault := range report.Faults {
		fmt.Fprintln(said, fault)
	}
	return target, end, nil
}
