package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newWork() *cobra.Command {
	c := &cobra.Command{
		Use:   "work --channel email|sms|push",
		Short: "Run the workers of one or more channels",
		Long: `Runs the workers of the channels that are named: they take jobs from Kafka and deliver them by the channel's gateways.
Run as many processes as you like; Kafka shares the work out among them. With --lane a process works on some lanes only,
such as one that keeps capacity for one-time passwords; every lane needs a worker somewhere.`,
		Example: `  laudspeaker work --channel email --config configs/production.yaml
  laudspeaker work --channel sms,push --config configs/production.yaml
  laudspeaker work --channel sms --lane urgent --config configs/production.yaml`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	names := c.Flags().StringSlice("channel", nil, "email, sms or push; repeated or separated by commas (required)")
	lanes := c.Flags().StringSlice("lane", nil, "urgent, normal or bulk; repeated or separated by commas (default: all)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		return runWork(c.Context(), cfg, *names, *lanes, c.ErrOrStderr())
	}
	return c
}

// heapGrowth is GOGC of a process that only works, unless the environment has one. What a message needs of memory is soon
// left again, and what is kept is bounded by the windows of the partitions: half as many collections, of which each costs
// what is kept, for half as much memory again at the worst.
const heapGrowth = 200

func runWork(ctx context.Context, cfg *config.Config, names, laneNames []string, stderr io.Writer) error {
	if err := needsKafkaAndGateways(cfg); err != nil {
		return err
	}
	channels, err := channelsOf(cfg, names)
	if err != nil {
		return err
	}
	lanes, err := lanesOf(laneNames)
	if err != nil {
		return err
	}
	p, err := newProcess(cfg, stderr, "work", false)
	if err != nil {
		return err
	}
	if err := p.take(p.listenAdmin, p.makeDataDir); err != nil {
		return err
	}
	defer p.close()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	return p.run(ctx, []part{
		p.role("work", func(ctx context.Context, started func()) error { return p.work(ctx, channels, lanes, started) }),
		{"ready", p.logReady},
	})
}

// channelsOf reads --channel. A channel that has no gateway is refused: a worker of it would wait for ever.
func channelsOf(cfg *config.Config, names []string) ([]notify.Channel, error) {
	on := cfg.Outlets(false)
	var channels []notify.Channel
	for _, name := range names {
		channel := notify.Channel(strings.TrimSpace(name))
		if !channel.Known() {
			return nil, fmt.Errorf("--channel knows email, sms and push")
		}
		if _, ok := on[string(channel)]; !ok {
			return nil, fmt.Errorf("--channel %s: it has no gateway; name one in channels.%s.gateways", channel, channel)
		}
		if !slices.Contains(channels, channel) {
			channels = append(channels, channel)
		}
	}
	if len(channels) == 0 {
		return nil, fmt.Errorf("--channel is missing: name what to work on, such as --channel email or --channel sms,push")
	}
	return channels, nil
}

// lanesOf reads --lane; without it all lanes are worked on.
func lanesOf(names []string) ([]notify.Lane, error) {
	var lanes []notify.Lane
	for _, lane := range notify.Lanes() {
		if len(names) == 0 || slices.Contains(names, string(lane)) {
			lanes = append(lanes, lane)
		}
	}
	for _, name := range names {
		if !notify.Lane(name).Known() {
			return nil, fmt.Errorf("--lane knows urgent, normal and bulk")
		}
	}
	return lanes, nil
}
