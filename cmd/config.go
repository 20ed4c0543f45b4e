package cmd

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/config"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check and show the settings in force",
	}
	c.AddCommand(newConfigValidate(), newConfigPrint())
	return c
}

func newConfigValidate() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate",
		Short: "Say ok, or everything that is wrong",
		Long:  "Reads the settings as a role would, from the file, the environment and flags, and says everything that is wrong at once.\nNothing is connected to; see also: laudspeaker gateways check",
		Example: `  laudspeaker config validate --config configs/production.yaml
  LAUDSPEAKER_EMAIL=smtp://user:pass@smtp.example.com laudspeaker config validate`,
		Args: cobra.NoArgs,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		if err := validateGateways(cfg); err != nil {
			return err
		}
		for _, name := range cfg.Unused() {
			fmt.Fprintf(c.OutOrStdout(), "note: gateways.%s is used by no channel\n", name)
		}
		for _, name := range slices.Sorted(maps.Keys(cfg.Gateways)) {
			if h := cfg.Gateways[name].HTTP; h != nil && h.Unclassified() {
				fmt.Fprintf(c.OutOrStdout(), "note: gateways.%s: %s\n", name, unclassified)
			}
		}
		fmt.Fprintln(c.OutOrStdout(), "ok")
		return nil
	}
	return c
}

// validateGateways makes every gateway as a start does, so that a template that cannot be read is found here too. A gateway of
// type capture would make its folder.
func validateGateways(cfg *config.Config) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Gateways)) {
		g := cfg.Gateways[name]
		if g.Type == "capture" {
			continue
		}
		sender, err := newSender(name, g, zap.NewNop())
		if err != nil {
			faults = append(faults, err)
			continue
		}
		_ = sender.Close()
	}
	return errors.Join(faults...)
}

func newConfigPrint() *cobra.Command {
	c := &cobra.Command{
		Use:     "print",
		Short:   "Show every setting in force as YAML, secrets as ***",
		Example: `  laudspeaker config print --config configs/development.yaml`,
		Args:    cobra.NoArgs,
	}
	s := addSettings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.load()
		if err != nil {
			return err
		}
		fmt.Fprint(c.OutOrStdout(), cfg.Print())
		return nil
	}
	return c
}
