package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

func newTopics() *cobra.Command {
	c := &cobra.Command{
		Use:   "topics",
		Short: "List the topics that the configured channels need",
		Long: `Lists the topics that the configured channels need, for whoever makes topics by other means (kafka.create_topics: false).
With --create they are made, as a role does at its start; existing ones are checked and never changed.`,
		Example: `  laudspeaker topics --config configs/production.yaml
  laudspeaker topics --format terraform > topics.tf
  laudspeaker topics --format kafka-topics | BOOTSTRAP=kafka-1:9092 sh
  laudspeaker topics --create --brokers kafka-1:9092`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(newTopicsMove(), newTopicsRepair())
	s := addSettings(c)
	format := c.Flags().String("format", "text", strings.Join(kafka.TopicFormats(), ", "))
	create := c.Flags().Bool("create", false, "make what is missing")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		p, err := newProcess(cfg, io.Discard, "topics", true)
		if err != nil {
			return err
		}
		if *create {
			return createTopics(c, p)
		}
		text, err := kafka.FormatTopics(p.specs(), *format)
		if err != nil {
			return fmt.Errorf("--format knows %s", strings.Join(kafka.TopicFormats(), ", "))
		}
		fmt.Fprint(c.OutOrStdout(), text)
		return nil
	}
	return c
}

func createTopics(c *cobra.Command, p *process) error {
	if len(p.kafka.Brokers) == 0 {
		return fmt.Errorf("kafka.brokers is empty: say which Kafka, such as --brokers kafka-1:9092")
	}
	report, err := kafka.Ensure(c.Context(), p.kafka, p.specs(), true)
	if err != nil {
		return err
	}
	for _, name := range report.Created {
		fmt.Fprintln(c.OutOrStdout(), "created", name)
	}
	for _, fault := range report.Faults {
		fmt.Fprintln(c.ErrOrStderr(), fault)
	}
	fmt.Fprintln(c.OutOrStdout(), len(p.specs()), "topics are there")
	return nil
}
