package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func newGateways() *cobra.Command {
	c := &cobra.Command{Use: "gateways", Short: "Try the configured gateways, or show which of them refuse calls"}
	c.AddCommand(newGatewaysCheck(), newGatewaysStatus())
	return c
}

func newGatewaysCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [NAME…]",
		Short: "Connect to gateways and authenticate, without sending",
		Example: `  laudspeaker gateways check --config configs/production.yaml
  LAUDSPEAKER_EMAIL=smtp://user:password@smtp.example.com laudspeaker gateways check`,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, names []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(cfg.Gateways))
		}
		if len(names) == 0 {
			return errors.New("no gateway is configured: nothing to check")
		}
		failed := 0
		for _, name := range names {
			line, ok := checkGateway(c.Context(), cfg, name)
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", name, line)
			if !ok {
				failed++
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d gateways failed", failed, len(names))
		}
		return nil
	}
	return c
}

// checkGateway gives what to print about one gateway.
func checkGateway(ctx context.Context, cfg *config.Config, name string) (line string, ok bool) {
	g, ok := cfg.Gateways[name]
	if !ok {
		return "there is no gateway of this name", false
	}
	sender, err := newSender(name, g, zap.NewNop())
	if err != nil {
		return err.Error(), false
	}
	defer sender.Close()
	ctx, cancel := context.WithTimeout(ctx, g.Timeout())
	defer cancel()
	if f := notify.Judge(sender.Check(ctx)); f != nil {
		line = f.Error()
		if f.Remedy != "" {
			line += "; " + f.Remedy
		}
		return line, false
	}
	return "ok (" + g.Type + ")", true
}
