package cmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/deadletters"
)

func newDLQ() *cobra.Command {
	c := &cobra.Command{
		Use:   "dlq",
		Short: "List, show and redrive dead letters",
		Long: `Dead letters are what ended without delivery and may be worth another try: they are on <topic>.dlq, unchanged, with the
reason in their headers. These commands speak to Kafka itself: kafka.brokers or, where that is empty, the broker of
"laudspeaker all" on this host.`,
	}
	c.AddCommand(newDLQList(), newDLQShow(), newDLQRedrive())
	return c
}

// openDeadLetters connects; the caller calls what it gives to end that.
func openDeadLetters(ctx context.Context, cfg *config.Config, said io.Writer) (*openedBus, *deadletters.Scanner, func(), error) {
	bus, end, err := openBus(ctx, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	reading := newProgress(said)
	return bus, &deadletters.Scanner{
		Topics: bus.topics, Reader: bus.reader, Lifetimes: lifetimes(cfg), Recipients: cfg.Log.Recipients,
		Reading: func(topic string) { reading.add(1, "reading "+topic) },
		LeftOut: func(topic string, partition int32) {
			fmt.Fprintf(said, "note: partition %d of %s has no leader, since a broker is away: its dead letters are left out\n", partition, topic)
		},
	}, end, nil
}

// readable is how a moment is shown to a person.
func readable(t time.Time) string { return t.Local().Format(time.DateTime) }
